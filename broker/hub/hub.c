#include "broker/hub/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/hub/watch.h"
#include "common/map.h"
#include "common/mem.h"

/* Tasks whose subscription or read is under way at the same time, after a reconnect. */
#define SYNC_WINDOW 256

struct hub {
    struct hub_settings settings;
    struct redis_link *link;
    struct watch_room room;
    struct map by_id;
    struct list watches;  /* in the order in which they are to be checked */
    struct list unsynced; /* AWAY, waiting for their turn */
    uint64_t down_since_ms;
    struct timer check_timer;
    uint64_t checked_ms;
    double checks_due; /* tasks to be compared, with the fraction left over from the last turn */
    bool closing;
};

static uint64_t now_ms(const struct hub *hub)
{
    return uv_now(hub->settings.loop);
}

/* ── Taking messages up ──────────────────────────────────────────────────────────────────────── */

static void on_message(void *owner, struct redis_link *redis, struct span channel, struct span text)
{
    struct hub *hub = owner;
    struct span id = task_id_of_key(channel, hub->settings.config->redis_prefix);
    struct watch *watch = id.at ? map_get(&hub->by_id, id.at, id.len) : NULL;

    metric_add(hub->settings.metrics, METRIC_REDIS_MESSAGES_RECEIVED, 1);
    if (watch && watch->link == redis) {
        watch_take(watch, text);
    }
}

/* ── In step with Redis ──────────────────────────────────────────────────────────────────────── */

/* Starts as many as the window takes. */
static void sync_more(struct hub *hub)
{
    while (hub->room.syncing < SYNC_WINDOW && redis_link_is_up(hub->link) &&
           !list_is_empty(&hub->unsynced)) {
        struct watch *watch = CONTAINER_OF(list_first(&hub->unsynced), struct watch, queue);

        list_remove(&watch->queue);
        watch_sync(watch);
    }
}

/* A watch that is away, though its link is up, was refused: it is synced again. */
static void sync_again(struct hub *hub, struct watch *watch)
{
    if (watch->state == WATCH_AWAY && !list_is_linked(&watch->queue)) {
        list_append(&hub->unsynced, &watch->queue);
        sync_more(hub);
    }
}

static void on_synced(struct watch_room *room)
{
    sync_more(CONTAINER_OF(room, struct hub, room));
}

static void on_up(void *owner, struct redis_link *redis)
{
    struct hub *hub = owner;

    hub->down_since_ms = 0;
    sync_more(hub);
}

static void on_down(void *owner, struct redis_link *redis)
{
    struct hub *hub = owner;

    hub->down_since_ms = now_ms(hub);
    LIST_EACH (link, &hub->watches) {
        struct watch *watch = CONTAINER_OF(link, struct watch, all);

        if (watch->link != redis) {
            continue;
        }
        watch_lose(watch);
        if (!list_is_linked(&watch->queue)) {
            list_append(&hub->unsynced, &watch->queue);
        }
    }
}

