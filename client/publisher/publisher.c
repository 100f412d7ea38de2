#include "client/publisher/publisher.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/publisher/backlog.h"
#include "client/publisher/payload.h"
#include "client/publisher/redis_caller.h"
#include "client/publisher/speed.h"
#include "common/mem.h"
#include "proto/redis_contract.h"

/* How it works
 *
 * Everything in struct publisher below the lock is read and written under it. The lock is held for
 * moments only: whoever holds it never waits and never talks to Redis. The thread takes a message
 * out of the backlog, calls Redis without the lock, and then takes the lock to say how it went.
 *
 * A message is settled when Redis has answered it for good. One that got no answer is tried again,
 * and may have been stored already: if so it is found in the task's hash.
 *
 * The thread and the job hold a reference each, since closing doesn't wait longer than it was told
 * to: a thread that still waits for Redis then goes on alone, and ends when that wait does.
 */

#define PREFIX_DEFAULT "progress:"
#define STAGE_DEFAULT "working"
#define ALIVE_SECONDS_DEFAULT 20
#define ALIVE_SECONDS_LEAST 5
#define ALIVE_SECONDS_MOST 86400
#define ALIVE_SHARE 4 /* signs of life in the time after which a silent job is lost */
#define RETRY_FIRST_MS 50
#define RETRY_MOST_MS 2000

struct progressd_publisher {
    struct redis_caller caller; /* the thread's alone */
    char key[TASK_KEY_MAX + 1];
    char alive_seconds[16]; /* as an argument; empty: no sign of life */
    uint64_t alive_every_ms;
    size_t max_payload;
    uint64_t opened_ms;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t for_thread;  /* there may be something to do */
    pthread_cond_t for_waiters; /* a message was settled */
    unsigned references;
    struct backlog backlog;
    bool sending;         /* the thread holds a message that isn't settled */
    bool calling;         /* the thread may be waiting for Redis */
    bool end_told;        /* by the job: nothing may follow */
    bool ended_elsewhere; /* Redis says so */
    bool closing;
    char stage[STAGE_MAX + 1]; /* the last one told; empty: none */
    struct speed speed;
    struct backlog_message *last_update; /* a copy of the newest, or NULL */
    uint64_t retry_ms, retry_pause_ms;
    uint64_t alive_due_ms, alive_told_ms;
    enum progressd_result trouble;
    char trouble_text[CALLER_WHY_SIZE];
};

const char *progressd_result_name(enum progressd_result result)
{
    static const char *const names[] = {
        [PROGRESSD_OK] = "PROGRESSD_OK",
        [PROGRESSD_INVALID] = "PROGRESSD_INVALID",
        [PROGRESSD_DONE] = "PROGRESSD_DONE",
        [PROGRESSD_REFUSED] = "PROGRESSD_REFUSED",
        [PROGRESSD_UNAVAILABLE] = "PROGRESSD_UNAVAILABLE",
        [PROGRESSD_DENIED] = "PROGRESSD_DENIED",
        [PROGRESSD_NO_LIBRARY] = "PROGRESSD_NO_LIBRARY",
        [PROGRESSD_NO_MEMORY] = "PROGRESSD_NO_MEMORY",
    };

    return (size_t)result < ARRAY_LEN(names) ? names[result] : "unknown";
}

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

/* Waits for a condition until a time of now_ms(); UINT64_MAX: for ever. */
static void wait_until(struct progressd_publisher *publisher, pthread_cond_t *condition,
                       uint64_t until_ms)
{
    const struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};

    if (until_ms == UINT64_MAX) {
        pthread_cond_wait(condition, &publisher->lock);
    } else {
        pthread_cond_timedwait(condition, &publisher->lock, &until);
    }
}

/* ── What is wrong ───────────────────────────────────────────────────────────────────────────── */

static enum progressd_result set_trouble(struct progressd_publisher *publisher,
                                         enum progressd_result trouble, const char *text)
{
    publisher->trouble = trouble;
    snprintf(publisher->trouble_text, sizeof(publisher->trouble_text), "%s", text);
    return trouble;
}

