/* One watched task and its place in Redis: how it is subscribed, read, followed and compared.
 *
 * Receives   orders to begin, compare and leave, and the channel's messages, from hub.c
 * Hands on   what came to task_intake.c; on_ready, on_news, on_failed to its subscriptions
 * Owns       the task; borrows the subscriptions, which are in its lists
 *
 * What can be missed is found again:
 *   1. While a read of the hash is under way, live messages are held back and taken after it, so
 *      that a task is always taken up in the order of its revs.
 *   2. After a reconnect the task is subscribed and read again, as at first.
 *   3. Compared with Redis, a larger n there leads to a read. A smaller one is a loss on Redis'
 *      side: what is known here stays.
 *
 * What Redis refuses for this task's key, for want of a right, ends the waiting of its subscribers
 * and leaves the others with what they have; the watch is AWAY until it is synced again.
 *
 * Whoever reads of a job whose next sign of life is overdue tells Redis so (progress_lost), which
 * looks again, and publishes an error: once, however many read it.
 *
 * States
 *   WATCH_AWAY         not subscribed: the link is down, or its turn has not come  -> SUBSCRIBING
 *   WATCH_SUBSCRIBING  SSUBSCRIBE was sent                           -> READING, AWAY
 *   WATCH_READING      HGETALL was sent; messages are held           -> LIVE, READING, AWAY
 *   WATCH_LIVE         follows the channel                           -> READING, AWAY
 *   WATCH_GONE         nobody watches; waits for replies still to come, then is freed (from any)
 */
#ifndef PROGRESSD_BROKER_HUB_WATCH_H
#define PROGRESSD_BROKER_HUB_WATCH_H

#include "broker/hub/subscription.h"
#include "broker/hub/task_intake.h"
#include "broker/redis/redis_link.h"
#include "common/metrics.h"
#include "common/timer_wheel.h"

#define WATCH_STATES(X)                 \
    X(WATCH_AWAY, "away")               \
    X(WATCH_SUBSCRIBING, "subscribing") \
    X(WATCH_READING, "reading")         \
    X(WATCH_LIVE, "live")               \
    X(WATCH_GONE, "gone")

enum watch_state {
#define X(name, text) name,
    WATCH_STATES(X)
#undef X
};

/* What all watches of a hub share. Owned by the hub. */
struct watch_room {
    struct metrics_slot *metrics;
    struct timer_wheel *wheel;
    uint32_t syncing; /* watches that are SUBSCRIBING or READING */
    uint32_t leaving; /* watches that are GONE */
    /* A watch has been read, or was refused: there may be room for the next. */
    void (*on_synced)(struct watch_room *room);
    /* A watch that was left has been freed. */
    void (*on_freed)(struct watch_room *room);
};

struct watch {
    struct task task;
    struct watch_room *room;
    struct redis_link *link; /* to the server that has the task's key */
    enum watch_state state;
    bool known;              /* the state was read at least once: subscribers can be served */
    uint8_t replies;         /* that are still to come */
    struct list waiting;     /* subscriptions that on_ready is due to */
    struct list subscribers; /* subscriptions that are ready */
    struct list all;         /* the hub's, and so is queue */
    struct list queue;
    struct intake intake;
    uint64_t ahead_n;   /* the n that Redis was seen to be ahead with; 0: none */
    struct timer timer; /* nobody watches: lingering; somebody waits: patience */
    uint8_t key_len;
    char key[TASK_KEY_MAX];
};

/* A watch in state AWAY, its lists empty, its timer initialised with `on_timer`, which stays the
 * hub's business. NULL when out of memory. */
struct watch *watch_new(struct watch_room *room, struct redis_link *link, const char *prefix,
                        struct span task_id, void (*on_timer)(struct timer *timer)) MUST_CHECK;

/* Whether anybody watches, or waits to. */
bool watch_is_wanted(const struct watch *watch);

/* AWAY: subscribes and reads; on_ready of those that wait comes after it. */
void watch_sync(struct watch *watch);

/* A message came over its channel. */
void watch_take(struct watch *watch, struct span message);

/* LIVE: compares with Redis, unless it is at it still. */
void watch_compare(struct watch *watch);

/* The link is lost. */
void watch_lose(struct watch *watch);

/* Ends those that wait with on_failed. */
void watch_fail(struct watch *watch);

/* Nobody watches (asserted): leaves the channel. The watch is freed, now or after its last reply.
 */
void watch_leave(struct watch *watch);

#endif
