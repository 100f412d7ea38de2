#include "broker/hub/watch.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

#define MODULE "watch"

/* How often the hash is read out of turn, at the most. */
#define READ_PAUSE_MS 1000

STATE_MACHINE(watch_machine, MODULE, WATCH_STATES);

static bool is_syncing(enum watch_state state)
{
    return state == WATCH_SUBSCRIBING || state == WATCH_READING;
}

/* The only writer of a watch's state. */
static void watch_move(struct watch *watch, enum watch_state to)
{
    struct watch_room *room = watch->room;
    const bool was_syncing = is_syncing(watch->state);

    state_move(&watch_machine, &watch->state, to, watch->task.id, watch->task.id_len);
    room->syncing += is_syncing(to);
    room->syncing -= was_syncing;
    room->leaving += to == WATCH_GONE;
    if (was_syncing && !is_syncing(to)) {
        room->on_synced(room);
    }
}

static struct span key_of(const struct watch *watch)
{
    return (struct span){watch->key, watch->key_len};
}

static uint64_t watch_now_ms(const struct watch *watch)
{
    return uv_now(watch->room->border.clock.loop);
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

static void tell_news(struct watch *watch)
{
    LIST_EACH (link, &watch->ready) {
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        subscription->events->on_news(subscription);
    }
}

static void tell_ready(struct watch *watch)
{
    timer_cancel(watch->room->wheel, &watch->patience);
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        list_append(&watch->ready, link);
        subscription->ready = true;
        subscription->events->on_ready(subscription);
    }
}

/* Redis was out of reach for too long, or refused. */
static void fail_waiting(struct watch *watch)
{
    timer_cancel(watch->room->wheel, &watch->patience);
    while (!list_is_empty(&watch->waiting)) {
        struct list *link = list_first(&watch->waiting);
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        list_remove(link);
        subscription->events->on_failed(subscription);
    }
    if (!watch_is_wanted(watch)) {
        watch->room->on_unwanted(watch);
    }
}

static void watch_on_patience_over(struct timer *timer)
{
    fail_waiting(CONTAINER_OF(timer, struct watch, patience));
}

bool watch_is_wanted(const struct watch *watch)
{
    return !list_is_empty(&watch->waiting) || !list_is_empty(&watch->ready);
}

bool watch_subscribe(struct watch *watch, struct subscription *subscription)
{
    subscription->task = &watch->task;
    subscription->ready = watch->known;
    list_init(&subscription->link);
    list_append(watch->known ? &watch->ready : &watch->waiting, &subscription->link);
    if (!watch->known && !timer_is_set(&watch->patience)) {
        timer_set(watch->room->wheel, &watch->patience, watch_now_ms(watch) + HUB_PATIENCE_MS);
    }
    return watch->known;
}

void watch_unsubscribe(struct watch *watch, struct subscription *subscription)
{
    list_remove(&subscription->link);
    subscription->task = NULL;
    if (list_is_empty(&watch->waiting)) {
        timer_cancel(watch->room->wheel, &watch->patience);
    }
    if (!watch_is_wanted(watch)) {
        watch->room->on_unwanted(watch);
    }
}

/* ── Beginning and end ───────────────────────────────────────────────────────────────────────── */

static void count_without_state(struct watch_room *room, int change)
{
    room->without_state += (uint32_t)change;
    metric_set(room->border.metrics, METRIC_TASKS_WITHOUT_STATE, room->without_state);
}

void watch_init(struct watch *watch, struct watch_room *room, struct redis_link *link,
                const char *prefix, struct span task_id)
{
    const size_t prefix_len = strlen(prefix);

    *watch = (struct watch){.room = room, .link = link, .state = WATCH_AWAY};
    task_init(&watch->task, task_id.at, task_id.len);
    memcpy(watch->key, prefix, prefix_len);
    memcpy(watch->key + prefix_len, task_id.at, task_id.len);
    watch->key_len = (uint8_t)(prefix_len + task_id.len);
    list_init(&watch->waiting);
    list_init(&watch->ready);
    intake_init(&watch->intake, &watch->task, &room->border);
    timer_init(&watch->patience, watch_on_patience_over);
    count_without_state(room, 1);
}