/* Redis does what it should: a trouble that passes is over. */
static void end_trouble(struct progressd_publisher *publisher)
{
    publisher->retry_pause_ms = 0;
    if (publisher->trouble == PROGRESSD_UNAVAILABLE || publisher->trouble == PROGRESSD_DENIED ||
        publisher->trouble == PROGRESSD_NO_LIBRARY) {
        set_trouble(publisher, PROGRESSD_OK, "");
    }
}

/* After a pause that doubles, half of it by chance, so that many jobs don't come back at once. */
static void retry_later(struct progressd_publisher *publisher)
{
    struct timespec chance;
    uint64_t pause = publisher->retry_pause_ms * 2;

    pause = pause < RETRY_FIRST_MS ? RETRY_FIRST_MS : pause > RETRY_MOST_MS ? RETRY_MOST_MS : pause;
    publisher->retry_pause_ms = pause;
    clock_gettime(CLOCK_MONOTONIC, &chance);
    publisher->retry_ms =
        now_ms() + pause / 2 + (uint64_t)(chance.tv_nsec / 1000) % (pause / 2 + 1);
}

/* Somebody ended the task: what waits is void, unless it begins with a reset. */
static void end_elsewhere(struct progressd_publisher *publisher, const char *why)
{
    const struct list *first = list_first(&publisher->backlog.messages);

    if (first && CONTAINER_OF(first, struct backlog_message, link)->kind == BACKLOG_RESET) {
        return;
    }
    backlog_clear(&publisher->backlog);
    publisher->ended_elsewhere = true;
    set_trouble(publisher, PROGRESSD_DONE, why);
}

/* ── The thread ──────────────────────────────────────────────────────────────────────────────── */

static void release(struct progressd_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    const bool last = --publisher->references == 0;
    pthread_mutex_unlock(&publisher->lock);

    if (!last) {
        return;
    }
    backlog_clear(&publisher->backlog);
    backlog_message_free(publisher->last_update);
    redis_caller_deinit(&publisher->caller);
    pthread_cond_destroy(&publisher->for_thread);
    pthread_cond_destroy(&publisher->for_waiters);
    pthread_mutex_destroy(&publisher->lock);
    mem_free(publisher);
}

/* Without the lock. */
static struct call_result send_message(struct progressd_publisher *publisher,
                                       const struct backlog_message *message)
{
    struct redis_caller *caller = &publisher->caller;

    if (message->kind == BACKLOG_RESET) {
        return redis_caller_call(caller, "progress_reset", publisher->key, 0, NULL);
    }
    if (message->tried && message->kind != BACKLOG_UPDATE &&
        redis_caller_has_payload(caller, publisher->key, message->type, message->payload,
                                 message->len)) {
        return (struct call_result){.result = PROGRESSD_OK, .answered = true};
    }
    return redis_caller_call(caller, "progress_publish", publisher->key, 2,
                             (const char *const[]){message->type, message->payload});
}

/* With the lock: takes the message over, and what came of it. */
static void settle(struct progressd_publisher *publisher, struct backlog_message *message,
                   const struct call_result *call)
{
    publisher->sending = false;
    switch (call->result) {
    case PROGRESSD_OK:
        end_trouble(publisher);
        break;
    case PROGRESSD_DONE:
        end_elsewhere(publisher, call->why);
        break;
    case PROGRESSD_REFUSED:
        publisher->retry_pause_ms = 0;
        set_trouble(publisher, PROGRESSD_REFUSED, call->why);
        break;
    default:
        set_trouble(publisher, call->result, call->why);
        retry_later(publisher);
        message->tried = message->tried || !call->answered;
        backlog_put_back(&publisher->backlog, message);
        return;
    }
    backlog_message_free(message);
    pthread_cond_broadcast(&publisher->for_waiters);
}

