#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/jwt_key.h"
#include "common/mem.h"
#include "tests/support/signing_key.h"

static char directory[] = "/tmp/test_jwt_key.XXXXXX";
static char path[64];

static void make_directory(void)
{
    strcpy(directory + sizeof(directory) - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/key", directory);
}

static void remove_directory(void)
{
    unlink(path);
    rmdir(directory);
}

TestSuite(jwt_key, .init = make_directory, .fini = remove_directory);

static void write_file(const void *data, size_t len)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, len, file), len);
    fclose(file);
}

/* What is said about a key that is refused. */
static const char *refusal(const char *text)
{
    static char why[JWT_KEY_WHY_SIZE];
    struct jwt_key key;

    strcpy(why, "accepted");
    int rc = jwt_key_read(text, JWT_KEY_CHECKS, &key, why);
    if (rc == 0) {
        jwt_key_deinit(&key);
        return "accepted";
    }
    cr_assert_eq(rc, JWT_KEY_INVALID);
    return why;
}

#define SECRET_32 "0123456789abcdef0123456789abcdef"
#define BASE64_32 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

Test(jwt_key, a_file_holds_the_secret_and_line_ends_at_its_end_are_not_part_of_it)
{
    char text[128];
    struct jwt_key key;
    char why[JWT_KEY_WHY_SIZE];

    write_file(SECRET_32 "\r\n\n", 35);
    snprintf(text, sizeof(text), "main=HS256:%s", path);
    cr_assert_eq(jwt_key_read(text, JWT_KEY_CHECKS, &key, why), 0);
    cr_assert_str_eq(key.kid, "main");
    cr_assert_eq(key.algorithm, JWT_KEY_HS256);
    cr_assert_eq(key.secret_len, 32);
    cr_assert_arr_eq(key.secret, SECRET_32, 32);
    jwt_key_deinit(&key);
    cr_assert_null(key.secret);
}

Test(jwt_key, a_secret_may_stand_in_the_text_in_both_alphabets)
{
    struct jwt_key key;
    char why[JWT_KEY_WHY_SIZE];

    cr_assert_eq(jwt_key_read("HS256:base64:" BASE64_32, JWT_KEY_CHECKS, &key, why), 0);
    cr_assert_null(key.kid);
    cr_assert_eq(key.secret_len, 32);
    cr_assert_arr_eq(key.secret, SECRET_32, 32);
    jwt_key_deinit(&key);
    cr_assert_eq(jwt_key_read("HS256:base64:____________________________________________",
                              JWT_KEY_CHECKS, &key, why),
                 0);
    cr_assert_eq(key.secret_len, 33);
    cr_assert_eq(key.secret[32], 0xff);
    jwt_key_deinit(&key);
}

Test(jwt_key, a_secret_shorter_than_the_hash_is_refused)
{
    static const struct {
        const char *algorithm;
        size_t min;
    } cases[] = {{"HS256", 32}, {"HS384", 48}, {"HS512", 64}};
    char secret[64], text[128];

    memset(secret, 's', sizeof(secret));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "%s:%s", cases[i].algorithm, path);
        write_file(secret, cases[i].min - 1);
        cr_assert_not_null(strstr(refusal(text), "RFC 7518"));
        write_file(secret, cases[i].min);
        cr_assert_str_eq(refusal(text), "accepted");
    }
    write_file("\n", 1);
    cr_assert_not_null(strstr(refusal(text), "has 0 bytes"));
}

Test(jwt_key, a_pem_file_is_refused)
{
    char text[128];
    const char *pem = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n";

    write_file(pem, strlen(pem));
    snprintf(text, sizeof(text), "HS256:%s", path);
    cr_assert_not_null(strstr(refusal(text), "PEM"));
}

Test(jwt_key, a_file_that_is_too_long_is_refused)
{
    char text[128];
    char *secret = malloc(JWT_KEY_SECRET_MAX + 1);

    memset(secret, 's', JWT_KEY_SECRET_MAX + 1);
    snprintf(text, sizeof(text), "HS256:%s", path);
    write_file(secret, JWT_KEY_SECRET_MAX + 1);
    cr_assert_not_null(strstr(refusal(text), "longer"));
    write_file(secret, JWT_KEY_SECRET_MAX);
    cr_assert_str_eq(refusal(text), "accepted");
    free(secret);
}

