/* One watched task: its state, and the short ring of its recent frames.
 *
 * Receives   messages: task_take() (hub.c, from the channel and from reads of the hash)
 * Hands on   frames newer than what a subscriber has: task_collect() (session.c, poller.c)
 * Owns       the newest frame of each type, the ring, the list of stages
 *
 * The state is, for each type, the message with the largest n of the newest run. That makes it
 * a join: taking the same messages in any order, any number of times, from the channel or from
 * the hash, gives the same state. Two rules come on top, as in progress.lua:
 *   - an error with "retryable":true goes when anything but a time_estimate comes after it;
 *   - a message of a newer run voids all of the older one. Watchers are told by a `reset`
 *     message, made here if the one from Redis was missed.
 *
 * The ring holds what came in order, so that each subscriber needs no more than the n it was sent
 * last (promise 4: a cursor, not a queue). A progress_update or time_estimate leaves the ring as
 * soon as a newer one of its type enters (promise 3), so the ring reaches back over TASK_RING
 * messages that matter, however fast the others come, and pins no stale frame. Who is further
 * behind is given the state.
 */
#ifndef PROGRESSD_BROKER_HUB_TASK_H
#define PROGRESSD_BROKER_HUB_TASK_H

#include "common/bytes.h"
#include "common/list.h"
#include "common/text.h"
#include "proto/task_key.h"
#include "proto/task_message.h"

#define TASK_RING 64

struct task_ring;

/* The newest message of a type: a WebSocket text frame and its n; {NULL, 0}: none. */
struct task_slot {
    struct bytes *frame;
    uint64_t n;
};

struct task {
    struct rev rev; /* the newest known; n is 0 while the task has no state */
    struct task_slot state[TASK_MESSAGE_TYPES];
    struct task_ring *ring; /* NULL until the first message after the state was read */
    struct text stages;     /* a JSON array; empty text: no stage yet */
    uint64_t floor_n;       /* the ring holds all after this n that isn't superseded */
    bool error_ends;        /* the error in the state isn't retryable */
    uint8_t id_len;
    char id[TASK_ID_MAX + 1];
};

/* A task without state. `id` is valid (asserted). */
void task_init(struct task *task, const char *id, size_t id_len);
void task_deinit(struct task *task);

enum task_outcome { TASK_NEWS = 1 };

/* Takes a message up: `text` is the whole of it, `message` its head. TASK_NEWS when subscribers
 * are to be given something newer; 0 when the message changes nothing that anybody was sent, as
 * a repetition does; -ENOMEM with the task unchanged, and the message as good as lost: a later read
 * finds it. */
int task_take(struct task *task, const struct task_message *message, struct span text) MUST_CHECK;

/* Takes up the hash's own rev and stages, after its messages were taken in order of their n. What
 * is older than the task's rev changes nothing. Results as above. */
int task_take_summary(struct task *task, const struct rev *rev, struct span stages) MUST_CHECK;

/* The ring's frames may be forgotten up to here: what subscribers are sent begins with the state.
 * Called when the first state is complete. */
void task_settle(struct task *task);

/* A frame to be sent, borrowed from the task, and the n a subscriber is at once it was sent. */
struct task_frame {
    struct bytes *frame;
    uint64_t n;
};

/* The n of a subscriber that was told that there is no state yet: less than that of any message. */
#define TASK_NOTHING 1

/* The frames that come after `after_n` (0: the whole state), oldest first, at most `max` (at
 * least TASK_MESSAGE_TYPES); call again from the last one's n for more. *ret_left_out is how many
 * messages that the ring still knows of were passed over because newer ones of their type
 * follow. */
size_t task_collect(struct task *task, uint64_t after_n, struct task_frame *frames, size_t max,
                    uint32_t *ret_left_out);

/* Whether the task has ended: what comes later is refused in Redis, until a reset. */
bool task_is_done(const struct task *task);

/* The stages as a JSON array, "[]" if there are none. */
struct span task_stages(const struct task *task);

#endif