static void deliver(struct progressd_publisher *publisher, struct backlog_message *message)
{
    publisher->sending = publisher->calling = true;
    pthread_mutex_unlock(&publisher->lock);
    const struct call_result call = send_message(publisher, message);
    pthread_mutex_lock(&publisher->lock);
    publisher->calling = false;
    settle(publisher, message, &call);
}

/* After a silence in which the job may have been declared lost, its newest update says that it
 * wasn't. */
static void repeat_update(struct progressd_publisher *publisher)
{
    const struct backlog_message *last = publisher->last_update;
    struct backlog_message *again;

    if (!last || publisher->end_told || publisher->backlog.count > 0) {
        return;
    }
    again = backlog_message_new(BACKLOG_UPDATE, last->type, last->payload, last->len);
    if (again) {
        backlog_put(&publisher->backlog, again);
    }
}

static void give_sign_of_life(struct progressd_publisher *publisher)
{
    const char *const argv[] = {publisher->alive_seconds};

    publisher->calling = true;
    pthread_mutex_unlock(&publisher->lock);
    const struct call_result call =
        redis_caller_call(&publisher->caller, "progress_alive", publisher->key, 1, argv);
    pthread_mutex_lock(&publisher->lock);
    publisher->calling = false;

    const uint64_t now = now_ms();
    switch (call.result) {
    case PROGRESSD_OK:
        end_trouble(publisher);
        if (publisher->alive_told_ms > 0 &&
            now - publisher->alive_told_ms > publisher->alive_every_ms * ALIVE_SHARE) {
            repeat_update(publisher);
        }
        publisher->alive_told_ms = now;
        break;
    case PROGRESSD_DONE:
        end_elsewhere(publisher, call.why);
        break;
    default:
        set_trouble(publisher, call.result, call.why);
        retry_later(publisher);
        return;
    }
    publisher->alive_due_ms = now + publisher->alive_every_ms;
}

static bool is_alive_to_be_told(const struct progressd_publisher *publisher)
{
    return publisher->alive_seconds[0] && !publisher->end_told && !publisher->ended_elsewhere &&
           !publisher->closing;
}

/* Does the next thing that is due, if any; else *ret_due_ms is when there may be one. */
static bool do_next(struct progressd_publisher *publisher, uint64_t *ret_due_ms)
{
    const uint64_t now = now_ms();
    struct backlog_message *message;

    *ret_due_ms = publisher->retry_ms;
    if (now < publisher->retry_ms) {
        return false;
    }
    message = backlog_take(&publisher->backlog, now, ret_due_ms);
    if (message) {
        deliver(publisher, message);
        return true;
    }
    if (!is_alive_to_be_told(publisher)) {
        return false;
    }
    if (now >= publisher->alive_due_ms) {
        give_sign_of_life(publisher);
        return true;
    }
    if (publisher->alive_due_ms < *ret_due_ms) {
        *ret_due_ms = publisher->alive_due_ms;
    }
    return false;
}

