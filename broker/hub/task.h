/* One watched task: its state, and the short ring of its recent messages.
 *
 * Receives   messages of the channel: task_take(); what a read of the hash found: task_take_hash()
 * Hands on   messages newer than a position: task_collect()
 * Owns       the newest message of each type, the ring, the list of stages
 *
 * Within a run the state is, for each type, the message with the largest n. That makes it a join:
 * taking the same messages in any order, any number of times, from the channel or from the hash,
 * gives the same state. One rule comes on top, as in progress.lua: an error with "retryable":true
 * goes when anything but a time_estimate comes after it.
 *
 * Runs are told apart by their names. A message of another run begins that run if its n is larger;
 * if it is smaller, only a read of the hash can tell which run is Redis' own (TASK_DOUBT), and what
 * the read shows holds, whatever its n. A hash without a state ends the run: the state is gone.
 * Whoever was sent something of the run before is told by a `reset` message, made here if the one
 * from Redis was missed, or if there is none.
 *
 * Positions. Since n may fall from one run to the next, what a subscription was sent is a position:
 * n plus a shift that is chosen when a run begins, so that positions only rise.
 *
 * The ring holds what came in order, so that each subscription needs no more than its position
 * (promise 4: a cursor, not a queue). A progress_update or time_estimate leaves the ring as soon as
 * a newer one of its type enters (promise 3), so the ring reaches back over TASK_RING messages that
 * matter, however fast the others come, and pins no stale one. Who is further behind is given the
 * state.
 */
#ifndef PROGRESSD_BROKER_HUB_TASK_H
#define PROGRESSD_BROKER_HUB_TASK_H

#include "common/bytes.h"
#include "common/list.h"
#include "common/text.h"
#include "proto/task_hash.h"
#include "proto/task_key.h"

#define TASK_RING 64

struct task_ring;

/* The newest message of a type: its text (shared_text.h) and its position; {NULL, 0}: none. */
struct task_slot {
    struct bytes *text;
    uint64_t position;
};

struct task {
    struct rev rev;    /* the newest known; n is 0 while the task has no state */
    uint64_t position; /* of the newest message; the least of a task is TASK_FIRST */
    uint64_t shift;    /* of this run: a message's position is its n plus this, modulo 2^64 */
    uint64_t reset_n;  /* of the run's reset, which may be made up */
    uint64_t floor;    /* the ring holds all after this position that isn't superseded */
    struct task_slot state[TASK_MESSAGE_TYPES];
    struct task_ring *ring; /* NULL until the first message after the state was read */
    struct text stages;     /* a JSON array; empty text: no stage yet */
    bool error_ends;        /* the error in the state isn't retryable */
    uint8_t id_len;
    char id[TASK_ID_MAX + 1];
};

/* A task without state. `id` is valid (asserted). */
void task_init(struct task *task, const char *id, size_t id_len);
void task_deinit(struct task *task);

enum task_outcome {
    TASK_NEWS = 1, /* there is something newer to be sent */
    TASK_DOUBT,    /* of another run, with a smaller n: nothing changed; the hash is to be read */
};

/* Takes a message of the channel up: `text` is the whole of it, `message` its head. 0 when it
 * changes nothing that anybody was sent, as a repetition does; TASK_NEWS; TASK_DOUBT; -ENOMEM with
 * the task unchanged, and the message as good as lost: a later read finds it. */
int task_take(struct task *task, const struct task_message *message, struct span text) MUST_CHECK;

/* Takes up what a read of the hash found that was sent after all that the task holds had come. Its
 * run holds, whatever the n; of the same run what is newer is taken, and a smaller n changes
 * nothing, since it was lost in a failover. A hash without a state: the state is gone, and that is
 * news. 0, TASK_NEWS, or -ENOMEM with at least a part not taken: to be read again. */
int task_take_hash(struct task *task, const struct task_hash *hash) MUST_CHECK;

/* The ring's messages may be forgotten up to here: what is sent begins with the state. Called when
 * the first state is complete. */
void task_settle(struct task *task);

/* The position of a client that has nothing yet. */
#define TASK_NOTHING 0
#define TASK_FIRST 2

/* The position of a client that has `rev` (n is 0: nothing). One of another run is where it is told
 * of the reset, and then the state. One that has seen more of this run is left there. */
uint64_t task_position(const struct task *task, const struct rev *rev);

/* When the message at that position was published: microseconds since 1970, of Redis' clock. Right
 * for messages of the run that the task is in. */
uint64_t task_published_us(const struct task *task, uint64_t position);

/* A message to be sent, its text (shared_text.h) borrowed from the task, and where a client is once
 * it was sent. */
struct task_item {
    struct bytes *text;
    uint64_t position;
};

/* The messages that come after the position (TASK_NOTHING: the whole state), oldest first, at most
 * `max` (at least TASK_MESSAGE_TYPES); call again from the last one's position for more.
 * *ret_left_out is how many messages that the ring still knows of were passed over because newer
 * ones of their type follow. */
size_t task_collect(struct task *task, uint64_t position, struct task_item *items, size_t max,
                    uint32_t *ret_left_out);

/* Whether the task has ended: what comes later is refused in Redis, until a reset. */
bool task_is_done(const struct task *task);

/* The stages as a JSON array, "[]" if there are none. */
struct span task_stages(const struct task *task);

#endif
