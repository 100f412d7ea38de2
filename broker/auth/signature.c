#include "broker/auth/signature.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "common/mem.h"
#include "common/pem_key.h"

/* DER of the largest ECDSA signature, that of P-521, and more. */
#define ECDSA_DER_MAX 160

/* One of them is set. */
struct signature_key {
    enum jwt_key_algorithm algorithm;
    EVP_MAC_CTX *hmac;    /* with the secret in it; a check works on a copy */
    EVP_MD_CTX *verifier; /* with the public key in it; a check works on a copy */
};

/* NULL: EdDSA, which hashes as it likes. */
static const char *hash_name(enum jwt_key_algorithm algorithm)
{
    switch (algorithm) {
    case JWT_KEY_HS256:
    case JWT_KEY_RS256:
    case JWT_KEY_PS256:
    case JWT_KEY_ES256:
        return "SHA256";
    case JWT_KEY_HS384:
    case JWT_KEY_RS384:
    case JWT_KEY_ES384:
        return "SHA384";
    case JWT_KEY_HS512:
    case JWT_KEY_RS512:
    case JWT_KEY_ES512:
        return "SHA512";
    default:
        return NULL;
    }
}

/* Bytes of a coordinate, for ECDSA; 0: it is none. */
static size_t coordinate_size(enum jwt_key_algorithm algorithm)
{
    return algorithm == JWT_KEY_ES256   ? 32
           : algorithm == JWT_KEY_ES384 ? 48
           : algorithm == JWT_KEY_ES512 ? 66
                                        : 0;
}

/* ── Keys ────────────────────────────────────────────────────────────────────────────────────── */

static EVP_MAC_CTX *hmac_new(const struct jwt_key *key)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hash_name(key->algorithm),
                                         0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *hmac = mac ? EVP_MAC_CTX_new(mac) : NULL;

    EVP_MAC_free(mac);
    if (hmac && EVP_MAC_init(hmac, key->secret, key->secret_len, parameters) != 1) {
        EVP_MAC_CTX_free(hmac);
        return NULL;
    }
    return hmac;
}

static bool set_padding(EVP_PKEY_CTX *settings, enum jwt_key_algorithm algorithm)
{
    return algorithm != JWT_KEY_PS256 ||
           (EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static EVP_MD_CTX *verifier_new(const struct jwt_key *key)
{
    const struct span pem = {(const char *)key->secret, key->secret_len};
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();
    EVP_PKEY *parsed = NULL;
    EVP_PKEY_CTX *settings;
    char why[JWT_KEY_WHY_SIZE];

    if (!verifier || pem_key_read(pem, key->algorithm, JWT_KEY_CHECKS, &parsed, why) != 0 ||
        EVP_DigestVerifyInit_ex(verifier, &settings, hash_name(key->algorithm), NULL, NULL, parsed,
                                NULL) != 1 ||
        !set_padding(settings, key->algorithm)) {
        EVP_MD_CTX_free(verifier);
        verifier = NULL;
    }
    EVP_PKEY_free(parsed);
    return verifier;
}

int signature_key_new(const struct jwt_key *key, struct signature_key **ret_key)
{
    struct signature_key *parsed = mem_zalloc(1, sizeof(*parsed));

    if (!parsed) {
        return -ENOMEM;
    }
    parsed->algorithm = key->algorithm;
    if (jwt_key_is_shared(key->algorithm)) {
        parsed->hmac = hmac_new(key);
    } else {
        parsed->verifier = verifier_new(key);
    }
    if (!parsed->hmac && !parsed->verifier) {
        signature_key_free(parsed);
        return -ENOMEM;
    }
    *ret_key = parsed;
    return 0;
}

void signature_key_free(struct signature_key *key)
{
    if (key) {
        EVP_MAC_CTX_free(key->hmac);
        EVP_MD_CTX_free(key->verifier);
        mem_free(key);
    }
}

bool signature_is_slow(const struct signature_key *key)
{
    return key->verifier != NULL;
}

/* ── Checks ──────────────────────────────────────────────────────────────────────────────────── */

static int check_hmac(const struct signature_key *key, struct span text, struct span signature)
{
    uint8_t expected[EVP_MAX_MD_SIZE];
    size_t expected_len;
    EVP_MAC_CTX *hmac = EVP_MAC_CTX_dup(key->hmac);
    int rc = -ENOMEM;

    if (hmac && EVP_MAC_update(hmac, (const uint8_t *)text.at, text.len) == 1 &&
        EVP_MAC_final(hmac, expected, &expected_len, sizeof(expected)) == 1) {
        rc = signature.len == expected_len &&
                     CRYPTO_memcmp(signature.at, expected, expected_len) == 0
                 ? 0
                 : SIGNATURE_WRONG;
    }
    EVP_MAC_CTX_free(hmac);
    return rc;
}

/* ECDSA's two numbers, one behind the other (RFC 7518, 3.4), as OpenSSL has them, in DER. 0,
 * SIGNATURE_WRONG or -ENOMEM. */
static int encode_ecdsa(struct span signature, size_t size, uint8_t der[ECDSA_DER_MAX],
                        struct span *ret_der)
{
    const uint8_t *bytes = (const uint8_t *)signature.at;

    if (signature.len != 2 * size) {
        return SIGNATURE_WRONG;
    }
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, (int)size, NULL), *s = BN_bin2bn(bytes + size, (int)size, NULL);
    int rc = -ENOMEM;

    if (numbers && r && s && ECDSA_SIG_set0(numbers, r, s) == 1) {
        uint8_t *end = der;

        r = s = NULL; /* they are `numbers`' now */
        const int len = i2d_ECDSA_SIG(numbers, &end);
        rc = len > 0 ? 0 : -ENOMEM;
        *ret_der = (struct span){(const char *)der, len > 0 ? (size_t)len : 0};
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(numbers);
    return rc;
}

static int check_public(const struct signature_key *key, struct span text, struct span signature)
{
    const size_t size = coordinate_size(key->algorithm);
    uint8_t der[ECDSA_DER_MAX];

    int rc = size > 0 ? encode_ecdsa(signature, size, der, &signature) : 0;
    if (rc) {
        return rc;
    }
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();
    if (!verifier || EVP_MD_CTX_copy_ex(verifier, key->verifier) != 1) {
        EVP_MD_CTX_free(verifier);
        return -ENOMEM;
    }
    rc = EVP_DigestVerify(verifier, (const uint8_t *)signature.at, signature.len,
                          (const uint8_t *)text.at, text.len) == 1
             ? 0
             : SIGNATURE_WRONG;
    EVP_MD_CTX_free(verifier);
    ERR_clear_error();
    return rc;
}

int signature_check(const struct signature_key *key, struct span text, struct span signature)
{
    return key->hmac ? check_hmac(key, text, signature) : check_public(key, text, signature);
}
