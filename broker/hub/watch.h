/* One watched task and its place in Redis: how it is subscribed, read, followed and compared.
 *
 * Receives   subscriptions; orders to sync, compare and leave; the channel's messages
 * Hands on   what came to task_intake.h; on_ready, on_news, on_failed to the subscriptions
 * Owns       the task, the lists of subscriptions (borrowed), and the timer of those that wait
 *
 * What can be missed is found again:
 *   1. While a read of the hash is under way, live messages are held back and taken after it, so
 *      that a task is always taken up in the order of its revs.
 *   2. After a reconnect the task is subscribed and read again, as at first.
 *   3. The rev in Redis is compared with the one held, in turn. If it is another one at two looks
 * in a row, with nothing taken up in between, the hash is read: what a look shows that was sent
 *      before a message came proves nothing. Only a smaller n of the same run is left alone: Redis
 *      lost it in a failover, and what is held stays.
 *   4. A message that can't be judged without the hash (intake_must_read()) has it read at once, if
 *      that wasn't done in the last second; else by the next comparison.
 *
 * What Redis refuses for this task's key, for want of a right, fails the subscriptions that wait
 * and leaves the others with what they have; the watch is AWAY until it is synced again.
 *
 * Whoever reads of a job whose next sign of life is overdue tells Redis so (progress_lost), which
 * looks again, and publishes an error: once, however many read it.
 *
 * States
 *   AWAY         not subscribed: the link is down, its turn has not come, or Redis refused
 *   SUBSCRIBING  SSUBSCRIBE was sent
 *   READING      HGETALL was sent; messages are held
 *   LIVE         follows the channel
 *   GONE         was left; waits for replies still to come, then is freed
 */
#ifndef PROGRESSD_BROKER_HUB_WATCH_H
#define PROGRESSD_BROKER_HUB_WATCH_H

#include "broker/hub/subscription.h"
#include "broker/hub/task_intake.h"
#include "broker/redis/redis_link.h"
#include "common/metrics.h"
#include "common/state.h"
#include "common/timer_wheel.h"

#define WATCH_STATES(X)                                                                          \
    X(WATCH_AWAY, "away", STATE_TO(WATCH_SUBSCRIBING) | STATE_TO(WATCH_GONE))                    \
    X(WATCH_SUBSCRIBING, "subscribing",                                                          \
      STATE_TO(WATCH_READING) | STATE_TO(WATCH_AWAY) | STATE_TO(WATCH_GONE))                     \
    X(WATCH_READING, "reading",                                                                  \
      STATE_TO(WATCH_READING) | STATE_TO(WATCH_LIVE) | STATE_TO(WATCH_AWAY) |                    \
          STATE_TO(WATCH_GONE))                                                                  \
    X(WATCH_LIVE, "live", STATE_TO(WATCH_READING) | STATE_TO(WATCH_AWAY) | STATE_TO(WATCH_GONE)) \
    X(WATCH_GONE, "gone", 0)

enum watch_state { WATCH_STATES(STATE_ENUM) };
extern const struct state_machine watch_machine;

struct watch;

/* What all watches of a hub share. */
struct watch_room {
    struct timer_wheel *wheel;
    struct intake_border border;
    uint32_t syncing;       /* watches that are SUBSCRIBING or READING */
    uint32_t leaving;       /* watches that are GONE */
    uint32_t without_state; /* watches but those that are GONE */
    /* One is less that is syncing: it was read, refused, lost or left. */
    void (*on_synced)(struct watch_room *room);
    /* The last subscription ended; or there was none, and the state is gone. Leaves the watch as it
     * is: the caller goes on with it. */
    void (*on_unwanted)(struct watch *watch);
    /* A watch that was left can be freed. */
    void (*on_left)(struct watch *watch);
};

struct watch {
    struct task task;
    struct watch_room *room;
    struct redis_link *link; /* to the server that has the task's key */
    struct list waiting;     /* subscriptions that on_ready is due to */
    struct list ready;       /* subscriptions that it came to */
    struct timer patience;
    struct intake intake;
    struct rev compared; /* the rev held when the comparison under way was begun */
    uint64_t read_ms;    /* when the hash was last asked for out of turn */
    uint8_t state;       /* enum watch_state */
    bool known;          /* the hash was read at least once: subscriptions can be served */
    bool differed;       /* the comparison under way found another rev once */
    bool has_state;      /* as counted in room->without_state */
    uint8_t replies;     /* that are still to come */
    uint8_t key_len;
    char key[TASK_KEY_MAX];
};

/* AWAY, without subscriptions. */
void watch_init(struct watch *watch, struct watch_room *room, struct redis_link *link,
                const char *prefix, struct span task_id);

/* Frees what it holds: after on_left, or before anything else was done with it. */
void watch_deinit(struct watch *watch);

/* Adds a subscription, whose `events` are set. Whether it is ready at once; else on_ready or
 * on_failed comes later. */
bool watch_subscribe(struct watch *watch, struct subscription *subscription) MUST_CHECK;

/* Takes a subscription out. on_unwanted comes if it was the last one. */
void watch_unsubscribe(struct watch *watch, struct subscription *subscription);

/* Whether anybody subscribes. */
bool watch_is_wanted(const struct watch *watch);

/* AWAY: subscribes and reads; on_ready of those that wait comes after it. */
void watch_sync(struct watch *watch);

/* A message came over its channel. */
void watch_take(struct watch *watch, struct span message);

/* LIVE: compares with Redis, unless it is at it still. */
void watch_compare(struct watch *watch);

/* The link is lost. */
void watch_lose(struct watch *watch);

/* Nobody subscribes (asserted): leaves the channel. on_left comes once, perhaps before this
 * returns. */
void watch_leave(struct watch *watch);

#endif