Test(jwt_key, a_file_that_cannot_be_read_is_named)
{
    cr_assert_str_eq(refusal("HS256:/nonexistent/key"),
                     "cannot read /nonexistent/key: No such file or directory");
    cr_assert_not_null(strstr(refusal("HS256:/"), "Is a directory"));
}

Test(jwt_key, a_secret_in_the_place_of_the_path_is_not_repeated)
{
    cr_assert_null(strstr(refusal("HS256:secretsecretsecret"), "secretsecret"));
    cr_assert_null(strstr(refusal("secretsecretsecret"), "secretsecret"));
    cr_assert_null(strstr(refusal("secretsecretsecret:x"), "secretsecret"));
    cr_assert_null(strstr(refusal("HS256:base64:secret!"), "secret!"));
}

Test(jwt_key, a_text_of_another_form_is_refused)
{
    static const char *const texts[] = {"",
                                        "HS256",
                                        "HS256:",
                                        "hs256:base64:" BASE64_32,
                                        "none:base64:" BASE64_32,
                                        "RS256:base64:" BASE64_32,
                                        "EdDSA:base64:" BASE64_32,
                                        "HS1:base64:" BASE64_32,
                                        "HS2567:base64:" BASE64_32,
                                        "=HS256:base64:" BASE64_32,
                                        "a b=HS256:base64:" BASE64_32,
                                        "a\"=HS256:base64:" BASE64_32,
                                        "a=b=HS256:base64:" BASE64_32,
                                        "HS256:base64:",
                                        "HS256:base64:MDEy=",
                                        "HS384:base64:" BASE64_32};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_str_neq(refusal(texts[i]), "accepted", "%s", texts[i]);
    }
}

Test(jwt_key, a_written_key_reads_the_same)
{
    static const char *const texts[] = {"HS256:base64:" BASE64_32, "a/1=HS256:base64:" BASE64_32};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct jwt_key key;
        struct text text = TEXT_EMPTY;
        char why[JWT_KEY_WHY_SIZE];

        cr_assert_eq(jwt_key_read(texts[i], JWT_KEY_CHECKS, &key, why), 0);
        jwt_key_write(&key, &text);
        cr_assert_str_eq(text.data, texts[i]);
        text_deinit(&text);
        jwt_key_deinit(&key);
    }
}

/* ── Keys in PEM ─────────────────────────────────────────────────────────────────────────────── */

/* What is said about a PEM text as a key of that algorithm. */
static const char *pem_refusal(const char *algorithm, const char *pem)
{
    char text[128];

    write_file(pem, strlen(pem));
    snprintf(text, sizeof(text), "%s:%s", algorithm, path);
    return refusal(text);
}