static void *run(void *argument)
{
    struct progressd_publisher *publisher = argument;
    uint64_t due_ms;

    pthread_mutex_lock(&publisher->lock);
    while (!publisher->closing) {
        if (!do_next(publisher, &due_ms)) {
            wait_until(publisher, &publisher->for_thread, due_ms);
        }
    }
    pthread_mutex_unlock(&publisher->lock);
    release(publisher);
    return NULL;
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

static bool take_options(struct progressd_publisher *publisher, const char *task_id,
                         const struct progressd_options *options)
{
    const char *prefix = options->prefix ? options->prefix : PREFIX_DEFAULT;
    const unsigned alive = options->alive_seconds ? options->alive_seconds : ALIVE_SECONDS_DEFAULT;
    const size_t id_len = task_id ? strnlen(task_id, TASK_ID_MAX + 1) : 0;

    if (!task_id || !task_id_is_valid(task_id, id_len) ||
        !prefix_is_valid(prefix, strnlen(prefix, PREFIX_MAX + 1)) || alive < ALIVE_SECONDS_LEAST ||
        alive > ALIVE_SECONDS_MOST) {
        return false;
    }
    publisher->max_payload = options->max_payload ? options->max_payload : PAYLOAD_MAX_DEFAULT;
    if (publisher->max_payload < PAYLOAD_MAX_LEAST || publisher->max_payload > PAYLOAD_MAX_MOST) {
        return false;
    }
    snprintf(publisher->key, sizeof(publisher->key), "%s%s", prefix, task_id);
    if (!options->no_alive) {
        snprintf(publisher->alive_seconds, sizeof(publisher->alive_seconds), "%u", alive);
    }
    publisher->alive_every_ms = (uint64_t)alive * 1000 / ALIVE_SHARE;
    return true;
}

static void init_locks(struct progressd_publisher *publisher)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&publisher->lock, NULL);
    pthread_cond_init(&publisher->for_thread, &monotonic);
    pthread_cond_init(&publisher->for_waiters, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* The thread takes no signals, which are the program's; SIGPIPE neither, which Redis may cause. */
static int start_thread(struct progressd_publisher *publisher)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&publisher->thread, NULL, run, publisher);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* Takes `caller` over on success. */
static enum progressd_result open_publisher(struct redis_caller *caller, const char *task_id,
                                            const struct progressd_options *options,
                                            struct progressd_publisher **ret_publisher)
{
    static const struct progressd_options defaults;
    struct progressd_publisher *publisher = mem_zalloc(1, sizeof(*publisher));

    if (!publisher) {
        return PROGRESSD_NO_MEMORY;
    }
    if (!take_options(publisher, task_id, options ? options : &defaults)) {
        mem_free(publisher);
        return PROGRESSD_INVALID;
    }
    init_locks(publisher);
    backlog_init(&publisher->backlog);
    publisher->caller = *caller;
    publisher->opened_ms = now_ms();
    publisher->references = 2;
    if (start_thread(publisher) != 0) {
        publisher->caller = (struct redis_caller){0};
        publisher->references = 1;
        release(publisher);
        return PROGRESSD_NO_MEMORY;
    }
    *ret_publisher = publisher;
    return PROGRESSD_OK;
}

enum progressd_result progressd_open(const char *url, const char *task_id,
                                     const struct progressd_options *options,
                                     struct progressd_publisher **ret_publisher)
{
    struct redis_caller caller = {0};
    char why[REDIS_URL_WHY_SIZE];
    const int rc = redis_url_read(url ? url : "", &caller.url, why);

    if (rc) {
        return rc < 0 ? PROGRESSD_NO_MEMORY : PROGRESSD_INVALID;
    }
    const enum progressd_result result =
        caller.url.kind == REDIS_URL_NONE
            ? PROGRESSD_INVALID
            : open_publisher(&caller, task_id, options, ret_publisher);
    if (result != PROGRESSD_OK) {
        redis_caller_deinit(&caller);
    }
    return result;
}

static bool copy_string(const char *string, char **ret_copy)
{
    *ret_copy = string ? mem_strndup(string, strlen(string)) : NULL;
    return !string || *ret_copy;
}

enum progressd_result progressd_open_on(struct redisContext *connection, const char *task_id,
                                        const struct progressd_options *options,
                                        struct progressd_publisher **ret_publisher)
{
    struct redis_caller caller;
    enum progressd_result result = PROGRESSD_NO_MEMORY;

    if (!connection || !(connection->flags & REDIS_BLOCK)) {
        return PROGRESSD_INVALID;
    }
    redis_caller_take(&caller, connection);
    if (copy_string(options ? options->user : NULL, &caller.url.user) &&
        copy_string(options ? options->password : NULL, &caller.url.password)) {
        result = open_publisher(&caller, task_id, options, ret_publisher);
    }
    if (result != PROGRESSD_OK) {
        redis_url_deinit(&caller.url);
    }
    return result;
}

/* ── What the job tells ──────────────────────────────────────────────────────────────────────── */

static bool has_ended(const struct progressd_publisher *publisher)
{
    return publisher->end_told || publisher->ended_elsewhere;
}