void watch_deinit(struct watch *watch)
{
    if (watch->state != WATCH_GONE) {
        count_without_state(watch->room, -!watch->has_state);
    }
    intake_drop_held(&watch->intake);
    task_deinit(&watch->task);
}

/* Counts whether the task has a state, after anything was taken up. */
static void count_state(struct watch *watch)
{
    const bool has_state = watch->task.rev.n > 0;

    count_without_state(watch->room, watch->has_state - has_state);
    watch->has_state = has_state;
}

static void watch_end(struct watch *watch)
{
    watch->room->leaving--;
    watch->room->on_left(watch);
}

static void watch_on_unsubscribed(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;

    watch->replies--;
    /* A watch that was refused has left its channel, and lives on. */
    if (watch->state == WATCH_GONE && watch->replies == 0) {
        watch_end(watch);
    }
}

void watch_leave(struct watch *watch)
{
    const bool subscribed = watch->state != WATCH_AWAY;

    assert(!watch_is_wanted(watch));
    timer_cancel(watch->room->wheel, &watch->patience);
    count_without_state(watch->room, -!watch->has_state);
    watch->replies++; /* so that it lasts until the end of this function */
    watch_move(watch, WATCH_GONE);
    if (subscribed && redis_link_subscribe(watch->link, "SUNSUBSCRIBE", key_of(watch),
                                           watch_on_unsubscribed, watch) == 0) {
        watch->replies++;
    }
    watch->replies--;
    if (watch->replies == 0) {
        watch_end(watch);
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
        watch_end(watch);
    }
    return false;
}

/* Redis refuses what this task needs. */
static void refuse(struct watch *watch, const struct redis_answer *answer)
{
    log_event(LOG_WARN, MODULE, "Redis refuses a task", LOG_TEXT("task", watch->task.id),
              LOG_SPAN("why", answer->error.at, answer->error.len));
    /* Whichever of the two was refused: it must not go on delivering what nobody takes. */
    if (redis_link_subscribe(watch->link, "SUNSUBSCRIBE", key_of(watch), watch_on_unsubscribed,
                             watch) == 0) {
        watch->replies++;
    }
    intake_drop_held(&watch->intake);
    watch_move(watch, WATCH_AWAY);
    fail_waiting(watch);
}

/* The error that says so comes over the channel. */
static void watch_on_lost(void *context, const struct redis_answer *answer)
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
        metric_add(watch->room->border.metrics, METRIC_JOBS_LOST, 1);
    }
}

/* Asks Redis to declare the job lost, if it should have given a sign of life by now. */
static void check_alive(struct watch *watch, uint64_t deadline_us)
{
    if (redis_clock_us(&watch->room->border.clock) < deadline_us || watch->replies == UINT8_MAX) {
        return;
    }
    if (redis_link_command(watch->link, watch_on_lost, watch, 4,
                           (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_lost"), SPAN_OF("1"),
                                           key_of(watch)}) == 0) {
        watch->replies++;
    }
}

/* Reads the hash out of turn, unless that was done just now. */
static void read_soon(struct watch *watch)
{
    const uint64_t now = watch_now_ms(watch);

    if (watch->read_ms == 0 || now - watch->read_ms >= READ_PAUSE_MS) {
        watch->read_ms = now;
        read_hash(watch);
    }
}

static void watch_on_read(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;
    const bool is_hash = redis_answer_is_array(answer);
    uint64_t alive_us;

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
    bool news = intake_hash(&watch->intake, answer, &alive_us);
    check_alive(watch, alive_us);
    if (news && watch->known) {
        metric_add(watch->room->border.metrics, METRIC_RESYNCS_NEWER, 1);
    }
    if (intake_is_incomplete(&watch->intake)) {
        read_hash(watch);
    } else {
        news |= intake_held(&watch->intake);
        watch_move(watch, WATCH_LIVE);
    }
    count_state(watch);
    if (!watch->known) {
        watch->known = true;
        task_settle(&watch->task);
    } else if (news) {
        tell_news(watch);
    }
    tell_ready(watch);
    if (!watch_is_wanted(watch) && !watch->has_state) {
        watch->room->on_unwanted(watch); /* it lingers no longer */
    }
    if (watch->state == WATCH_LIVE && intake_must_read(&watch->intake)) {
        read_soon(watch);
    }
}

