#include "broker/auth/jwks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/signature.h"

#define SPAN(text) ((struct span){text, strlen(text)})

/* Public keys without their braces. */
#define RSA_KEY                                                                    \
    "\"kty\":\"RSA\",\"n\":\"5mV1IsxEBnJCt61225r0sWvGZVqQkBJsTnGZMt3AtBVn0WEe2Lt2" \
    "xNRVILVuOUgu388cAdX3Qk_IqmnnLMI_XESriBQ9zo_3y_vV9jIeUIa9AWir4h0w0cb2f-xu5yz7" \
    "RMyxxzr7B2sL_qcem_ZdIYvRDPQU5xTQDBfka0Hv_MptTvSPKPF61JMI8K_86UXNL2Z44_HMu8h9" \
    "W63cMvACdIXXlKIZxSUm4L_J881YQBJ33ptsvX8GhMt79KUcuzst9JJ0t6qnn2sqmNnH7oIr9o7K" \
    "9ZlPz374Qa6Uuv3i_rTCKCzVVy5TWQOGWS-c-5hRqZALodQ1gHP977wDtlqbHQ\",\"e\":\"AQA" \
    "B\""
#define P256_KEY                                                                   \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"wAAvm5p01cEni_443CWimdVM6Ag6Zh5TyZd" \
    "1JItwlog\",\"y\":\"inDVbSV__EtumZ4kdGctuZyz9hH1n4Z3F3FJSsESQPQ\""
#define P521_KEY                                                                   \
    "\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AYzYN0dqpaXkA7vG5DNg7879lQJ9Yf6QJpS" \
    "UQlqll8Lmrfb5Kuyg5cXl-keLA7sfBpMjF4qRA0XazjfCu1kcBnBl\",\"y\":\"AAUdmzm_xqXK" \
    "ZAgzNTTYl5Hq3Lxno_FcifocXfJafr-T1ZkTgrMDRKgNAUqqfTnOpOi2CpBzuZ5A4CbFb_HPN4qA" \
    "\""
#define ED_KEY                                                                     \
    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"0FYO64mjL3lDLcUx_kuwDYTEw9lXM3aW" \
    "_OVqHKtsM5A\""

static struct jwks jwks;
static char left_out[2048];

/* NULL: taken; else why the set is refused. */
static const char *read_set(const char *text)
{
    struct text lines = TEXT_EMPTY;
    const char *why = NULL;

    int rc = jwks_read(SPAN(text), &jwks, &lines, &why);
    cr_assert(rc == 0 || (rc == JWKS_INVALID && why));
    snprintf(left_out, sizeof(left_out), "%s", lines.data ? lines.data : "");
    text_deinit(&lines);
    return rc == 0 ? NULL : why;
}

/* The set's keys as "kid=ALG ". */
static const char *names(void)
{
    static char text[512];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < jwks.count; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s=%s ",
                                jwks.keys[i].kid ? jwks.keys[i].kid : "",
                                jwt_key_algorithm_name(jwks.keys[i].algorithm));
    }
    return text;
}

Test(jwks, takes_keys_of_every_kind)
{
    cr_assert_null(read_set("{\"more\":1,\"keys\":[{" RSA_KEY
                            ",\"kid\":\"a\",\"x5t\":\"?\"},{" RSA_KEY
                            ",\"kid\":\"b\",\"alg\":\"PS256\",\"use\":\"sig\"},{" P256_KEY
                            ",\"kid\":\"c\"},{" P521_KEY ",\"kid\":\"d\"},{" ED_KEY "}]}"));
    cr_assert_str_eq(names(), "a=RS256 b=PS256 c=ES256 d=ES512 =EdDSA ");
    cr_assert_str_eq(left_out, "");
    for (size_t i = 0; i < jwks.count; i++) {
        struct signature_key *key = NULL;

        cr_assert_eq(signature_key_new(&jwks.keys[i], &key), 0);
        signature_key_free(key);
    }
    jwks_deinit(&jwks);
}

Test(jwks, leaves_out_what_cannot_be_used_and_says_why)
{
    static const struct {
        const char *member, *why;
    } cases[] = {
        {"{" P256_KEY ",\"d\":\"AAAA\"}", "private"},
        {"{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}", "symmetric"},
        {"{" RSA_KEY ",\"k\":\"c2VjcmV0\"}", "symmetric"},
        {"{" P256_KEY ",\"use\":\"enc\"}", "use"},
        {"{" P256_KEY ",\"alg\":\"HS256\"}", "alg"},
        {"{" P256_KEY ",\"alg\":\"none\"}", "alg"},
        {"{" P256_KEY ",\"alg\":\"ES384\"}", "P-384"},
        {"{" P256_KEY ",\"alg\":\"RS256\"}", "RSA"},
        {"{" P256_KEY ",\"kty\":\"EC\"}", "twice"},
        {"{" P256_KEY ",\"kid\":7}", "kid"},
        {"{" P256_KEY ",\"kid\":\"good\"}", "kid"},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}", "crv"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}", "numbers"},
        {"{\"kty\":\"RSA\",\"n\":\"wQ\",\"e\":\"AQAB\"}", "bits"},
        {"{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}", "numbers"},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}", "crv"},
        {"{}", "kty"},
        {"7", "object"},
    };
    char text[4096];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "{\"keys\":[{%s,\"kid\":\"good\"},%s]}", ED_KEY,
                 cases[i].member);
        cr_assert_null(read_set(text), "case %zu", i);
        cr_expect_str_eq(names(), "good=EdDSA ", "case %zu", i);
        cr_expect_not_null(strstr(left_out, cases[i].why), "case %zu: %s", i, left_out);
        cr_expect_eq(strncmp(left_out, "key 2: ", 7), 0);
        jwks_deinit(&jwks);
    }
}

Test(jwks, refuses_a_set_without_a_key_that_can_be_used)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_not_null(read_set(texts[i]), "%s", texts[i]);
    }
    char *huge = calloc(1, JWKS_SIZE_MAX + 2);
    memset(huge, ' ', JWKS_SIZE_MAX + 1);
    cr_expect_not_null(strstr(read_set(huge), "longer"));
    free(huge);
}