/* Every tick compares its share of the tasks, so that each one's turn comes once an interval. */
static void on_check_timer(struct timer *timer)
{
    struct hub *hub = CONTAINER_OF(timer, struct hub, check_timer);
    const uint64_t now = now_ms(hub);
    const uint32_t count = hub->by_id.count;

    hub->checks_due += (double)count * (double)(now - hub->checked_ms) /
                       (double)hub->settings.config->resync_interval_ms;
    hub->checked_ms = now;
    if (hub->checks_due > count) {
        hub->checks_due = count;
    }
    for (; hub->checks_due >= 1; hub->checks_due -= 1) {
        struct watch *watch = CONTAINER_OF(list_first(&hub->watches), struct watch, all);

        list_remove(&watch->all);
        list_append(&hub->watches, &watch->all);
        watch_compare(watch);
        sync_again(hub, watch);
    }
    timer_set(hub->settings.wheel, &hub->check_timer, now + TIMER_WHEEL_TICK_MS);
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

/* Nobody watches any more. */
static void end_watch(struct hub *hub, struct watch *watch)
{
    timer_cancel(hub->settings.wheel, &watch->timer);
    list_remove(&watch->queue);
    list_remove(&watch->all);
    map_remove(&hub->by_id, watch->task.id, watch->task.id_len);
    metric_sub(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    watch_leave(watch);
}

/* Whoever waits has waited long enough; and what nobody watches has lingered long enough. */
static void on_watch_timer(struct timer *timer)
{
    struct watch *watch = CONTAINER_OF(timer, struct watch, timer);

    watch_fail(watch);
    if (!watch_is_wanted(watch)) {
        end_watch(CONTAINER_OF(watch->room, struct hub, room), watch);
    }
}

static struct watch *begin_watch(struct hub *hub, struct span task_id)
{
    struct watch *watch = watch_new(&hub->room, hub->link, hub->settings.config->redis_prefix,
                                    task_id, on_watch_timer);

    if (!watch) {
        return NULL;
    }
    if (map_add(&hub->by_id, watch->task.id, watch->task.id_len, watch) < 0) {
        mem_free(watch);
        return NULL;
    }
    list_append(&hub->watches, &watch->all);
    list_prepend(&hub->unsynced, &watch->queue); /* before what a resync has queued */
    metric_add(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    return watch;
}

bool hub_knows(const struct hub *hub, const char *task_id, size_t task_id_len)
{
    const struct watch *watch = map_get(&hub->by_id, task_id, task_id_len);

    return watch && watch->known;
}

int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len)
{
    struct watch *watch = map_get(&hub->by_id, task_id, task_id_len);
    const bool known = watch && watch->known;

    assert(!hub->closing);
    if (!known && hub->down_since_ms > 0 && now_ms(hub) - hub->down_since_ms >= HUB_PATIENCE_MS) {
        return HUB_UNAVAILABLE;
    }
    if (!watch) {
        watch = begin_watch(hub, (struct span){task_id, task_id_len});
        if (!watch) {
            return -ENOMEM;
        }
    }
    subscription->task = &watch->task;
    subscription->ready = known;
    list_init(&subscription->link);
    list_append(known ? &watch->subscribers : &watch->waiting, &subscription->link);
    if (known) {
        timer_cancel(hub->settings.wheel, &watch->timer);
        return HUB_READY;
    }
    if (!timer_is_set(&watch->timer) || list_first(&watch->waiting) == &subscription->link) {
        timer_set(hub->settings.wheel, &watch->timer, now_ms(hub) + HUB_PATIENCE_MS);
    }
    if (watch->state == WATCH_AWAY && !list_is_linked(&watch->queue)) {
        list_prepend(&hub->unsynced, &watch->queue);
    }
    sync_more(hub);
    return 0;
}

void hub_unsubscribe(struct hub *hub, struct subscription *subscription)
{
    struct watch *watch;

    if (!subscription->task) {
        return;
    }
    watch = CONTAINER_OF(subscription->task, struct watch, task);
    subscription->task = NULL;
    list_remove(&subscription->link);
    if (!watch_is_wanted(watch)) {
        timer_set(hub->settings.wheel, &watch->timer,
                  now_ms(hub) + hub->settings.config->linger_ms);
    }
}

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

static void finish_closing(struct hub *hub)
{
    void (*on_closed)(void *) = hub->settings.on_closed;
    void *owner = hub->settings.owner;

    if (hub->link || hub->room.leaving > 0) {
        return;
    }
    map_deinit(&hub->by_id);
    mem_free(hub);
    on_closed(owner);
}

static void on_watch_freed(struct watch_room *room)
{
    struct hub *hub = CONTAINER_OF(room, struct hub, room);

    if (hub->closing) {
        finish_closing(hub);
    }
}

static void on_link_closed(void *owner, struct redis_link *redis)
{
    struct hub *hub = owner;

    hub->link = NULL;
    finish_closing(hub);
}

static const struct redis_link_events link_events = {
    .on_up = on_up,
    .on_down = on_down,
    .on_message = on_message,
    .on_closed = on_link_closed,
};

struct hub *hub_open(const struct hub_settings *settings)
{
    struct hub *hub = mem_zalloc(1, sizeof(*hub));

    if (!hub) {
        return NULL;
    }
    hub->settings = *settings;
    hub->room = (struct watch_room){
        .metrics = settings->metrics,
        .wheel = settings->wheel,
        .on_synced = on_synced,
        .on_freed = on_watch_freed,
    };
    map_init(&hub->by_id);
    list_init(&hub->watches);
    list_init(&hub->unsynced);
    hub->down_since_ms = hub->checked_ms = now_ms(hub);
    timer_init(&hub->check_timer, on_check_timer);
    hub->link = redis_link_open(&(struct redis_link_settings){
        .loop = settings->loop,
        .wheel = settings->wheel,
        .config = settings->config,
        .server = &settings->config->redis,
        .metrics = settings->metrics,
        .events = &link_events,
        .owner = hub,
    });
    if (!hub->link) {
        mem_free(hub);
        return NULL;
    }
    timer_set(settings->wheel, &hub->check_timer, now_ms(hub) + TIMER_WHEEL_TICK_MS);
    return hub;
}

void hub_close(struct hub *hub)
{
    timer_cancel(hub->settings.wheel, &hub->check_timer);
    LIST_EACH (link, &hub->watches) {
        end_watch(hub, CONTAINER_OF(link, struct watch, all));
    }
    hub->closing = true;
    redis_link_close(hub->link);
}
