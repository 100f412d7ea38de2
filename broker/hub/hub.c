#include "broker/hub/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/hub/task_intake.h"
#include "broker/redis/redis_link.h"
#include "common/log.h"
#include "common/map.h"
#include "common/mem.h"

#define MODULE "hub"

/* Tasks whose subscription or read is under way at the same time, after a reconnect. */
#define SYNC_WINDOW 256

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

struct watch {
    struct task task;
    struct hub *hub;
    enum watch_state state;
    bool known;              /* the state was read at least once: subscribers can be served */
    uint8_t replies;         /* that are still to come */
    struct list waiting;     /* subscriptions that on_ready is due to */
    struct list subscribers; /* subscriptions that are ready */
    struct list all;         /* in hub->watches, or alone when GONE */
    struct list queue;       /* in hub->unsynced while its turn has not come */
    struct intake intake;
    uint64_t ahead_n;   /* the n that Redis was seen to be ahead with; 0: none */
    struct timer timer; /* nobody watches: lingering; somebody waits: patience */
    uint8_t key_len;
    char key[TASK_KEY_MAX];
};

struct hub {
    struct hub_settings settings;
    struct redis_link *link;
    struct map by_id;
    struct list watches;  /* in the order in which they are to be checked */
    struct list unsynced; /* AWAY, waiting for their turn */
    struct list gone;
    uint32_t syncing; /* SUBSCRIBING or READING */
    uint64_t down_since_ms;
    struct timer check_timer;
    uint64_t checked_ms;
    double checks_due; /* tasks to be compared, with the fraction left over from the last turn */
    bool closing;
};

static const char *state_name(enum watch_state state)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        WATCH_STATES(X)
#undef X
    };
    return names[state];
}

static bool is_syncing(enum watch_state state)
{
    return state == WATCH_SUBSCRIBING || state == WATCH_READING;
}

