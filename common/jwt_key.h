/* A key for JSON Web Tokens: which algorithm, whose name, what secret or public key.
 *
 * Receives   "[KID=]ALG:SOURCE"
 * Hands on   the bytes that SOURCE names, checked to be fit for the algorithm
 * Owns       its copies, wiped when they are freed
 *
 * SOURCE is the path of a file, or "base64:DATA" with the same bytes. ALG fixes what they are. For
 * HS256, HS384 and HS512 it is the raw secret; line ends at its end don't belong to it. Refused are
 * secrets shorter than the algorithm's hash (RFC 7518, 3.2), and PEM files: a public key taken as
 * an HMAC secret would let everybody sign tokens. For all others it is a key in PEM, see pem_key.h:
 * the public one to check tokens with, the private one to sign them with.
 */
#ifndef PROGRESSD_COMMON_JWT_KEY_H
#define PROGRESSD_COMMON_JWT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"

enum jwt_key_algorithm {
    JWT_KEY_HS256,
    JWT_KEY_HS384,
    JWT_KEY_HS512,
    JWT_KEY_RS256,
    JWT_KEY_RS384,
    JWT_KEY_RS512,
    JWT_KEY_PS256,
    JWT_KEY_ES256,
    JWT_KEY_ES384,
    JWT_KEY_ES512,
    JWT_KEY_EDDSA,
    JWT_KEY_ALGORITHMS
};

/* What the key is for. A shared secret is for both. */
enum jwt_key_use { JWT_KEY_CHECKS, JWT_KEY_SIGNS };

struct jwt_key {
    char *kid; /* NULL: the key has no name */
    enum jwt_key_algorithm algorithm;
    uint8_t *secret; /* or a key in PEM */
    size_t secret_len;
};

/* Whether who checks and who signs have the same key. */
static inline bool jwt_key_is_shared(enum jwt_key_algorithm algorithm)
{
    return algorithm <= JWT_KEY_HS512;
}

#define JWT_KEY_SECRET_MAX 65536

/* What a broker without a configured key makes in its state directory, see jwt_key_make_file(). */
#define JWT_KEY_FILE "jwt.key"

enum jwt_key_outcome { JWT_KEY_INVALID = 1 };

/* Reads "[KID=]ALG:SOURCE", the file included. 0 and *ret_key, which the caller deinits;
 * JWT_KEY_INVALID with the reason in `why`, in which no secret is repeated; or -ENOMEM. */
#define JWT_KEY_WHY_SIZE 512
int jwt_key_read(const char *text, enum jwt_key_use use, struct jwt_key *ret_key,
                 char why[JWT_KEY_WHY_SIZE]) MUST_CHECK;

/* The key as jwt_key_read() takes it, its bytes within: "[KID=]ALG:base64:DATA". */
void jwt_key_write(const struct jwt_key *key, struct text *text);

/* Makes a file with a new random secret, 86 characters of base64url and a line end, readable by its
 * owner alone. It appears whole or not at all. 0; -EEXIST when there is such a file already;
 * another -errno. */
int jwt_key_make_file(const char *path) MUST_CHECK;

/* Wipes and frees what the key owns. */
void jwt_key_deinit(struct jwt_key *key);

/* "HS256" … */
const char *jwt_key_algorithm_name(enum jwt_key_algorithm algorithm);

#endif
