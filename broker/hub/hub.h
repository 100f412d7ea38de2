/* The table of watched tasks: each task's state, who watches it, and how it is kept true.
 *
 * Receives   subscriptions, from session.c and poller.c; messages and replies, by redis_link
 * Hands on   news: on_ready, on_news, on_failed of each subscription, which then collects frames
 * Owns       the tasks and the link to Redis; borrows the subscriptions
 *
 * A task is watched from its first subscription until `linger` after its last one. Watching it
 * means: subscribe to its channel, wait for Redis to confirm, read its hash, then follow the
 * channel. Who subscribes after that costs Redis nothing.
 *
 * What can be missed is found again:
 *   1. While a read of the hash is under way, live messages are held back and taken after it, so
 *      that a task is always taken up in the order of its revs.
 *   2. After a reconnect every watched task is subscribed and read again, SYNC_WINDOW at a time.
 *   3. Every `resync-interval` each task's n is compared with Redis', spread evenly; a larger one
 *      there leads to a read. A smaller one is a loss on Redis' side: what is known here stays.
 *
 * Whoever reads of a job whose next sign of life is overdue tells Redis so (progress_lost), which
 * looks again, and publishes an error: once, however many read it.
 *
 * States of a watched task
 *   WATCH_AWAY     not subscribed: the link is down, or its turn has not come
 *                                                                -> SUBSCRIBING
 *   WATCH_SUBSCRIBING  SSUBSCRIBE was sent                       -> READING, AWAY
 *   WATCH_READING  HGETALL was sent; messages are held          -> LIVE, READING, AWAY
 *   WATCH_LIVE     follows the channel                           -> READING, AWAY
 *   WATCH_GONE     nobody watches; waits for replies still to come, then is freed (from any)
 */
#ifndef PROGRESSD_BROKER_HUB_HUB_H
#define PROGRESSD_BROKER_HUB_HUB_H

#include <uv.h>

#include "broker/config/config.h"
#include "broker/hub/task.h"
#include "common/metrics.h"
#include "common/timer_wheel.h"

/* How long a subscription waits for a Redis that is away before it fails. */
#define HUB_PATIENCE_MS 3000

struct hub;
struct subscription;

struct subscription_events {
    /* The task's state is known: from now on frames can be collected. Comes once. */
    void (*on_ready)(struct subscription *subscription);
    /* There are frames newer than sent_n. Only says so; collects later. */
    void (*on_news)(struct subscription *subscription);
    /* Redis was out of reach for HUB_PATIENCE_MS. The subscription is no longer the hub's; its task
     * may be looked at until this returns. */
    void (*on_failed)(struct subscription *subscription);
};

/* A watcher's place in a task. Embedded by the watcher, who may end it from any of its events. */
struct subscription {
    struct list link;
    struct task *task;
    const struct subscription_events *events;
    uint64_t sent_n; /* the watcher has everything up to this n; the watcher's to write */
    bool ready;      /* the task's state is known */
};

struct hub_settings {
    uv_loop_t *loop;
    struct timer_wheel *wheel;
    const struct config *config;
    struct metrics_slot *metrics;
    /* hub_close() is through; the hub is freed. */
    void (*on_closed)(void *owner);
    void *owner;
};

/* NULL when out of memory. */
struct hub *hub_open(const struct hub_settings *settings) MUST_CHECK;

/* All subscriptions must have ended. on_closed comes once, perhaps before this returns. */
void hub_close(struct hub *hub);

enum hub_outcome {
    HUB_READY = 1,   /* the state is known already; on_ready doesn't come */
    HUB_UNAVAILABLE, /* Redis is out of reach, and was for a while; nothing was subscribed */
};

/* Watches a task (a valid id). 0: on_ready or on_failed comes later; HUB_READY; HUB_UNAVAILABLE;
 * -ENOMEM. `subscription` has its events and sent_n set. */
int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len) MUST_CHECK;

/* Ends a subscription; no event comes for it any more. */
void hub_unsubscribe(struct hub *hub, struct subscription *subscription);

/* Whether the link to Redis is up now. */
bool hub_is_connected(const struct hub *hub);

#endif
