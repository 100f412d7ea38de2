/* A client's place in a task.
 *
 * Receives   nothing: embedded by whoever subscribes, and filled in by hub_subscribe()
 * Hands on   on_ready, on_news and on_failed, from any of which the subscription may be ended
 * Owns       nothing
 */
#ifndef PROGRESSD_BROKER_HUB_SUBSCRIPTION_H
#define PROGRESSD_BROKER_HUB_SUBSCRIPTION_H

#include "broker/hub/task.h"

/* How long a subscription waits for a Redis that is away before it fails. */
#define HUB_PATIENCE_MS 3000

struct subscription;

struct subscription_events {
    /* The task's state is known: from now on messages can be collected. Comes once. */
    void (*on_ready)(struct subscription *subscription);
    /* There are messages after `position`. Only says so; collects later. */
    void (*on_news)(struct subscription *subscription);
    /* Redis was out of reach for HUB_PATIENCE_MS. The subscription is no longer the hub's; its task
     * may be looked at until this returns. */
    void (*on_failed)(struct subscription *subscription);
};

struct subscription {
    struct list link;
    struct task *task;
    const struct subscription_events *events;
    uint64_t position; /* everything up to here was sent (task.h). The owner's */
    bool ready;        /* the task's state is known */
};

#endif
