/* What a task takes up from Redis: checked, and in the order of its revs.
 *
 * Receives   messages of the channel, and reads of the hash
 * Hands on   each to task.h; says whether there is news, and whether the hash must be read
 * Owns       messages held back while a read of the hash is under way
 *
 * A read and the channel are two connections, so their order says nothing. While a read is
 * under way messages are held, and taken after it; those that the read has already don't count
 * twice, by their n. With more than INTAKE_HELD_MAX of them none is kept, and the hash has to be
 * read once more.
 *
 * What progress_publish would not have made is dropped and counted (METRIC_DROPPED_INVALID,
 * METRIC_DROPPED_FUTURE). A rev from the future would keep everything that comes after it away.
 */
#ifndef PROGRESSD_BROKER_HUB_TASK_INTAKE_H
#define PROGRESSD_BROKER_HUB_TASK_INTAKE_H

#include "broker/hub/redis_clock.h"
#include "broker/hub/task.h"
#include "broker/redis/redis_answer.h"
#include "common/metrics.h"

#define INTAKE_HELD_MAX 64

/* What the intakes of a process share. */
struct intake_border {
    struct metrics_slot *metrics;
    struct redis_clock clock;
};

struct intake {
    struct task *task;
    const struct intake_border *border;
    struct list held;
    uint8_t held_count;
    bool overflowed;
    bool must_read; /* something was not taken that the hash may have */
};

/* `task` and `border` must outlive the intake. */
void intake_init(struct intake *intake, struct task *task, const struct intake_border *border);

/* Takes a message of the channel up. Whether there is news. */
bool intake_message(struct intake *intake, struct span text) MUST_CHECK;

/* Keeps a message (a copy) for intake_held(). */
void intake_hold(struct intake *intake, struct span text);

/* Takes HGETALL's answer up; anything but an array is a hash without fields. Whether there is news.
 * *ret_alive_us is the job's deadline, see alive_deadline(). */
bool intake_hash(struct intake *intake, const struct redis_answer *answer,
                 uint64_t *ret_alive_us) MUST_CHECK;

/* Whether held messages had to be dropped, so that the hash must be read again. */
bool intake_is_incomplete(const struct intake *intake);

/* Whether the hash is to be read whatever its rev: a message was of another run with a smaller n,
 * or from the future, or lost for want of memory. Until the next intake_hash(). */
bool intake_must_read(const struct intake *intake);

/* Takes the held messages up. Whether there is news. */
bool intake_held(struct intake *intake) MUST_CHECK;

/* Forgets them: before a read, and when the link is lost. */
void intake_drop_held(struct intake *intake);

#endif
