/* A watcher's place in a task.
 *
 * Receives   nothing; it is what hub_subscribe() fills in
 * Hands on   on_ready, on_news and on_failed to the watcher, called by watch.c
 * Owns       nothing: embedded by the watcher, who may end it from any of its events
 */
#ifndef PROGRESSD_BROKER_HUB_SUBSCRIPTION_H
#define PROGRESSD_BROKER_HUB_SUBSCRIPTION_H

#include "broker/hub/task.h"

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

struct subscription {
    struct list link;
    struct task *task;
    const struct subscription_events *events;
    uint64_t sent_n; /* the watcher has everything up to this n; the watcher's to write */
    bool ready;      /* the task's state is known */
};

#endif
