#include "common/pem_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

PRINTF_LIKE(2, 3) static int pem_key_invalid(char *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, JWT_KEY_WHY_SIZE, format, arguments);
    va_end(arguments);
    return PEM_KEY_INVALID;
}

/* ── Kinds ───────────────────────────────────────────────────────────────────────────────────── */

static int check_rsa(const EVP_PKEY *key, const char *name, char *why)
{
    const int bits = EVP_PKEY_get_bits(key);

    if (!EVP_PKEY_is_a(key, "RSA")) {
        return pem_key_invalid(why, "%s needs an RSA key", name);
    }
    if (bits < PEM_KEY_RSA_BITS_MIN) {
        return pem_key_invalid(why, "the RSA key has %d bits; %s needs at least %d (RFC 7518, 3.3)",
                               bits, name, PEM_KEY_RSA_BITS_MIN);
    }
    if (bits > PEM_KEY_RSA_BITS_MAX) {
        return pem_key_invalid(why, "the RSA key has %d bits; more than %d take too long to check",
                               bits, PEM_KEY_RSA_BITS_MAX);
    }
    return 0;
}

static int check_curve(const EVP_PKEY *key, const char *name, const char *group, const char *curve,
                       char *why)
{
    char own[64] = "";
    size_t len;

    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, own, sizeof(own), &len) != 1 ||
        strcmp(own, group) != 0) {
        return pem_key_invalid(why, "%s needs a key on the curve %s", name, curve);
    }
    return 0;
}

int pem_key_check(const EVP_PKEY *key, enum jwt_key_algorithm algorithm, char why[JWT_KEY_WHY_SIZE])
{
    const char *name = jwt_key_algorithm_name(algorithm);

    switch (algorithm) {
    case JWT_KEY_RS256:
    case JWT_KEY_RS384:
    case JWT_KEY_RS512:
    case JWT_KEY_PS256:
        return check_rsa(key, name, why);
    case JWT_KEY_ES256:
        return check_curve(key, name, "prime256v1", "P-256", why);
    case JWT_KEY_ES384:
        return check_curve(key, name, "secp384r1", "P-384", why);
    case JWT_KEY_ES512:
        return check_curve(key, name, "secp521r1", "P-521", why);
    case JWT_KEY_EDDSA:
        return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")
                   ? 0
                   : pem_key_invalid(why, "%s needs an Ed25519 or Ed448 key", name);
    default:
        return pem_key_invalid(why, "%s has no key in PEM", name);
    }
}

/* ── PEM ─────────────────────────────────────────────────────────────────────────────────────── */

static bool pem_has(struct span pem, const char *label)
{
    return memmem(pem.at, pem.len, label, strlen(label)) != NULL;
}

/* Before it is parsed: whether it is a file of another kind. */
static int check_label(struct span pem, enum jwt_key_use use, const char *name, char *why)
{
    if (!pem_has(pem, "-----BEGIN ")) {
        return pem_key_invalid(why, "%s needs a key in PEM (-----BEGIN …)", name);
    }
    if (use == JWT_KEY_SIGNS) {
        return pem_has(pem, "PRIVATE KEY-----")
                   ? 0
                   : pem_key_invalid(why, "it is no private key, which signing with %s needs",
                                     name);
    }
    if (pem_has(pem, "PRIVATE KEY-----")) {
        return pem_key_invalid(why, "it is a private key, which belongs to whoever signs tokens: "
                                    "give the public key (openssl pkey -in FILE -pubout)");
    }
    if (pem_has(pem, "-----BEGIN CERTIFICATE-----")) {
        return pem_key_invalid(why, "it is a certificate: give its public key (openssl x509 "
                                    "-in FILE -noout -pubkey)");
    }
    if (pem_has(pem, "-----BEGIN RSA PUBLIC KEY-----")) {
        return pem_key_invalid(why, "it is a PKCS#1 key: give it as PUBLIC KEY (openssl rsa "
                                    "-RSAPublicKey_in -in FILE -pubout)");
    }
    return 0;
}

/* A password that is empty, so that OpenSSL doesn't ask the terminal for one. */
static char no_password[] = "";

int pem_key_read(struct span pem, enum jwt_key_algorithm algorithm, enum jwt_key_use use,
                 EVP_PKEY **ret_key, char why[JWT_KEY_WHY_SIZE])
{
    int rc = check_label(pem, use, jwt_key_algorithm_name(algorithm), why);

    if (rc) {
        return rc;
    }
    BIO *file = BIO_new_mem_buf(pem.at, (int)pem.len);
    EVP_PKEY *key = !file ? NULL
                    : use == JWT_KEY_CHECKS
                        ? PEM_read_bio_PUBKEY(file, NULL, NULL, no_password)
                        : PEM_read_bio_PrivateKey(file, NULL, NULL, no_password);
    BIO_free(file);
    ERR_clear_error();
    if (!key) {
        return pem_key_invalid(why, "it is no %s key in PEM that can be read",
                               use == JWT_KEY_CHECKS ? "public" : "unencrypted private");
    }
    rc = pem_key_check(key, algorithm, why);
    if (rc) {
        EVP_PKEY_free(key);
        return rc;
    }
    *ret_key = key;
    return 0;
}