Test(jwt_key, a_public_key_is_taken_by_the_algorithms_of_its_kind_alone)
{
    static const struct {
        const char *kind, *taken;
    } cases[] = {
        {"RSA", "RS256 RS384 RS512 PS256"},
        {"EC-P-256", "ES256"},
        {"EC-P-384", "ES384"},
        {"EC-P-521", "ES512"},
        {"ED25519", "EdDSA"},
        {"ED448", "EdDSA"},
        {"EC-secp256k1", ""},
        {"X25519", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EVP_PKEY *pair = signing_key_of(cases[i].kind);
        char pem[PEM_MAX];

        signing_key_public_pem(pair, pem);
        for (int algorithm = 0; algorithm < JWT_KEY_ALGORITHMS; algorithm++) {
            const char *name = jwt_key_algorithm_name(algorithm);
            const char *why = pem_refusal(name, pem);

            cr_expect_eq(strcmp(why, "accepted") == 0, strstr(cases[i].taken, name) != NULL,
                         "%s with %s: %s", cases[i].kind, name, why);
        }
        EVP_PKEY_free(pair);
    }
}

Test(jwt_key, what_is_no_public_key_is_refused_in_plain_words)
{
    EVP_PKEY *pair = signing_key_of("EC-P-256"), *small = EVP_RSA_gen(1024);
    char pem[PEM_MAX];

    signing_key_private_pem(pair, pem);
    cr_expect_not_null(strstr(pem_refusal("ES256", pem), "it is a private key"));
    signing_key_public_pem(pair, pem);
    cr_expect_str_eq(pem_refusal("ES384", pem), "ES384 needs a key on the curve P-384");
    cr_expect_str_eq(pem_refusal("RS256", pem), "RS256 needs an RSA key");
    cr_expect_str_eq(pem_refusal("EdDSA", pem), "EdDSA needs an Ed25519 or Ed448 key");
    pem[60] = '!';
    cr_expect_not_null(strstr(pem_refusal("ES256", pem), "no public key"));
    signing_key_public_pem(small, pem);
    cr_expect_str_eq(pem_refusal("RS256", pem),
                     "the RSA key has 1024 bits; RS256 needs at least 2048 (RFC 7518, 3.3)");
    cr_expect_not_null(strstr(pem_refusal("PS256", pem), "1024 bits"));
    cr_expect_not_null(
        strstr(pem_refusal("RS256", "-----BEGIN CERTIFICATE-----\n"), "openssl x509"));
    cr_expect_not_null(strstr(pem_refusal("RS256", "-----BEGIN RSA PUBLIC KEY-----\n"), "PKCS#1"));
    cr_expect_not_null(strstr(pem_refusal("RS256", SECRET_32), "needs a key in PEM"));
    cr_expect_not_null(strstr(pem_refusal("ES256", ""), "needs a key in PEM"));
    EVP_PKEY_free(pair);
    EVP_PKEY_free(small);
}

Test(jwt_key, signing_needs_the_private_key)
{
    EVP_PKEY *pair = signing_key_of("EC-P-256");
    char pem[PEM_MAX], text[128], why[JWT_KEY_WHY_SIZE];
    struct jwt_key key;

    snprintf(text, sizeof(text), "ES256:%s", path);
    signing_key_private_pem(pair, pem);
    write_file(pem, strlen(pem));
    cr_assert_eq(jwt_key_read(text, JWT_KEY_SIGNS, &key, why), 0);
    jwt_key_deinit(&key);
    signing_key_public_pem(pair, pem);
    write_file(pem, strlen(pem));
    cr_assert_eq(jwt_key_read(text, JWT_KEY_SIGNS, &key, why), JWT_KEY_INVALID);
    cr_assert_not_null(strstr(why, "no private key"));
    EVP_PKEY_free(pair);
}

Test(jwt_key, a_written_public_key_reads_the_same)
{
    EVP_PKEY *pair = signing_key_of("EC-P-256");
    char pem[PEM_MAX], source[128], why[JWT_KEY_WHY_SIZE];
    struct text text = TEXT_EMPTY;
    struct jwt_key key;

    signing_key_public_pem(pair, pem);
    write_file(pem, strlen(pem));
    snprintf(source, sizeof(source), "k=ES256:%s", path);
    cr_assert_eq(jwt_key_read(source, JWT_KEY_CHECKS, &key, why), 0);
    jwt_key_write(&key, &text);
    jwt_key_deinit(&key);
    cr_assert_eq(jwt_key_read(text.data, JWT_KEY_CHECKS, &key, why), 0);
    cr_assert_eq(key.algorithm, JWT_KEY_ES256);
    cr_assert_eq(strncmp((char *)key.secret, pem, key.secret_len), 0);
    jwt_key_deinit(&key);
    text_deinit(&text);
    EVP_PKEY_free(pair);
}

Test(jwt_key, a_made_file_is_private_random_and_fit_for_use)
{
    char first[128] = "", second[128] = "", text[128];
    struct stat status;

    cr_assert_eq(jwt_key_make_file(path), 0);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0600);
    cr_assert_eq(status.st_size, 87);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(fgets(first, sizeof(first), file));
    fclose(file);
    snprintf(text, sizeof(text), "HS512:%s", path);
    cr_assert_str_eq(refusal(text), "accepted");

    cr_assert_eq(jwt_key_make_file(path), -EEXIST);
    unlink(path);
    cr_assert_eq(jwt_key_make_file(path), 0);
    file = fopen(path, "r");
    cr_assert_not_null(fgets(second, sizeof(second), file));
    fclose(file);
    cr_assert_str_neq(first, second);
    unlink(path);
    cr_assert_eq(rmdir(directory), 0, "a temporary file was left");
    cr_assert_eq(jwt_key_make_file(path), -ENOENT);
}

Test(jwt_key, running_out_of_memory_is_returned)
{
    struct jwt_key key;
    char why[JWT_KEY_WHY_SIZE];

    for (unsigned n = 1; n <= 2; n++) {
        mem_fail_nth(n);
        cr_assert_eq(jwt_key_read("a=HS256:base64:" BASE64_32, JWT_KEY_CHECKS, &key, why), -ENOMEM);
    }
    mem_fail_nth(1);
    cr_assert_eq(jwt_key_read("HS256:/dev/null", JWT_KEY_CHECKS, &key, why), -ENOMEM);
}
