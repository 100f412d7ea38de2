/* Key pairs for tokens, and signatures with them, by OpenSSL alone.
 *
 *     EVP_PKEY *pair = signing_key_new(JWT_KEY_ES256);
 *     signing_key_public_pem(pair, pem, sizeof(pem));
 *     len = signing_key_sign(pair, JWT_KEY_ES256, text, text_len, signature);
 */
#ifndef PROGRESSD_TESTS_SUPPORT_SIGNING_KEY_H
#define PROGRESSD_TESTS_SUPPORT_SIGNING_KEY_H

#include <assert.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "common/base64.h"
#include "common/jwt_key.h"

#define SIGNATURE_MAX 1024
#define PEM_MAX 8192

/* "RSA" has 2048 bits, "EC-P-256" … */
static inline EVP_PKEY *signing_key_of(const char *kind)
{
    EVP_PKEY *pair = strcmp(kind, "RSA") == 0       ? EVP_RSA_gen(2048)
                     : strncmp(kind, "EC-", 3) == 0 ? EVP_EC_gen(kind + 3)
                                                    : EVP_PKEY_Q_keygen(NULL, NULL, kind);

    assert(pair);
    return pair;
}

static inline EVP_PKEY *signing_key_new(enum jwt_key_algorithm algorithm)
{
    static const char *const kinds[] = {
        [JWT_KEY_RS256] = "RSA",      [JWT_KEY_RS384] = "RSA",      [JWT_KEY_RS512] = "RSA",
        [JWT_KEY_PS256] = "RSA",      [JWT_KEY_ES256] = "EC-P-256", [JWT_KEY_ES384] = "EC-P-384",
        [JWT_KEY_ES512] = "EC-P-521", [JWT_KEY_EDDSA] = "ED25519",
    };

    return signing_key_of(kinds[algorithm]);
}

static inline void signing_key_read_bio(BIO *bio, char *pem)
{
    const int len = BIO_read(bio, pem, PEM_MAX - 1);

    assert(len > 0);
    pem[len] = '\0';
    BIO_free(bio);
}

static inline void signing_key_public_pem(EVP_PKEY *pair, char pem[PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_PUBKEY(bio, pair);
    signing_key_read_bio(bio, pem);
}

static inline void signing_key_private_pem(EVP_PKEY *pair, char pem[PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL);
    signing_key_read_bio(bio, pem);
}

/* From DER to two numbers of `size` bytes each. */
static inline size_t signing_key_raw_ecdsa(uint8_t *signature, size_t len, size_t size)
{
    const uint8_t *at = signature;
    ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &at, (long)len);

    assert(numbers);
    BN_bn2binpad(ECDSA_SIG_get0_r(numbers), signature, (int)size);
    BN_bn2binpad(ECDSA_SIG_get0_s(numbers), signature + size, (int)size);
    ECDSA_SIG_free(numbers);
    return 2 * size;
}

/* The signature's length; 0 when the pair is not of the algorithm's kind. */
static inline size_t signing_key_sign(EVP_PKEY *pair, enum jwt_key_algorithm algorithm,
                                      const void *text, size_t text_len,
                                      uint8_t signature[SIGNATURE_MAX])
{
    static const struct {
        const char *hash, *kind;
        size_t size; /* of a coordinate */
    } ways[] = {
        [JWT_KEY_RS256] = {"SHA256", "RSA", 0}, [JWT_KEY_RS384] = {"SHA384", "RSA", 0},
        [JWT_KEY_RS512] = {"SHA512", "RSA", 0}, [JWT_KEY_PS256] = {"SHA256", "RSA", 0},
        [JWT_KEY_ES256] = {"SHA256", "EC", 32}, [JWT_KEY_ES384] = {"SHA384", "EC", 48},
        [JWT_KEY_ES512] = {"SHA512", "EC", 66}, [JWT_KEY_EDDSA] = {NULL, "ED25519", 0},
    };
    EVP_MD_CTX *signer = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings;
    size_t len = SIGNATURE_MAX;

    if (!EVP_PKEY_is_a(pair, ways[algorithm].kind)) {
        EVP_MD_CTX_free(signer);
        return 0;
    }
    int ok = EVP_DigestSignInit_ex(signer, &settings, ways[algorithm].hash, NULL, NULL, pair, NULL);
    if (algorithm == JWT_KEY_PS256) {
        ok = ok && EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1;
    }
    ok = ok && EVP_DigestSign(signer, signature, &len, text, text_len) == 1;
    EVP_MD_CTX_free(signer);
    assert(ok);
    return ways[algorithm].size > 0 ? signing_key_raw_ecdsa(signature, len, ways[algorithm].size)
                                    : len;
}

/* A token of these texts, NUL behind it. */
static inline size_t signing_key_token(EVP_PKEY *pair, enum jwt_key_algorithm algorithm,
                                       const char *header, const char *claims, char *token)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t len = base64_encode(BASE64_URL, header, strlen(header), token);

    token[len++] = '.';
    len += base64_encode(BASE64_URL, claims, strlen(claims), token + len);
    const size_t signature_len = signing_key_sign(pair, algorithm, token, len, signature);
    token[len++] = '.';
    len += base64_encode(BASE64_URL, signature, signature_len, token + len);
    token[len] = '\0';
    return len;
}

#endif