static enum progressd_result result_of_payload(struct progressd_publisher *publisher, int rc,
                                               const char *why)
{
    if (rc == 0) {
        return PROGRESSD_OK;
    }
    if (rc < 0) {
        return PROGRESSD_NO_MEMORY;
    }
    if (publisher->trouble != PROGRESSD_REFUSED) {
        set_trouble(publisher, PROGRESSD_INVALID, why);
    }
    return PROGRESSD_INVALID;
}

/* Puts a message down for the thread. */
static enum progressd_result put(struct progressd_publisher *publisher, enum backlog_kind kind,
                                 enum task_message_type type, const struct text *payload)
{
    struct backlog_message *message =
        backlog_message_new(kind, kind == BACKLOG_RESET ? NULL : task_message_type_name(type),
                            payload ? payload->data : "", payload ? payload->len : 0);

    if (!message) {
        return PROGRESSD_NO_MEMORY;
    }
    backlog_put(&publisher->backlog, message);
    pthread_cond_signal(&publisher->for_thread);
    return PROGRESSD_OK;
}

enum progressd_result progressd_reset(struct progressd_publisher *publisher)
{
    enum progressd_result result;

    pthread_mutex_lock(&publisher->lock);
    result = put(publisher, BACKLOG_RESET, TASK_RESET, NULL);
    if (result == PROGRESSD_OK) {
        publisher->end_told = publisher->ended_elsewhere = false;
        publisher->stage[0] = '\0';
        publisher->speed = (struct speed){0};
        backlog_message_free(TAKE(publisher->last_update));
        set_trouble(publisher, PROGRESSD_OK, "");
    }
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

static enum progressd_result enter_stage(struct progressd_publisher *publisher, const char *stage)
{
    CLEANUP(text_deinit) struct text payload = TEXT_EMPTY;
    char why[PAYLOAD_WHY_SIZE];