static void read_hash(struct watch *watch)
{
    intake_drop_held(&watch->intake);
    watch_move(watch, WATCH_READING);
    metric_add(watch->room->border.metrics, METRIC_STATE_READS, 1);
    if (redis_link_command(watch->link, watch_on_read, watch, 2,
                           (struct span[]){SPAN_OF("HGETALL"), key_of(watch)}) == 0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->link, "out of memory");
    }
}

static void watch_on_subscribed(void *context, const struct redis_answer *answer)
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
        metric_add(watch->room->border.metrics, METRIC_RESYNCS, 1);
    }
    watch_move(watch, WATCH_SUBSCRIBING);
    if (redis_link_subscribe(watch->link, "SSUBSCRIBE", key_of(watch), watch_on_subscribed,
                             watch) == 0) {
        watch->replies++;
    } else {
        redis_link_fail(watch->link, "out of memory");
    }
}

void watch_lose(struct watch *watch)
{
    intake_drop_held(&watch->intake);
    if (watch->state != WATCH_AWAY) {
        watch_move(watch, WATCH_AWAY);
    }
}

/* ── The channel ─────────────────────────────────────────────────────────────────────────────── */

void watch_take(struct watch *watch, struct span message)
{
    if (is_syncing(watch->state)) {
        intake_hold(&watch->intake, message);
        return;
    }
    if (watch->state != WATCH_LIVE) {
        return;
    }
    if (intake_message(&watch->intake, message)) {
        count_state(watch);
        tell_news(watch);
    }
    if (watch->state == WATCH_LIVE && intake_must_read(&watch->intake)) {
        read_soon(watch);
    }
}

/* ── Comparing with Redis ────────────────────────────────────────────────────────────────────── */

static void ask_for_rev(struct watch *watch);

/* Whether Redis holds what is held here, or less of the same run. The answer: run, n, _alive. A key
 * that isn't a hash has no state; any other error says nothing about it. */
static bool is_in_step(const struct watch *watch, const struct redis_answer *answer)
{
    const struct rev *held = &watch->task.rev;
    struct rev rev;

    if (redis_answer_count(answer) != 3) {
        return held->n == 0 || answer->kind != REDIS_WRONG_TYPE;
    }
    const struct span run = redis_answer_element(answer, 0);
    const struct span n = redis_answer_element(answer, 1);
    if (!run.at && !n.at) {
        return held->n == 0;
    }
    return rev_of_fields(run, n, redis_clock_n_max(&watch->room->border.clock), &rev) == 0 &&
           rev_same_run(&rev, held) && rev.n <= held->n;
}

/* Whether anything was taken up since the comparison was begun. */
static bool has_moved(const struct watch *watch)
{
    const struct rev *held = &watch->task.rev;

    return held->n != watch->compared.n || !rev_same_run(held, &watch->compared);
}

static void watch_on_compared(void *context, const struct redis_answer *answer)
{
    struct watch *watch = context;

    if (!wants_reply(watch) || watch->state != WATCH_LIVE || answer->kind == REDIS_LOST) {
        return;
    }
    if (intake_must_read(&watch->intake)) {
        read_hash(watch);
        return;
    }
    if (redis_answer_count(answer) == 3) {
        check_alive(watch, alive_deadline(redis_answer_element(answer, 2)));
    }
    if (has_moved(watch) || is_in_step(watch, answer)) {
        return;
    }
    if (watch->differed) {
        read_hash(watch);
    } else {
        /* A message that is merely late also makes Redis look ahead, since it comes on the other
         * connection. It is given the time of a second look. */
        watch->differed = true;
        ask_for_rev(watch);
    }
}

static void ask_for_rev(struct watch *watch)
{
    watch->compared = watch->task.rev;
    if (redis_link_command(watch->link, watch_on_compared, watch, 5,
                           (struct span[]){SPAN_OF("HMGET"), key_of(watch), SPAN_OF("run"),
                                           SPAN_OF("n"), SPAN_OF("_alive")}) == 0) {
        watch->replies++;
    }
}

void watch_compare(struct watch *watch)
{
    if (watch->state == WATCH_LIVE && watch->replies == 0) {
        metric_add(watch->room->border.metrics, METRIC_RESYNCS, 1);
        watch->differed = false;
        ask_for_rev(watch);
    }
}
