#include "broker/auth/signature.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "common/mem.h"

struct signature_key {
    EVP_MAC_CTX *hmac; /* with the secret in it; a check works on a copy */
};

static const char *hash_name(enum jwt_key_algorithm algorithm)
{
    switch (algorithm) {
    case JWT_KEY_HS256:
        return "SHA256";
    case JWT_KEY_HS384:
        return "SHA384";
    case JWT_KEY_HS512:
        return "SHA512";
    }
    return NULL;
}

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

int signature_key_new(const struct jwt_key *key, struct signature_key **ret_key)
{
    struct signature_key *parsed = mem_zalloc(1, sizeof(*parsed));

    if (!parsed) {
        return -ENOMEM;
    }
    parsed->hmac = hmac_new(key);
    if (!parsed->hmac) {
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
        mem_free(key);
    }
}

bool signature_is_slow(const struct signature_key *key)
{
    return false;
}

int signature_check(const struct signature_key *key, struct span text, struct span signature)
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
