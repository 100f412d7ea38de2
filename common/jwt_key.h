/* A key for JSON Web Tokens: which algorithm, whose name, what secret.
 *
 * Receives   "[KID=]ALG:SOURCE", from the broker's configuration and from progressctl
 * Hands on   the secret's bytes, checked to be fit for the algorithm
 * Owns       its copies, wiped when they are freed
 *
 * ALG is HS256, HS384 or HS512; SOURCE is the path of a file, or "base64:DATA" with the secret
 * itself. A file holds the raw secret; line ends at its end don't belong to it. Refused are secrets
 * shorter than the algorithm's hash (RFC 7518, 3.2), and PEM files: a public key taken as an HMAC
 * secret would let everybody sign tokens.
 */
#ifndef PROGRESSD_COMMON_JWT_KEY_H
#define PROGRESSD_COMMON_JWT_KEY_H

#include <stdint.h>

#include "common/text.h"

enum jwt_key_algorithm { JWT_KEY_HS256, JWT_KEY_HS384, JWT_KEY_HS512 };

struct jwt_key {
    char *kid; /* NULL: the key has no name */
    enum jwt_key_algorithm algorithm;
    uint8_t *secret;
    size_t secret_len;
};

#define JWT_KEY_SECRET_MAX 65536

/* What a broker without a configured key makes in its state directory, see jwt_key_make_file(). */
#define JWT_KEY_FILE "jwt.key"

enum jwt_key_outcome { JWT_KEY_INVALID = 1 };

/* Reads "[KID=]ALG:SOURCE", the file included. 0 and *ret_key, which the caller deinits;
 * JWT_KEY_INVALID with the reason in `why`, in which no secret is repeated; or -ENOMEM. */
#define JWT_KEY_WHY_SIZE 512
int jwt_key_read(const char *text, struct jwt_key *ret_key, char why[JWT_KEY_WHY_SIZE]) MUST_CHECK;

/* The key as jwt_key_read() takes it, its secret within: "[KID=]ALG:base64:DATA". */
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