    if (has_ended(publisher)) {
        return PROGRESSD_DONE;
    }
    const int rc = payload_stage(&payload, publisher->stage[0] ? publisher->stage : NULL, stage,
                                 clock_ms(CLOCK_REALTIME), why);
    enum progressd_result result = result_of_payload(publisher, rc, why);
    if (result == PROGRESSD_OK) {
        result = put(publisher, BACKLOG_STAGE, TASK_STAGE_CHANGE, &payload);
    }
    if (result == PROGRESSD_OK) {
        snprintf(publisher->stage, sizeof(publisher->stage), "%s", stage);
        publisher->speed = (struct speed){0};
    }
    return result;
}

enum progressd_result progressd_stage(struct progressd_publisher *publisher, const char *stage)
{
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = enter_stage(publisher, stage);
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

static void remember_update(struct progressd_publisher *publisher, const struct text *payload)
{
    struct backlog_message *copy = backlog_message_new(
        BACKLOG_UPDATE, task_message_type_name(TASK_PROGRESS_UPDATE), payload->data, payload->len);

    backlog_message_free(publisher->last_update);
    publisher->last_update = copy;
}

static enum progressd_result put_update(struct progressd_publisher *publisher, double percentage,
                                        uint64_t bytes_done, uint64_t bytes_total)
{
    CLEANUP(text_deinit) struct text payload = TEXT_EMPTY;
    char why[PAYLOAD_WHY_SIZE];
    struct payload_update update = {
        .percentage = percentage,
        .stage = publisher->stage[0] ? publisher->stage : STAGE_DEFAULT,
        .bytes_done = bytes_done,
        .bytes_total = bytes_total,
        .speed = -1,
    };

    if (has_ended(publisher)) {
        return PROGRESSD_DONE;
    }
    if (bytes_total > 0) {
        update.speed = speed_after(&publisher->speed, bytes_done, now_ms());
    }
    const int rc = payload_update(&payload, &update, why);
    enum progressd_result result = result_of_payload(publisher, rc, why);
    if (result == PROGRESSD_OK) {
        result = put(publisher, BACKLOG_UPDATE, TASK_PROGRESS_UPDATE, &payload);
    }
    if (result == PROGRESSD_OK) {
        remember_update(publisher, &payload);
    }
    return result;
}

enum progressd_result progressd_update(struct progressd_publisher *publisher, double percentage,
                                       uint64_t bytes_done, uint64_t bytes_total)
{
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = put_update(publisher, percentage, bytes_done, bytes_total);
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

/* `ends`: nothing may follow. */
static enum progressd_result put_end(struct progressd_publisher *publisher,
                                     enum task_message_type type, int payload_rc, bool ends,
                                     const struct text *payload, const char *why)
{
    pthread_mutex_lock(&publisher->lock);
    enum progressd_result result =
        has_ended(publisher) ? PROGRESSD_DONE : result_of_payload(publisher, payload_rc, why);
    if (result == PROGRESSD_OK) {
        result = put(publisher, BACKLOG_END, type, payload);
    }
    if (result == PROGRESSD_OK) {
        publisher->end_told = ends;
    }
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

enum progressd_result progressd_complete(struct progressd_publisher *publisher,
                                         const char *result_url, double seconds)
{
    CLEANUP(text_deinit) struct text payload = TEXT_EMPTY;
    char why[PAYLOAD_WHY_SIZE];
    const double taken = seconds < 0 ? (double)(now_ms() - publisher->opened_ms) / 1000 : seconds;
    const int rc = payload_complete(&payload, result_url, taken, publisher->max_payload, why);

    return put_end(publisher, TASK_COMPLETE, rc, true, &payload, why);
}

enum progressd_result progressd_fail(struct progressd_publisher *publisher, const char *code,
                                     const char *message, bool retryable)
{
    CLEANUP(text_deinit) struct text payload = TEXT_EMPTY;
    char why[PAYLOAD_WHY_SIZE];
    const int rc = payload_error(&payload, code, message, retryable, publisher->max_payload, why);

    return put_end(publisher, TASK_ERROR, rc, !retryable, &payload, why);
}

/* ── How it went ─────────────────────────────────────────────────────────────────────────────── */

enum progressd_result progressd_error(struct progressd_publisher *publisher, char *text,
                                      size_t size)
{
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result trouble = publisher->trouble;
    if (size > 0) {
        snprintf(text, size, "%s", publisher->trouble_text);
    }
    if (trouble == PROGRESSD_REFUSED || trouble == PROGRESSD_INVALID) {
        set_trouble(publisher, PROGRESSD_OK, "");
    }
    pthread_mutex_unlock(&publisher->lock);
    return trouble;
}

static bool is_all_settled(const struct progressd_publisher *publisher)
{
    return publisher->backlog.count == 0 && !publisher->sending;
}

/* With the lock. */
static enum progressd_result flush(struct progressd_publisher *publisher, unsigned milliseconds)
{
    const uint64_t deadline = now_ms() + milliseconds;

    while (!is_all_settled(publisher) && now_ms() < deadline) {
        wait_until(publisher, &publisher->for_waiters, deadline);
    }
    if (publisher->trouble == PROGRESSD_REFUSED || publisher->trouble == PROGRESSD_DONE) {
        return publisher->trouble;
    }
    if (is_all_settled(publisher)) {
        return PROGRESSD_OK;
    }
    return publisher->trouble == PROGRESSD_OK || publisher->trouble == PROGRESSD_INVALID
               ? PROGRESSD_UNAVAILABLE
               : publisher->trouble;
}

enum progressd_result progressd_flush(struct progressd_publisher *publisher, unsigned milliseconds)
{
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = flush(publisher, milliseconds);
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

enum progressd_result progressd_close(struct progressd_publisher *publisher, unsigned milliseconds)
{
    if (!publisher) {
        return PROGRESSD_OK;
    }
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = flush(publisher, milliseconds);
    const bool waits_for_redis = publisher->calling;
    const pthread_t thread = publisher->thread;
    publisher->closing = true;
    pthread_cond_signal(&publisher->for_thread);
    pthread_mutex_unlock(&publisher->lock);

    if (waits_for_redis) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
    }
    release(publisher);
    return result;
}
