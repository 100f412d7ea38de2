#include "broker/hub/watch.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

#define MODULE "watch"

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
    watch->room->syncing -= is_syncing(watch->state);
    watch->room->syncing += is_syncing(state);
    watch->state = state;
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
    timer_cancel(watch->room->wheel, &watch->timer);
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        list_append(&watch->subscribers, link);
        subscription->ready = true;
        subscription->events->on_ready(subscription);
    }
}

void watch_fail(struct watch *watch)
{
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        subscription->events->on_failed(subscription);
    }
}

bool watch_is_wanted(const struct watch *watch)
{
    return !list_is_empty(&watch->waiting) || !list_is_empty(&watch->subscribers);
}

/* ── Beginning and end ───────────────────────────────────────────────────────────────────────── */

struct watch *watch_new(struct watch_room *room, struct redis_link *link, const char *prefix,
                        struct span task_id, void (*on_timer)(struct timer *timer))
{
    const size_t prefix_len = strlen(prefix);
    struct watch *watch = mem_zalloc(1, sizeof(*watch));

    if (!watch) {
        return NULL;
    }
    task_init(&watch->task, task_id.at, task_id.len);
    watch->room = room;
    watch->link = link;
    memcpy(watch->key, prefix, prefix_len);
    memcpy(watch->key + prefix_len, task_id.at, task_id.len);
    watch->key_len = (uint8_t)(prefix_len + task_id.len);
    list_init(&watch->waiting);
    list_init(&watch->subscribers);
    list_init(&watch->all);
    list_init(&watch->queue);
    intake_init(&watch->intake, &watch->task);
    timer_init(&watch->timer, on_timer);
    return watch;
}

static void watch_free(struct watch *watch)
{
    struct watch_room *room = watch->room;

    assert(watch->state == WATCH_GONE && watch->replies == 0);
    intake_drop_held(&watch->intake);
    task_deinit(&watch->task);
    mem_free(watch);
    room->leaving--;
    room->on_freed(room);
}

static void on_unsubscribed(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;

    watch->replies--;
    if (watch->state == WATCH_GONE && watch->replies == 0) {
        watch_free(watch);
    }
}

void watch_leave(struct watch *watch)
{
    const bool subscribed = watch->state != WATCH_AWAY;

    assert(!watch_is_wanted(watch) && !timer_is_set(&watch->timer));
    assert(!list_is_linked(&watch->all) && !list_is_linked(&watch->queue));
    set_state(watch, WATCH_GONE);
    watch->room->leaving++;
    if (subscribed && redis_link_subscribe(watch->link, "SUNSUBSCRIBE", key_of(watch),
                                           on_unsubscribed, watch) == 0) {
        watch->replies++;
    }
    if (watch->replies == 0) {
        watch_free(watch);
    }
}

/* ── The channel ─────────────────────────────────────────────────────────────────────────────── */

void watch_take(struct watch *watch, struct span message)
{
    if (is_syncing(watch->state)) {
        intake_hold(&watch->intake, message);
    } else if (watch->state == WATCH_LIVE && intake_message(&watch->intake, message)) {
        tell_news(watch);
    }
}

/* ── Reading the hash ────────────────────────────────────────────────────────────────────────── */

static void read_hash(struct watch *watch);

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

/* Redis refuses what this task needs. */
static void refuse(struct watch *watch, const struct redis_answer *answer)
{
    log_event(LOG_WARN, MODULE, "Redis refuses a task", LOG_TEXT("task", watch->task.id),
              LOG_SPAN("why", answer->error.at, answer->error.len));
    /* Whichever of the two was refused: it must not go on delivering what nobody takes. */
    if (redis_link_subscribe(watch->link, "SUNSUBSCRIBE", key_of(watch), on_unsubscribed, watch) ==
        0) {
        watch->replies++;
    }
    intake_drop_held(&watch->intake);
    set_state(watch, WATCH_AWAY);
    watch_fail(watch);
    watch->room->on_synced(watch->room);
}

