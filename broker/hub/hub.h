/* The table of watched tasks: from when to when each is watched, and when it is compared with
 * Redis.
 *
 * Receives   subscriptions, from watcher.c and poller.c; messages and replies, by redis_link
 * Hands on   news: on_ready, on_news, on_failed of each subscription (watch.c), which then collects
 * frames Owns       the tasks and the link to Redis; borrows the subscriptions
 *
 * A task is watched from its first subscription until `linger` after its last one; watch.h tells
 * what that means. Who subscribes while it is watched costs Redis nothing. After a reconnect the
 * tasks are subscribed and read again, SYNC_WINDOW at a time; and every `resync-interval` each is
 * compared with Redis, spread evenly.
 */
#ifndef PROGRESSD_BROKER_HUB_HUB_H
#define PROGRESSD_BROKER_HUB_HUB_H

#include <uv.h>

#include "broker/config/config.h"
#include "broker/hub/subscription.h"
#include "common/metrics.h"
#include "common/timer_wheel.h"

/* How long a subscription waits for a Redis that is away before it fails. */
#define HUB_PATIENCE_MS 3000

struct hub;

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

/* Whether what is known of the task is known here: then hub_subscribe() gives HUB_READY, and Redis
 * isn't asked. */
bool hub_knows(const struct hub *hub, const char *task_id, size_t task_id_len);

/* Watches a task (a valid id). 0: on_ready or on_failed comes later; HUB_READY; HUB_UNAVAILABLE;
 * -ENOMEM. `subscription` has its events and sent_n set. */
int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len) MUST_CHECK;

/* Ends a subscription; no event comes for it any more. */
void hub_unsubscribe(struct hub *hub, struct subscription *subscription);

#endif
