/* The table of watched tasks: from when to when each is watched.
 *
 * Receives   subscriptions; messages and replies by the link to Redis
 * Hands on   on_ready, on_news, on_failed of each subscription, which then collects (task.h)
 * Owns       the watches, the link, and the timers of those that linger; borrows the subscriptions
 *
 * A task is watched from its first subscription until `linger` after its last one; watch.h tells
 * what that means. Who subscribes while it is watched costs Redis nothing. A task without state
 * doesn't linger, and a worker watches no more than HUB_WITHOUT_STATE_MAX of them.
 */
#ifndef PROGRESSD_BROKER_HUB_HUB_H
#define PROGRESSD_BROKER_HUB_HUB_H

#include <uv.h>

#include "broker/config/config.h"
#include "broker/hub/subscription.h"
#include "common/metrics.h"
#include "common/timer_wheel.h"

/* Tasks without state that are watched at the same time: a worker needs about 1 KiB for each, and
 * Redis a subscription. */
#define HUB_WITHOUT_STATE_MAX 65536

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
    HUB_UNAVAILABLE, /* nothing was subscribed: Redis is out of reach, and was for a while; or the
                        worker watches as many tasks without state as it may */
};

/* Whether what is known of the task is known here: then hub_subscribe() gives HUB_READY, and Redis
 * isn't asked. */
bool hub_knows(const struct hub *hub, const char *task_id, size_t task_id_len);

/* Watches a task (a valid id). 0: on_ready or on_failed comes later; HUB_READY; HUB_UNAVAILABLE;
 * -ENOMEM. `subscription` has its events set. */
int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len) MUST_CHECK;

/* Ends a subscription; no event comes for it any more. Its task may be looked at until the caller
 * returns to the loop. Does nothing for one that has ended. */
void hub_unsubscribe(struct hub *hub, struct subscription *subscription);

#endif