/* The error that says so comes over the channel. */
static void on_lost(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;

    if (!wants_reply(watch) || answer->kind == REDIS_LOST) {
        return;
    }
    if (answer->kind != REDIS_VALUE) {
        log_event(LOG_WARN, MODULE, "could not declare the job lost",
                  LOG_TEXT("task", watch->task.id),
                  LOG_SPAN("why", answer->error.at, answer->error.len));
    } else if (redis_answer_text(answer).at) {
        log_event(LOG_INFO, MODULE, "the job is lost", LOG_TEXT("task", watch->task.id));
        metric_add(watch->room->metrics, METRIC_JOBS_LOST, 1);
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
    if (redis_link_command(watch->link, on_lost, watch, 4,
                           (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_lost"), SPAN_OF("1"),
                                           key_of(watch)}) == 0) {
        watch->replies++;
    }
}

static void on_hash_read(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;
    const bool is_hash = redis_answer_is_array(answer);
    bool news;

    if (!wants_reply(watch) || watch->state != WATCH_READING || answer->kind == REDIS_LOST) {
        return;
    }
    if (!is_hash && answer->kind != REDIS_WRONG_TYPE) {
        refuse(watch, answer);
        return;
    }
    if (!is_hash && !watch->known) {
        log_event(LOG_WARN, MODULE, "the task's key is not a hash, so it has no state",
                  LOG_TEXT("task", watch->task.id));
    }
    news = is_hash && intake_hash(&watch->intake, answer);
    if (is_hash) {
        check_alive(watch, watch->intake.alive_deadline);
    }
    if (news && watch->known) {
        metric_add(watch->room->metrics, METRIC_RESYNCS_NEWER, 1);
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
    watch->room->on_synced(watch->room);
}

static void read_hash(struct watch *watch)
{
    intake_drop_held(&watch->intake);
    set_state(watch, WATCH_READING);
    metric_add(watch->room->metrics, METRIC_STATE_READS, 1);
    if (redis_link_command(watch->link, on_hash_read, watch, 2,
                           (struct span[]){SPAN_OF("HGETALL"), key_of(watch)}) == 0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->link, "out of memory");
    }
}

static void on_subscribed(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;

    if (!wants_reply(watch) || watch->state != WATCH_SUBSCRIBING || answer->kind == REDIS_LOST) {
        return;
    }
    if (answer->kind == REDIS_VALUE) {
        read_hash(watch);
    } else {
        refuse(watch, answer);
    }
}

void watch_sync(struct watch *watch)
{
    if (watch->known) {
        metric_add(watch->room->metrics, METRIC_RESYNCS, 1);
    }
    set_state(watch, WATCH_SUBSCRIBING);
    if (redis_link_subscribe(watch->link, "SSUBSCRIBE", key_of(watch), on_subscribed, watch) == 0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->link, "out of memory");
    }
}

void watch_lose(struct watch *watch)
{
    intake_drop_held(&watch->intake);
    if (watch->state != WATCH_AWAY) {
        set_state(watch, WATCH_AWAY);
    }
}

/* ── Comparing with Redis ────────────────────────────────────────────────────────────────────────
 */

static void ask_for_rev(struct watch *watch);

/* A message that is merely late also makes Redis look ahead, since it comes on the other
 * connection. So it is given the time of a second question; what isn't there then was lost. */
static void on_compared(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;
    const uint64_t ahead_n = watch->ahead_n;
    struct rev rev;

    if (!wants_reply(watch) || watch->state != WATCH_LIVE || answer->kind == REDIS_LOST) {
        return;
    }
    watch->ahead_n = 0;
    if (ahead_n > watch->task.rev.n || intake_has_failed(&watch->intake)) {
        read_hash(watch);
        return;
    }
    if (redis_answer_count(answer) != 3) {
        return;
    }
    check_alive(watch, alive_deadline(redis_answer_element(answer, 2)));
    if (ahead_n == 0 &&
        rev_of_fields(redis_answer_element(answer, 0), redis_answer_element(answer, 1), &rev) ==
            0 &&
        rev.n > watch->task.rev.n) {
        watch->ahead_n = rev.n;
        ask_for_rev(watch);
    }
}

static void ask_for_rev(struct watch *watch)
{
    if (redis_link_command(watch->link, on_compared, watch, 5,
                           (struct span[]){SPAN_OF("HMGET"), key_of(watch), SPAN_OF("run"),
                                           SPAN_OF("n"), SPAN_OF("_alive")}) == 0) {
        watch->replies++;
    }
}

void watch_compare(struct watch *watch)
{
    if (watch->state == WATCH_LIVE && watch->replies == 0) {
        metric_add(watch->room->metrics, METRIC_RESYNCS, 1);
        watch->ahead_n = 0;
        ask_for_rev(watch);
    }
}
