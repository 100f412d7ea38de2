/* Checks of tokens that take time, and wait for it.
 *
 * Receives   a check with the digest of its token, or that it is given up
 * Hands on   one token after the other, with all checks that wait for it
 * Owns       an entry for each token; borrows the checks, each embedded in what waits
 *
 * A token that many present at once is one entry, and is checked once. The one that came first is
 * the next. Bounded by the bytes of the tokens that wait, each counted as often as it waits: a
 * check doesn't copy its token, but whoever waits holds one.
 */
#ifndef PROGRESSD_BROKER_AUTH_CHECK_QUEUE_H
#define PROGRESSD_BROKER_AUTH_CHECK_QUEUE_H

#include "broker/auth/token_cache.h"

struct auth_verdict; /* see auth.h */

/* A check that may take time. Embedded in what waits for it. */
struct auth_check {
    void (*on_checked)(struct auth_check *check, const struct auth_verdict *verdict);
    struct span text;           /* the token; while it waits the owner keeps it, and may move it */
    struct queued_token *token; /* NULL: it doesn't wait */
    struct list link;           /* in queued_token.checks */
};

/* Call once before anything else. */
static inline void auth_check_init(struct auth_check *check,
                                   void (*on_checked)(struct auth_check *check,
                                                      const struct auth_verdict *verdict))
{
    *check = (struct auth_check){.on_checked = on_checked};
    list_init(&check->link);
}

static inline bool auth_check_waits(const struct auth_check *check)
{
    return check->token != NULL;
}

/* One token, and who waits for it. */
struct queued_token {
    struct list link; /* in check_queue.tokens; alone once it was taken */
    uint8_t digest[TOKEN_DIGEST_SIZE];
    struct list checks; /* of struct auth_check */
};

struct check_queue {
    struct map by_digest;
    struct list tokens; /* the one that waits longest at the front */
    size_t bytes, max_bytes;
};

void check_queue_init(struct check_queue *queue, size_t max_bytes);

/* No check may wait any more (asserted). */
void check_queue_deinit(struct check_queue *queue);

static inline bool check_queue_is_empty(const struct check_queue *queue)
{
    return list_is_empty(&queue->tokens);
}

enum check_queue_outcome { CHECK_QUEUE_FULL = 1 };

/* Puts a check in whose `text` is set. 0, CHECK_QUEUE_FULL, or -ENOMEM. */
int check_queue_add(struct check_queue *queue, const uint8_t digest[TOKEN_DIGEST_SIZE],
                    struct auth_check *check) MUST_CHECK;

/* Takes the next token out of a queue that isn't empty (asserted); the caller's to free, once
 * nobody waits for it any more. */
struct queued_token *check_queue_take(struct check_queue *queue) MUST_CHECK;

/* Takes a check out that waits, in the queue or for a token that was taken. A token in the queue
 * that nobody waits for any more is forgotten. */
void check_queue_remove(struct check_queue *queue, struct auth_check *check);

#endif
