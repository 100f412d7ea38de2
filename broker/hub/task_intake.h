/* What a task takes up from Redis, in the order of its revs.
 *
 * Receives   messages of the channel, and reads of the hash, from hub.c
 * Hands on   each to task_take() (task.c); says whether watchers have to be told
 * Owns       messages held back while a read of the hash is under way
 *
 * A read and the channel are two connections, so their order says nothing. While a read is
 * under way messages are held, and taken after it; those that the read has already don't count
 * twice, by their n. With more than INTAKE_HELD_MAX of them none is kept, and the hash has to be
 * read once more.
 */
#ifndef PROGRESSD_BROKER_HUB_TASK_INTAKE_H
#define PROGRESSD_BROKER_HUB_TASK_INTAKE_H

#include "broker/hub/task.h"
#include "broker/redis/redis_answer.h"
#include "proto/task_hash.h"

#define INTAKE_HELD_MAX 64

struct intake {
    struct task *task;
    struct list held;
    uint8_t held_count;
    bool overflowed;
    bool failed;             /* memory ran out over a message, since the hash was last read */
    uint64_t alive_deadline; /* of the job, in the hash read last: see task_hash.h */
};

/* `task` must outlive the intake. */
void intake_init(struct intake *intake, struct task *task);

/* Takes a message of the channel up. Whether there is news; running out of memory is logged, and
 * the next comparison with Redis finds what was lost by it. */
bool intake_message(struct intake *intake, struct span text) MUST_CHECK;

/* Keeps a message (a copy) for intake_held(). */
void intake_hold(struct intake *intake, struct span text);

/* Takes HGETALL's answer up, an array. Whether there is news. */
bool intake_hash(struct intake *intake, const struct redis_answer *answer) MUST_CHECK;

/* Whether held messages had to be dropped, so that the hash must be read again. */
bool intake_is_incomplete(const struct intake *intake);

/* Whether a message was lost for want of memory, so that the hash must be read though its n may be
 * known. */
bool intake_has_failed(const struct intake *intake);

/* Takes the held messages up. Whether there is news. */
bool intake_held(struct intake *intake) MUST_CHECK;

/* Forgets them: before a read, and when the link is lost. */
void intake_drop_held(struct intake *intake);

/* The hash's rev, from the values of its fields `run` and `n`. 0 or REV_INVALID. */
int rev_of_fields(struct span run, struct span n, struct rev *ret_rev) MUST_CHECK;

#endif