/* The only writer of a watch's state. */
static void set_state(struct watch *watch, enum watch_state state)
{
    static const bool allowed[][WATCH_GONE + 1] = {
        [WATCH_AWAY] = {[WATCH_SUBSCRIBING] = true, [WATCH_GONE] = true},
        [WATCH_SUBSCRIBING] = {[WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
        [WATCH_READING] =
            {[WATCH_LIVE] = true, [WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
        [WATCH_LIVE] = {[WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
        [WATCH_GONE] = {false},
    };

    assert(allowed[watch->state][state]);
    log_event(LOG_DEBUG, MODULE, "watch", LOG_TEXT("task", watch->task.id),
              LOG_TEXT("from", state_name(watch->state)), LOG_TEXT("to", state_name(state)));
    watch->hub->syncing -= is_syncing(watch->state);
    watch->hub->syncing += is_syncing(state);
    watch->state = state;
}

static uint64_t now_ms(const struct hub *hub)
{
    return uv_now(hub->settings.loop);
}

static struct span key_of(const struct watch *watch)
{
    return (struct span){watch->key, watch->key_len};
}

/* ── Telling the watchers ────────────────────────────────────────────────────────────────────── */

static void tell_news(struct watch *watch)
{
    LIST_EACH (link, &watch->subscribers) {
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        subscription->events->on_news(subscription);
    }
}

static void tell_ready(struct watch *watch)
{
    if (list_is_empty(&watch->waiting)) {
        return; /* the timer, if it is set, ends what nobody watches any more */
    }
    timer_cancel(watch->hub->settings.wheel, &watch->timer);
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        list_append(&watch->subscribers, link);
        subscription->ready = true;
        subscription->events->on_ready(subscription);
    }
}

static void tell_failed(struct watch *watch)
{
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        subscription->events->on_failed(subscription);
    }
}

/* ── The end of a watch ──────────────────────────────────────────────────────────────────────── */

static void finish_closing(struct hub *hub);

static void watch_free(struct watch *watch)
{
    struct hub *hub = watch->hub;

    assert(watch->state == WATCH_GONE && watch->replies == 0);
    list_remove(&watch->all);
    intake_drop_held(&watch->intake);
    task_deinit(&watch->task);
    mem_free(watch);
    if (hub->closing) {
        finish_closing(hub);
    }
}

static void on_unsubscribed(void *context, const redisReply *reply)
{
    struct watch *watch = context;

    watch->replies--;
    if (watch->replies == 0) {
        watch_free(watch);
    }
}

/* Takes the watch out of the table, and out of Redis' subscribers. */
static void watch_end(struct watch *watch)
{
    struct hub *hub = watch->hub;
    const bool subscribed = watch->state != WATCH_AWAY;

    assert(list_is_empty(&watch->waiting) && list_is_empty(&watch->subscribers));
    timer_cancel(hub->settings.wheel, &watch->timer);
    list_remove(&watch->queue);
    list_remove(&watch->all);
    list_append(&hub->gone, &watch->all);
    map_remove(&hub->by_id, watch->task.id, watch->task.id_len);
    metric_sub(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    set_state(watch, WATCH_GONE);
    if (subscribed && redis_link_subscribe(hub->link, "SUNSUBSCRIBE", key_of(watch),
                                           on_unsubscribed, watch) == 0) {
        watch->replies++;
    }
    if (watch->replies == 0) {
        watch_free(watch);
    }
}

/* ── Taking messages up ──────────────────────────────────────────────────────────────────────── */

static void on_message(void *owner, struct span channel, struct span text)
{
    struct hub *hub = owner;
    struct span id = task_id_of_key(channel, hub->settings.config->redis_prefix);
    struct watch *watch = id.at ? map_get(&hub->by_id, id.at, id.len) : NULL;

    metric_add(hub->settings.metrics, METRIC_REDIS_MESSAGES_RECEIVED, 1);
    if (!watch) {
        return;
    }
    if (is_syncing(watch->state)) {
        intake_hold(&watch->intake, text);
    } else if (watch->state == WATCH_LIVE && intake_message(&watch->intake, text)) {
        tell_news(watch);
    }
}

/* ── Reading the hash ────────────────────────────────────────────────────────────────────────── */

static void sync_more(struct hub *hub);
static void read_hash(struct watch *watch);

/* Whether somebody else's key has the task's name: a matter of this task, and not of the link. */
static bool is_wrong_type(const redisReply *reply)
{
    static const char prefix[] = "WRONGTYPE ";

    return strncmp(reply->str, prefix, sizeof(prefix) - 1) == 0;
}

/* For the replies of a watch: whether it still wants them. Frees it when this was the last one it
 * waited for. */
static bool wants_reply(struct watch *watch)
{
    watch->replies--;
    if (watch->state != WATCH_GONE) {
        return true;
    }
    if (watch->replies == 0) {
        watch_free(watch);
    }
    return false;
}

/* The same, with the link given up after an error. */
static bool takes_reply(struct watch *watch, const redisReply *reply)
{
    if (!wants_reply(watch)) {
        return false;
    }
    if (reply && reply->type == REDIS_REPLY_ERROR && !is_wrong_type(reply)) {
        redis_link_fail(watch->hub->link, reply->str);
        return false;
    }
    return reply != NULL; /* NULL: the link is lost, and on_down comes */
}

/* The error that says so comes over the channel. */
static void on_lost(void *context, const redisReply *reply)
{
    struct watch *watch = context;

    if (!wants_reply(watch) || !reply) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        log_event(LOG_WARN, MODULE, "could not declare the job lost",
                  LOG_TEXT("task", watch->task.id), LOG_TEXT("why", reply->str));
    } else if (reply->type == REDIS_REPLY_STRING) {
        log_event(LOG_INFO, MODULE, "the job is lost", LOG_TEXT("task", watch->task.id));
        metric_add(watch->hub->settings.metrics, METRIC_JOBS_LOST, 1);
    }
}

/* Asks Redis to declare the job lost, if it should have given a sign of life by now. */
static void check_alive(struct watch *watch, uint64_t deadline_us)
{
    uv_timeval64_t now;

    if (deadline_us == UINT64_MAX || uv_gettimeofday(&now) != 0 ||
        (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_usec < deadline_us ||
        watch->replies == UINT8_MAX) {
        return;
    }
    if (redis_link_command(watch->hub->link, on_lost, watch, 4,
                           (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_lost"), SPAN_OF("1"),
                                           key_of(watch)}) == 0) {
        watch->replies++;
    }
}

static void on_hash_read(void *context, const redisReply *reply)
{
    struct watch *watch = context;
    struct hub *hub = watch->hub;
    bool news;

    if (!takes_reply(watch, reply) || watch->state != WATCH_READING) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR && !watch->known) {
        log_event(LOG_WARN, MODULE, "the task's key is not a hash, so it has no state",
                  LOG_TEXT("task", watch->task.id));
    }
    news = reply->type == REDIS_REPLY_ARRAY && intake_hash(&watch->intake, reply);
    if (reply->type == REDIS_REPLY_ARRAY) {
        check_alive(watch, watch->intake.alive_deadline);
    }
    if (news && watch->known) {
        metric_add(hub->settings.metrics, METRIC_RESYNCS_NEWER, 1);
    }
    if (intake_is_incomplete(&watch->intake)) {
        read_hash(watch);
    } else {
        news |= intake_held(&watch->intake);
        set_state(watch, WATCH_LIVE);
    }
    if (!watch->known) {
        watch->known = true;
        task_settle(&watch->task);
    } else if (news) {
        tell_news(watch);
    }
    tell_ready(watch);
    sync_more(hub);
}

static void read_hash(struct watch *watch)
{
    intake_drop_held(&watch->intake);
    set_state(watch, WATCH_READING);
    metric_add(watch->hub->settings.metrics, METRIC_STATE_READS, 1);
    if (redis_link_command(watch->hub->link, on_hash_read, watch, 2,
                           (struct span[]){SPAN_OF("HGETALL"), key_of(watch)}) == 0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->hub->link, "out of memory");
    }
}

static void on_subscribed(void *context, const redisReply *reply)
{
    struct watch *watch = context;

    if (takes_reply(watch, reply) && watch->state == WATCH_SUBSCRIBING) {
        read_hash(watch);
    }
}

static void start_sync(struct watch *watch)
{
    set_state(watch, WATCH_SUBSCRIBING);
    if (redis_link_subscribe(watch->hub->link, "SSUBSCRIBE", key_of(watch), on_subscribed, watch) ==
        0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->hub->link, "out of memory");
    }
}

/* Starts as many as the window takes. */
static void sync_more(struct hub *hub)
{
    while (hub->syncing < SYNC_WINDOW && redis_link_is_up(hub->link) &&
           !list_is_empty(&hub->unsynced)) {
        struct watch *watch = CONTAINER_OF(list_first(&hub->unsynced), struct watch, queue);

        list_remove(&watch->queue);
        if (watch->known) {
            metric_add(hub->settings.metrics, METRIC_RESYNCS, 1);
        }
        start_sync(watch);
    }
}

/* ── The link comes and goes ─────────────────────────────────────────────────────────────────── */

static void on_up(void *owner)
{
    struct hub *hub = owner;

    hub->down_since_ms = 0;
    sync_more(hub);
}

static void on_down(void *owner)
{
    struct hub *hub = owner;

    hub->down_since_ms = now_ms(hub);
    LIST_EACH (link, &hub->watches) {
        struct watch *watch = CONTAINER_OF(link, struct watch, all);

        intake_drop_held(&watch->intake);
        if (watch->state != WATCH_AWAY) {
            set_state(watch, WATCH_AWAY);
            list_append(&hub->unsynced, &watch->queue);
        }
    }
}

/* ── Comparing with Redis ────────────────────────────────────────────────────────────────────── */

static void ask_for_rev(struct watch *watch);

/* A message that is merely late also makes Redis look ahead, since it comes on the other
 * connection. So it is given the time of a second question; what isn't there then was lost. */
static void on_compared(void *context, const redisReply *reply)
{
    struct watch *watch = context;
    const uint64_t ahead_n = watch->ahead_n;
    struct rev rev;

    if (!takes_reply(watch, reply) || watch->state != WATCH_LIVE) {
        return;
    }
    watch->ahead_n = 0;
    if (ahead_n > watch->task.rev.n || intake_has_failed(&watch->intake)) {
        read_hash(watch);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return;
    }
    check_alive(watch, alive_deadline(redis_reply_text(reply->element[2])));
    if (ahead_n == 0 &&
        rev_of_fields(redis_reply_text(reply->element[0]), redis_reply_text(reply->element[1]),
                      &rev) == 0 &&
        rev.n > watch->task.rev.n) {
        watch->ahead_n = rev.n;
        ask_for_rev(watch);
    }
}

static void ask_for_rev(struct watch *watch)
{
    if (redis_link_command(watch->hub->link, on_compared, watch, 5,
                           (struct span[]){SPAN_OF("HMGET"), key_of(watch), SPAN_OF("run"),
                                           SPAN_OF("n"), SPAN_OF("_alive")}) == 0) {
        watch->replies++;
    }
}

static void compare(struct watch *watch)
{
    if (watch->state == WATCH_LIVE && watch->replies == 0) {
        metric_add(watch->hub->settings.metrics, METRIC_RESYNCS, 1);
        watch->ahead_n = 0;
        ask_for_rev(watch);
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
        compare(watch);
    }
    timer_set(hub->settings.wheel, &hub->check_timer, now + TIMER_WHEEL_TICK_MS);
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

static bool is_watched(const struct watch *watch)
{
    return !list_is_empty(&watch->waiting) || !list_is_empty(&watch->subscribers);
}

static void on_watch_timer(struct timer *timer)
{
    struct watch *watch = CONTAINER_OF(timer, struct watch, timer);

    tell_failed(watch);
    if (!is_watched(watch)) {
        watch_end(watch);
    }
}

static struct watch *watch_new(struct hub *hub, const char *id, size_t id_len)
{
    const char *prefix = hub->settings.config->redis_prefix;
    const size_t prefix_len = strlen(prefix);
    struct watch *watch = mem_zalloc(1, sizeof(*watch));

    if (!watch) {
        return NULL;
    }
    task_init(&watch->task, id, id_len);
    watch->hub = hub;
    memcpy(watch->key, prefix, prefix_len);
    memcpy(watch->key + prefix_len, id, id_len);
    watch->key_len = (uint8_t)(prefix_len + id_len);
    list_init(&watch->waiting);
    list_init(&watch->subscribers);
    list_init(&watch->all);
    list_init(&watch->queue);
    intake_init(&watch->intake, &watch->task);
    timer_init(&watch->timer, on_watch_timer);
    if (map_add(&hub->by_id, watch->task.id, watch->task.id_len, watch) < 0) {
        mem_free(watch);
        return NULL;
    }
    list_append(&hub->watches, &watch->all);
    list_prepend(&hub->unsynced, &watch->queue); /* before what a resync has queued */
    metric_add(hub->settings.metrics, METRIC_TASKS_WATCHED, 1);
    return watch;
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
        watch = watch_new(hub, task_id, task_id_len);
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
    if (!is_watched(watch)) {
        timer_set(hub->settings.wheel, &watch->timer,
                  now_ms(hub) + hub->settings.config->linger_ms);
    }
}

bool hub_is_connected(const struct hub *hub)
{
    return redis_link_is_up(hub->link);
}

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

static void on_link_closed(void *owner)
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
    map_init(&hub->by_id);
    list_init(&hub->watches);
    list_init(&hub->unsynced);
    list_init(&hub->gone);
    hub->down_since_ms = hub->checked_ms = now_ms(hub);
    timer_init(&hub->check_timer, on_check_timer);
    hub->link = redis_link_open(&(struct redis_link_settings){
        .loop = settings->loop,
        .wheel = settings->wheel,
        .config = settings->config,
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

static void finish_closing(struct hub *hub)
{
    void (*on_closed)(void *) = hub->settings.on_closed;
    void *owner = hub->settings.owner;

    if (hub->link || !list_is_empty(&hub->gone)) {
        return;
    }
    map_deinit(&hub->by_id);
    mem_free(hub);
    on_closed(owner);
}

void hub_close(struct hub *hub)
{
    timer_cancel(hub->settings.wheel, &hub->check_timer);
    LIST_EACH (link, &hub->watches) {
        watch_end(CONTAINER_OF(link, struct watch, all));
    }
    hub->closing = true;
    redis_link_close(hub->link);
}
