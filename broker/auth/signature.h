/* Signatures of tokens (RFC 7515, JWS; RFC 7518, JWA), checked with OpenSSL.
 *
 * Receives   a key, parsed once; the text that was signed, and its signature
 * Hands on   whether the signature is that key's
 * Owns       the parsed key, in OpenSSL's own memory, which is wiped when it is freed
 *
 * The algorithm belongs to the key. Nothing here looks into a token.
 */
#ifndef PROGRESSD_BROKER_AUTH_SIGNATURE_H
#define PROGRESSD_BROKER_AUTH_SIGNATURE_H

#include "common/jwt_key.h"
#include "proto/json.h"

struct signature_key;

/* 0 and *ret_key, the caller's; or -ENOMEM. `key` isn't needed afterwards. */
int signature_key_new(const struct jwt_key *key, struct signature_key **ret_key) MUST_CHECK;

/* Accepts NULL. */
void signature_key_free(struct signature_key *key);

/* Whether a check takes so long (tens of microseconds and more) that a loop must count them. */
bool signature_is_slow(const struct signature_key *key);

enum signature_outcome { SIGNATURE_WRONG = 1 };

/* 0; SIGNATURE_WRONG, also for one of another length; or -ENOMEM. How long it takes doesn't tell
 * how much of a wrong signature was right. */
int signature_check(const struct signature_key *key, struct span text,
                    struct span signature) MUST_CHECK;

#endif
