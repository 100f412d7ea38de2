#include "broker/hub/hub.h"

#include <errno.h>

#include "broker/hub/resync.h"
#include "common/log.h"
#include "common/map.h"
#include "common/mem.h"

#define MODULE "hub"

/* How often Redis is asked what time it is. */
#define CLOCK_INTERVAL_MS 10000

struct hub {
    struct hub_settings settings;
    struct redis_link *link;
    struct watch_room room;
    struct resync resync;
    struct map by_id;       /* of struct entry */
    uint64_t down_since_ms; /* 0: the link is up */
    struct timer clock_timer;
    bool closing;
};

/* A watched task. */
struct entry {
    struct watch watch;
    struct resync_place place;
    struct timer linger; /* since its last subscription ended */
};

static uint64_t now_ms(const struct hub *hub)
{
    return uv_now(hub->settings.loop);
}

/* ── The link ────────────────────────────────────────────────────────────────────────────────── */

static void hub_on_message(void *owner, struct redis_link *link, struct span channel,
                           struct span text)
{
    struct hub *hub = owner;
    struct span id = task_id_of_key(channel, hub->settings.config->redis_prefix);
    struct entry *entry = id.at ? map_get(&hub->by_id, id.at, id.len) : NULL;

    metric_add(hub->settings.metrics, METRIC_REDIS_MESSAGES_RECEIVED, 1);
    if (entry && entry->watch.link == link) {
        watch_take(&entry->watch, text);
    }
}

static void hub_on_up(void *owner, struct redis_link *link)
{
    struct hub *hub = owner;

    hub->down_since_ms = 0;
    redis_clock_ask(&hub->room.border.clock, link);
    resync_go_on(&hub->resync);
}

static void hub_on_down(void *owner, struct redis_link *link)
{
    struct hub *hub = owner;

    hub->down_since_ms = now_ms(hub);
    resync_lose(&hub->resync, link);
}

static void hub_on_synced(struct watch_room *room)
{
    struct hub *hub = CONTAINER_OF(room, struct hub, room);

    if (!hub->closing) {
        resync_go_on(&hub->resync);
    }
}

/* Clocks drift, and are set. */
static void hub_on_clock_timer(struct timer *timer)
{
    struct hub *hub = CONTAINER_OF(timer, struct hub, clock_timer);

    redis_clock_ask(&hub->room.border.clock, hub->link);
    timer_set(hub->settings.wheel, timer, now_ms(hub) + CLOCK_INTERVAL_MS);
}

/* ── From when to when a task is watched ─────────────────────────────────────────────────────── */

static struct hub *hub_of(struct entry *entry)
{
    return CONTAINER_OF(entry->watch.room, struct hub, room);
}

