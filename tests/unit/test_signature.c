#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "broker/auth/signature.h"
#include "common/mem.h"
#include "tests/support/signing_key.h"

#define SPAN(text) ((struct span){text, sizeof(text) - 1})

/* RFC 7515, A.1: a key, the text that is signed, and its signature. */
static uint8_t rfc_secret[] = "\x03\x23\x35\x4b\x2b\x0f\xa5\xbc\x83\x7e\x06\x65\x77\x7b\xa6\x8f\x5a"
                              "\xb3\x28\xe6\xf0\x54\xc9\x28"
                              "\xa9\x0f\x84\xb2\xd2\x50\x2e\xbf\xd3\xfb\x5a\x92\xd2\x06\x47\xef\x96"
                              "\x8a\xb4\xc3\x77\x62\x3d\x22"
                              "\x3d\x2e\x21\x72\x05\x2e\x4f\x08\xc0\xcd\x9a\xf5\x67\xd0\x80\xa3";
#define RFC_TEXT                                                                                   \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"                                                     \
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV" \
    "lfQ"
#define RFC_SIGNATURE                                                                              \
    "\x74\x18\xdf\xb4\x97\x99\xe0\x25\x4f\xfa\x60\x7d\xd8\xad\xbb\xba\x16\xd4\x25\x4d\x69\xd6\xbf" \
    "\xf0\x5b\x58\x05\x58\x53\x84\x8d\x79"

static struct signature_key *rfc_key(enum jwt_key_algorithm algorithm)
{
    const struct jwt_key key = {NULL, algorithm, rfc_secret, sizeof(rfc_secret) - 1};
    struct signature_key *parsed = NULL;

    cr_assert_eq(signature_key_new(&key, &parsed), 0);
    return parsed;
}

Test(signature, the_standards_own_example_is_right)
{
    struct signature_key *key = rfc_key(JWT_KEY_HS256);

    /* Twice: a check leaves the key as it was. */
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), SPAN(RFC_SIGNATURE)), 0);
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), SPAN(RFC_SIGNATURE)), 0);
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT "x"), SPAN(RFC_SIGNATURE)), SIGNATURE_WRONG);
    signature_key_free(key);
}

Test(signature, a_signature_of_another_length_or_algorithm_is_wrong)
{
    struct signature_key *key = rfc_key(JWT_KEY_HS256);

    for (size_t len = 0; len < sizeof(RFC_SIGNATURE) - 1; len++) {
        cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), (struct span){RFC_SIGNATURE, len}),
                     SIGNATURE_WRONG);
    }
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), SPAN(RFC_SIGNATURE "x")), SIGNATURE_WRONG);
    signature_key_free(key);
    key = rfc_key(JWT_KEY_HS512);
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), SPAN(RFC_SIGNATURE)), SIGNATURE_WRONG);
    signature_key_free(key);
}

Test(signature, running_out_of_memory_is_returned)
{
    const struct jwt_key key = {NULL, JWT_KEY_HS256, rfc_secret, sizeof(rfc_secret) - 1};
    struct signature_key *parsed;

    mem_fail_nth(1);
    cr_assert_eq(signature_key_new(&key, &parsed), -ENOMEM);
    signature_key_free(NULL);
}

/* ── Public keys ─────────────────────────────────────────────────────────────────────────────── */

static struct signature_key *public_key(EVP_PKEY *pair, enum jwt_key_algorithm algorithm)
{
    char pem[PEM_MAX];
    struct signature_key *parsed = NULL;

    signing_key_public_pem(pair, pem);
    const struct jwt_key key = {NULL, algorithm, (uint8_t *)pem, strlen(pem)};
    cr_assert_eq(signature_key_new(&key, &parsed), 0);
    cr_assert(signature_is_slow(parsed));
    return parsed;
}

/* A signature is right as it is, and with any bit of any eighth byte changed it isn't. */
static void check_signature(const struct signature_key *key, uint8_t *signature, size_t len)
{
    const struct span span = {(char *)signature, len};

    for (int twice = 0; twice < 2; twice++) {
        cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), span), 0);
    }
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT "x"), span), SIGNATURE_WRONG);
    for (size_t i = 0; i < len; i += 8) {
        signature[i] ^= 1;
        cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), span), SIGNATURE_WRONG, "byte %zu", i);
        signature[i] ^= 1;
    }
    for (size_t wrong = 0; wrong < len; wrong += 7) {
        cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), (struct span){span.at, wrong}),
                     SIGNATURE_WRONG);
    }
    signature[len] = 0;
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), (struct span){span.at, len + 1}),
                 SIGNATURE_WRONG);
    memset(signature, 0, len);
    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), span), SIGNATURE_WRONG, "all zeros");
}

Test(signature, every_algorithm_with_a_public_key_tells_right_from_wrong)
{
    for (int algorithm = JWT_KEY_RS256; algorithm < JWT_KEY_ALGORITHMS; algorithm++) {
        EVP_PKEY *pair = signing_key_new(algorithm);
        struct signature_key *key = public_key(pair, algorithm);
        uint8_t signature[SIGNATURE_MAX];
        const size_t len =
            signing_key_sign(pair, algorithm, RFC_TEXT, sizeof(RFC_TEXT) - 1, signature);

        check_signature(key, signature, len);
        signature_key_free(key);
        EVP_PKEY_free(pair);
    }
}

Test(signature, another_pairs_signature_is_wrong)
{
    EVP_PKEY *pair = signing_key_new(JWT_KEY_ES256), *other = signing_key_new(JWT_KEY_ES256);
    struct signature_key *key = public_key(pair, JWT_KEY_ES256);
    uint8_t signature[SIGNATURE_MAX];
    const size_t len =
        signing_key_sign(other, JWT_KEY_ES256, RFC_TEXT, sizeof(RFC_TEXT) - 1, signature);

    cr_assert_eq(signature_check(key, SPAN(RFC_TEXT), (struct span){(char *)signature, len}),
                 SIGNATURE_WRONG);
    signature_key_free(key);
    EVP_PKEY_free(pair);
    EVP_PKEY_free(other);
}
