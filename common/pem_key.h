/* Keys in PEM (RFC 7468) for signatures of tokens (RFC 7518, 3; RFC 8037), read with OpenSSL.
 *
 * Receives   the file's text, the algorithm that it is to be used with, and what for
 * Hands on   the key, or why it can't be used, in plain words that repeat nothing of it
 * Owns       nothing
 *
 * To check: one "PUBLIC KEY". To sign: one unencrypted private key. RSA keys have from 2048 to 8192
 * bits: shorter ones are not safe (RFC 7518, 3.3), and longer ones take too long to check. ES256
 * has P-256, ES384 P-384, ES512 P-521; EdDSA Ed25519 or Ed448.
 */
#ifndef PROGRESSD_COMMON_PEM_KEY_H
#define PROGRESSD_COMMON_PEM_KEY_H

#include <openssl/evp.h>

#include "common/jwt_key.h"
#include "common/span.h"

#define PEM_KEY_RSA_BITS_MIN 2048
#define PEM_KEY_RSA_BITS_MAX 8192

enum pem_key_outcome { PEM_KEY_INVALID = 1 };

/* 0 and *ret_key, the caller's; or PEM_KEY_INVALID with the reason. `algorithm` isn't one with a
 * shared secret. */
int pem_key_read(struct span pem, enum jwt_key_algorithm algorithm, enum jwt_key_use use,
                 EVP_PKEY **ret_key, char why[JWT_KEY_WHY_SIZE]) MUST_CHECK;

/* Whether the key is of the kind and size that the algorithm has: 0, or PEM_KEY_INVALID. */
int pem_key_check(const EVP_PKEY *key, enum jwt_key_algorithm algorithm,
                  char why[JWT_KEY_WHY_SIZE]) MUST_CHECK;

#endif
