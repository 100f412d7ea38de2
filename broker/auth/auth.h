/* Who may watch what: checks tokens (JWT, RFC 7519), and remembers those that were good.
 *
 * Receives   a token's text
 * Hands on   struct token, see token.h; or the reason of the refusal: at once, or by on_checked
 * Owns       the parsed keys, the cache of verified tokens, and the queue of those to be checked
 *
 * The key decides the algorithm, never the token: the header's `alg` must be the key's. `kid`
 * chooses the key; a token without one is taken if there is one key only, or one only without a
 * name. Header and claims are read by proto/json: strictly what is asked about, and nothing else.
 * The signature is checked over the token's own text, with keys that were parsed at the start.
 *
 * A verified token is remembered by its SHA-256 until it expires, so that a thousand clients that
 * come back at once cost a thousand hashes. A refused one isn't remembered.
 *
 * What can be told at once is told at once. A signature whose check takes long
 * (signature_is_slow()) waits for the turn's end, where as many are checked as AUTH_TURN_US has
 * room for, and the rest in the turns that follow: so that whoever is connected waits no longer,
 * however many come. The same token is checked once for all who wait for it.
 */
#ifndef PROGRESSD_BROKER_AUTH_AUTH_H
#define PROGRESSD_BROKER_AUTH_AUTH_H

#include "broker/auth/check_queue.h"
#include "broker/auth/token.h"
#include "broker/config/config.h"
#include "broker/loop/loop.h"

/* name, the metrics' label, the sentence for a client */
#define AUTH_FAILURES(X)                                                       \
    X(AUTH_MISSING, "missing", "a token is required")                          \
    X(AUTH_TOO_LONG, "too_long", "the token is longer than 16384 characters")  \
    X(AUTH_MALFORMED, "malformed", "the token is not a well-formed JWT")       \
    X(AUTH_UNKNOWN_KEY, "unknown_key", "the token's key is not known here")    \
    X(AUTH_ALGORITHM, "algorithm", "the token's algorithm is not the key's")   \
    X(AUTH_SIGNATURE, "signature", "the token's signature is wrong")           \
    X(AUTH_EXPIRED, "expired", "the token has expired")                        \
    X(AUTH_NOT_YET_VALID, "not_yet_valid", "the token is not valid yet")       \
    X(AUTH_ISSUER, "issuer", "the token's issuer is not accepted here")        \
    X(AUTH_AUDIENCE, "audience", "the token is meant for somebody else")       \
    X(AUTH_CLAIMS, "claims", "the token's claims are incomplete or malformed") \
    X(AUTH_FORBIDDEN, "forbidden", "the token does not allow this task") /* callers' */

enum auth_failure {
#define X(name, label, text) name,
    AUTH_FAILURES(X)
#undef X
        AUTH_FAILURE_COUNT
};

/* The failure's name in metrics and logs, and the sentence for the client, without a full stop. */
const char *auth_failure_name(enum auth_failure failure);
const char *auth_failure_text(enum auth_failure failure);

/* How many tokens are remembered at the most, and in how many bytes. */
#define AUTH_CACHE_TOKENS 10000
#define AUTH_CACHE_BYTES (16 << 20)

/* How long slow checks may take of one turn of the loop, with all that follows from them; one is
 * made in any case. */
#define AUTH_TURN_US 5000

/* How often it is looked whether the file of jwt-jwks has changed. */
#define AUTH_JWKS_LOOK_MS 5000

/* Bytes of the tokens that wait. */
#define AUTH_WAITING_BYTES (32 << 20)

struct auth;

/* What a check came to. */
struct auth_verdict {
    int rc;                /* 0, AUTH_REFUSED or -ENOMEM */
    struct token *token;   /* if 0: lent */
    enum auth_failure why; /* if AUTH_REFUSED */
};

/* Parses the configuration's keys, and copies its issuer and audience; NULL when out of memory.
 * `loop` outlives it. */
struct auth *auth_new(const struct config *config, struct loop *loop) MUST_CHECK;

/* Accepts NULL. No check waits any more. Tokens that were handed out stay good. */
void auth_free(struct auth *auth);

enum auth_outcome { AUTH_REFUSED = 1, AUTH_LATER, AUTH_BUSY };

/* Checks a token at the time `now_us` (microseconds since 1970). 0 and *ret_token, a reference of
 * the caller's; AUTH_REFUSED and the reason; or -ENOMEM. AUTH_LATER: on_checked comes later, once,
 * at a turn's end; AUTH_BUSY: it would, but too many wait. */
int auth_verify(struct auth *auth, struct span token, int64_t now_us, struct auth_check *check,
                struct token **ret_token, enum auth_failure *ret_why) MUST_CHECK;

/* on_checked does not come, if it was to. */
void auth_cancel(struct auth *auth, struct auth_check *check);

/* How many tokens are remembered now: for /status and tests. */
uint32_t auth_cached(const struct auth *auth);

#endif
