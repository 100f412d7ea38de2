/* The hash of a task: what a read of it found, checked.
 *
 * Receives   names and values of fields, one after the other
 * Hands on   the state in them: the rev, the messages of its run, the stages
 * Owns       nothing; spans point into the values
 *
 * Anybody who may write to Redis may have written the fields. What progress.lua would not have
 * written is left out and counted, and hides nothing of the rest:
 *   - a message that is invalid, of another task, under another type's name, or of another run than
 *     the hash's;
 *   - `run` or `n`, which are then those of the newest message;
 *   - `stages`, which are then none.
 */
#ifndef PROGRESSD_PROTO_TASK_HASH_H
#define PROGRESSD_PROTO_TASK_HASH_H

#include "proto/task_message.h"

struct task_hash {
    struct rev rev; /* n is 0: the hash holds no state */
    struct {
        struct task_message head;
        struct span text;
    } messages[TASK_MESSAGE_TYPES]; /* in the order of their n */
    size_t count;
    struct span stages;      /* a JSON array; or empty: no stage yet */
    uint64_t alive_deadline; /* see alive_deadline() */
    uint32_t dropped;        /* fields left out */
    uint32_t from_future;    /* those of them whose n is larger than n_max */
    struct span run, n;      /* until task_hash_finish() */
    struct span task_id;
    uint64_t n_max;
};

/* Begins with an empty hash of that task, in which no n may be larger than `n_max`. */
void task_hash_begin(struct task_hash *hash, struct span task_id, uint64_t n_max);

void task_hash_add(struct task_hash *hash, struct span name, struct span value);

/* After the last field: settles the rev, and drops messages that aren't of its run. */
void task_hash_finish(struct task_hash *hash);

/* The rev in the fields `run` and `n`. 0; or REV_INVALID, also when n is larger than `n_max`. */
int rev_of_fields(struct span run, struct span n, uint64_t n_max, struct rev *ret_rev) MUST_CHECK;

/* When the job must have given its next sign of life, from the value of the field `_alive`: in
 * microseconds since 1970 of Redis' clock; UINT64_MAX when the job isn't waited for. */
uint64_t alive_deadline(struct span value);

#endif
