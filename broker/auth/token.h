/* What a verified token allows: which tasks, until when.
 *
 * Receives   the claims of a token whose signature is good
 * Hands on   yes or no for a task id
 * Owns       its names; shared by count (one thread) between cache and sessions
 *
 * Tasks are named by the claim `tasks`, an array of strings, or `taskId`, a string, or both: each
 * an exact task id, or the beginning of task ids and a `*`. Anything else in them makes the
 * token invalid, since a name that never matches is a mistake that should be found at once.
 */
#ifndef PROGRESSD_BROKER_AUTH_TOKEN_H
#define PROGRESSD_BROKER_AUTH_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/json.h"

/* Times are microseconds since 1970. */
struct token {
    uint32_t refs;
    int64_t expires_us;     /* the claim `exp` */
    int64_t valid_from_us;  /* `nbf` less the leeway; INT64_MIN: no limit */
    int64_t valid_until_us; /* `exp` and the leeway; at this time the token is void */
    uint32_t size;          /* bytes of memory it takes, for the cache's bound */
    uint32_t names_len;
    char names[]; /* each followed by NUL; a name that ends in * is a beginning */
};

/* What a token must say besides. */
struct token_rules {
    const char *issuer, *audience; /* NULL: not asked */
    int64_t leeway_us;             /* how far its issuer's clock may be from ours */
};

enum token_outcome { TOKEN_CLAIMS = 1, TOKEN_ISSUER, TOKEN_AUDIENCE };

/* Reads the claims (the payload's raw text). The time of day isn't looked at, nor are claims other
 * than `exp`, `nbf`, `tasks`, `taskId` and those that the rules ask about. 0 and *ret_token, one
 * reference, the caller's; TOKEN_CLAIMS: no JSON object, no `exp`, one of these of a wrong type or
 * there twice, a name that is none, or no name at all; TOKEN_ISSUER and TOKEN_AUDIENCE: not what
 * the rules ask; -ENOMEM. */
int token_from_claims(struct span claims, const struct token_rules *rules,
                      struct token **ret_token) MUST_CHECK;

struct token *token_ref(struct token *token);

/* Accepts NULL. */
void token_unref(struct token *token);
void token_unref_at(struct token **token);

/* Whether the token names that task (a valid task id). Its time is the caller's business. */
bool token_names(const struct token *token, const char *task_id);

#endif
