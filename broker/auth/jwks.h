/* A JSON Web Key Set (RFC 7517): the public keys that an issuer of tokens publishes.
 *
 * Receives   the text of the set
 * Hands on   the keys in it that can be used; and of the others, which and why not
 * Owns       the keys
 *
 * Taken are RSA, EC and OKP keys (RFC 7518, 6; RFC 8037) as jwt_key.h has them. `alg` fixes the
 * algorithm; without it RSA is RS256, P-256 ES256, P-384 ES384, P-521 ES512, Ed25519 EdDSA. A
 * member that can't be used is left out, and the others are taken: one that is private or
 * symmetric, of another kind or `use`, too short, or whose `kid` another one has. A set without any
 * that can be used is refused as a whole.
 */
#ifndef PROGRESSD_BROKER_AUTH_JWKS_H
#define PROGRESSD_BROKER_AUTH_JWKS_H

#include "common/jwt_key.h"
#include "proto/json.h"

#define JWKS_SIZE_MAX 262144 /* bytes */
#define JWKS_KEYS_MAX 64

struct jwks {
    struct jwt_key keys[JWKS_KEYS_MAX];
    size_t count;
};

enum jwks_outcome { JWKS_INVALID = 1 };

/* 0 and *ret_jwks, the caller's to deinit, and a line for each member that was left out appended to
 * `left_out`; or JWKS_INVALID and in *ret_why a sentence. */
int jwks_read(struct span text, struct jwks *ret_jwks, struct text *left_out,
              const char **ret_why) MUST_CHECK;

void jwks_deinit(struct jwks *jwks);

#endif