static void entry_end(struct entry *entry)
{
    struct hub *hub = hub_of(entry);
    const struct task *task = &entry->watch.task;

    timer_cancel(hub->settings.wheel, &entry->linger);
    resync_remove(&hub->resync, &entry->place);
    map_remove(&hub->by_id, task->id, task->id_len);
    metric_sub(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    watch_leave(&entry->watch);
}

static void entry_on_linger_over(struct timer *timer)
{
    entry_end(CONTAINER_OF(timer, struct entry, linger));
}

/* Nobody subscribes any more. A task without state is let go at the next tick: whoever asks for
 * tasks that don't exist is to leave nothing behind. */
static void entry_on_unwanted(struct watch *watch)
{
    struct entry *entry = CONTAINER_OF(watch, struct entry, watch);
    struct hub *hub = hub_of(entry);
    const uint32_t linger_ms = watch->task.rev.n > 0 ? hub->settings.config->linger_ms : 0;

    timer_set(hub->settings.wheel, &entry->linger, now_ms(hub) + linger_ms);
}

static struct entry *entry_new(struct hub *hub, struct span task_id)
{
    struct entry *entry = mem_zalloc(1, sizeof(*entry));

    if (!entry) {
        return NULL;
    }
    watch_init(&entry->watch, &hub->room, hub->link, hub->settings.config->redis_prefix, task_id);
    timer_init(&entry->linger, entry_on_linger_over);
    if (map_add(&hub->by_id, entry->watch.task.id, entry->watch.task.id_len, entry) < 0) {
        watch_deinit(&entry->watch);
        mem_free(entry);
        return NULL;
    }
    resync_add(&hub->resync, &entry->place, &entry->watch);
    metric_add(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    return entry;
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

static bool is_out_of_reach(const struct hub *hub)
{
    return hub->down_since_ms > 0 && now_ms(hub) - hub->down_since_ms >= HUB_PATIENCE_MS;
}

bool hub_knows(const struct hub *hub, const char *task_id, size_t task_id_len)
{
    const struct entry *entry = map_get(&hub->by_id, task_id, task_id_len);

    return entry && entry->watch.known;
}

int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len)
{
    struct entry *entry = map_get(&hub->by_id, task_id, task_id_len);

    assert(!hub->closing);
    if (!(entry && entry->watch.known) && is_out_of_reach(hub)) {
        return HUB_UNAVAILABLE;
    }
    if (!entry && hub->room.without_state >= HUB_WITHOUT_STATE_MAX) {
        metric_add(hub->settings.metrics, METRIC_TASKS_REFUSED, 1);
        log_event(LOG_WARN, MODULE, "too many tasks without state are watched",
                  LOG_INT("most", HUB_WITHOUT_STATE_MAX));
        return HUB_UNAVAILABLE;
    }
    if (!entry) {
        entry = entry_new(hub, (struct span){task_id, task_id_len});
        if (!entry) {
            return -ENOMEM;
        }
    }
    timer_cancel(hub->settings.wheel, &entry->linger);
    if (watch_subscribe(&entry->watch, subscription)) {
        return HUB_READY;
    }
    resync_again(&hub->resync, &entry->place);
    resync_go_on(&hub->resync);
    return 0;
}

void hub_unsubscribe(struct hub *hub, struct subscription *subscription)
{
    if (subscription->task) {
        watch_unsubscribe(CONTAINER_OF(subscription->task, struct watch, task), subscription);
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

static void entry_on_left(struct watch *watch)
{
    struct entry *entry = CONTAINER_OF(watch, struct entry, watch);
    struct hub *hub = hub_of(entry);

    watch_deinit(watch);
    mem_free(entry);
    if (hub->closing) {
        finish_closing(hub);
    }
}

static void hub_on_link_closed(void *owner, struct redis_link *link)
{
    struct hub *hub = owner;

    hub->link = NULL;
    finish_closing(hub);
}

static const struct redis_link_events link_events = {
    .on_up = hub_on_up,
    .on_down = hub_on_down,
    .on_message = hub_on_message,
    .on_closed = hub_on_link_closed,
};

struct hub *hub_open(const struct hub_settings *settings)
{
    struct hub *hub = mem_zalloc(1, sizeof(*hub));

    if (!hub) {
        return NULL;
    }
    hub->settings = *settings;
    hub->room = (struct watch_room){
        .wheel = settings->wheel,
        .border.metrics = settings->metrics,
        .on_synced = hub_on_synced,
        .on_unwanted = entry_on_unwanted,
        .on_left = entry_on_left,
    };
    redis_clock_init(&hub->room.border.clock, settings->loop);
    map_init(&hub->by_id);
    hub->down_since_ms = now_ms(hub);
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
    resync_init(&hub->resync, &hub->room, settings->config->resync_interval_ms);
    timer_init(&hub->clock_timer, hub_on_clock_timer);
    timer_set(settings->wheel, &hub->clock_timer, now_ms(hub) + CLOCK_INTERVAL_MS);
    return hub;
}

void hub_close(struct hub *hub)
{
    struct resync_place *place;

    hub->closing = true;
    timer_cancel(hub->settings.wheel, &hub->clock_timer);
    while ((place = resync_first(&hub->resync))) {
        entry_end(CONTAINER_OF(place, struct entry, place));
    }
    resync_deinit(&hub->resync);
    redis_link_close(hub->link);
}
