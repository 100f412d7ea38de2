#include "client/publisher/sender.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client/publisher/clock.h"
#include "common/mem.h"
#include "proto/task_key.h"

/* How it works
 *
 * Everything in struct sender below the lock is read and written under it. The lock is held for
 * moments only: whoever holds it never waits and never talks to Redis. The thread takes a message
 * out of the backlog, calls Redis without the lock, and then takes the lock to say how it went.
 *
 * A message is settled when Redis has answered it for good. One that got no answer is tried again,
 * and may have been stored already: if so it is found in the task's hash.
 *
 * The thread and the job hold a reference each, since stopping doesn't wait longer than it was told
 * to: a thread that still waits for Redis then goes on alone, and ends when that wait does.
 */

#define ALIVE_SHARE 4 /* signs of life in the time after which a silent job is lost */
#define RETRY_FIRST_MS 50
#define RETRY_MOST_MS 2000

struct sender {
    struct redis_caller caller; /* the thread's alone */
    char key[TASK_KEY_MAX + 1];
    char alive_seconds[16]; /* as an argument; empty: no sign of life */
    uint64_t alive_every_ms;
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
    bool stopping;
    struct backlog_message *last_update; /* a copy of the newest, or NULL */
    uint64_t retry_ms, retry_pause_ms;
    uint64_t alive_due_ms, alive_told_ms;
    enum progressd_result trouble;
    char trouble_text[CALLER_WHY_SIZE];
};

/* Waits for a condition until a time of now_ms(); UINT64_MAX: for ever. */
static void wait_until(struct sender *sender, pthread_cond_t *condition, uint64_t until_ms)
{
    const struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};

    if (until_ms == UINT64_MAX) {
        pthread_cond_wait(condition, &sender->lock);
    } else {
        pthread_cond_timedwait(condition, &sender->lock, &until);
    }
}

/* ── What is wrong ───────────────────────────────────────────────────────────────────────────── */

static void set_trouble(struct sender *sender, enum progressd_result trouble, const char *text)
{
    sender->trouble = trouble;
    snprintf(sender->trouble_text, sizeof(sender->trouble_text), "%s", text);
}

/* Redis does what it should: a trouble that passes is over. */
static void end_trouble(struct sender *sender)
{
    sender->retry_pause_ms = 0;
    if (sender->trouble == PROGRESSD_UNAVAILABLE || sender->trouble == PROGRESSD_DENIED ||
        sender->trouble == PROGRESSD_NO_LIBRARY) {
        set_trouble(sender, PROGRESSD_OK, "");
    }
}

/* After a pause that doubles, half of it by chance, so that many jobs don't come back at once. */
static void retry_later(struct sender *sender)
{
    struct timespec chance;
    uint64_t pause = sender->retry_pause_ms * 2;

    pause = pause < RETRY_FIRST_MS ? RETRY_FIRST_MS : pause > RETRY_MOST_MS ? RETRY_MOST_MS : pause;
    sender->retry_pause_ms = pause;
    clock_gettime(CLOCK_MONOTONIC, &chance);
    sender->retry_ms = now_ms() + pause / 2 + (uint64_t)(chance.tv_nsec / 1000) % (pause / 2 + 1);
}

/* Somebody ended the task: what waits is void, unless it begins with a reset. */
static void end_elsewhere(struct sender *sender, const char *why)
{
    const struct list *first = list_first(&sender->backlog.messages);

    if (first && CONTAINER_OF(first, struct backlog_message, link)->kind == BACKLOG_RESET) {
        return;
    }
    backlog_clear(&sender->backlog);
    sender->ended_elsewhere = true;
    set_trouble(sender, PROGRESSD_DONE, why);
}

/* ── The thread ──────────────────────────────────────────────────────────────────────────────── */

static void sender_release(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    const bool last = --sender->references == 0;
    pthread_mutex_unlock(&sender->lock);

    if (!last) {
        return;
    }
    backlog_clear(&sender->backlog);
    backlog_message_free(sender->last_update);
    redis_caller_deinit(&sender->caller);
    pthread_cond_destroy(&sender->for_thread);
    pthread_cond_destroy(&sender->for_waiters);
    pthread_mutex_destroy(&sender->lock);
    mem_free(sender);
}

/* Without the lock. */
static struct call_result send_message(struct sender *sender, const struct backlog_message *message)
{
    struct redis_caller *caller = &sender->caller;

    if (message->kind == BACKLOG_RESET) {
        return redis_caller_call(caller, "progress_reset", sender->key, 0, NULL);
    }
    if (message->tried && message->kind != BACKLOG_UPDATE &&
        redis_caller_has_payload(caller, sender->key, message->type, message->payload,
                                 message->len)) {
        return (struct call_result){.result = PROGRESSD_OK, .answered = true};
    }
    return redis_caller_call(caller, "progress_publish", sender->key, 2,
                             (const char *const[]){message->type, message->payload});
}

/* With the lock: takes the message over, and what came of it. */
static void settle(struct sender *sender, struct backlog_message *message,
                   const struct call_result *call)
{
    sender->sending = false;
    switch (call->result) {
    case PROGRESSD_OK:
        end_trouble(sender);
        break;
    case PROGRESSD_DONE:
        end_elsewhere(sender, call->why);
        break;
    case PROGRESSD_REFUSED:
        sender->retry_pause_ms = 0;
        set_trouble(sender, PROGRESSD_REFUSED, call->why);
        break;
    default:
        set_trouble(sender, call->result, call->why);
        retry_later(sender);
        message->tried = message->tried || !call->answered;
        backlog_put_back(&sender->backlog, message);
        return;
    }
    backlog_message_free(message);
    pthread_cond_broadcast(&sender->for_waiters);
}

static void deliver(struct sender *sender, struct backlog_message *message)
{
    sender->sending = sender->calling = true;
    pthread_mutex_unlock(&sender->lock);
    const struct call_result call = send_message(sender, message);
    pthread_mutex_lock(&sender->lock);
    sender->calling = false;
    settle(sender, message, &call);
}

/* After a silence in which the job may have been declared lost, its newest update says that it
 * wasn't. */
static void repeat_update(struct sender *sender)
{
    const struct backlog_message *last = sender->last_update;
    struct backlog_message *again;

    if (!last || sender->end_told || sender->backlog.count > 0) {
        return;
    }
    again = backlog_message_new(BACKLOG_UPDATE, last->type, last->payload, last->len);
    if (again) {
        backlog_put(&sender->backlog, again);
    }
}

static void give_sign_of_life(struct sender *sender)
{
    const char *const argv[] = {sender->alive_seconds};

    sender->calling = true;
    pthread_mutex_unlock(&sender->lock);
    const struct call_result call =
        redis_caller_call(&sender->caller, "progress_alive", sender->key, 1, argv);
    pthread_mutex_lock(&sender->lock);
    sender->calling = false;

    const uint64_t now = now_ms();
    switch (call.result) {
    case PROGRESSD_OK:
        end_trouble(sender);
        if (sender->alive_told_ms > 0 &&
            now - sender->alive_told_ms > sender->alive_every_ms * ALIVE_SHARE) {
            repeat_update(sender);
        }
        sender->alive_told_ms = now;
        break;
    case PROGRESSD_DONE:
        end_elsewhere(sender, call.why);
        break;
    default:
        set_trouble(sender, call.result, call.why);
        retry_later(sender);
        return;
    }
    sender->alive_due_ms = now + sender->alive_every_ms;
}

static bool is_alive_to_be_told(const struct sender *sender)
{
    return sender->alive_seconds[0] && !sender->end_told && !sender->ended_elsewhere &&
           !sender->stopping;
}

/* Does the next thing that is due, if any; else *ret_due_ms is when there may be one. */
static bool do_next(struct sender *sender, uint64_t *ret_due_ms)
{
    const uint64_t now = now_ms();
    struct backlog_message *message;

    *ret_due_ms = sender->retry_ms;
    if (now < sender->retry_ms) {
        return false;
    }
    message = backlog_take(&sender->backlog, now, ret_due_ms);
    if (message) {
        deliver(sender, message);
        return true;
    }
    if (!is_alive_to_be_told(sender)) {
        return false;
    }
    if (now >= sender->alive_due_ms) {
        give_sign_of_life(sender);
        return true;
    }
    if (sender->alive_due_ms < *ret_due_ms) {
        *ret_due_ms = sender->alive_due_ms;
    }
    return false;
}

static void *sender_run(void *argument)
{
    struct sender *sender = argument;
    uint64_t due_ms;

    pthread_mutex_lock(&sender->lock);
    while (!sender->stopping) {
        if (!do_next(sender, &due_ms)) {
            wait_until(sender, &sender->for_thread, due_ms);
        }
    }
    pthread_mutex_unlock(&sender->lock);
    sender_release(sender);
    return NULL;
}

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

static void init_locks(struct sender *sender)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&sender->lock, NULL);
    pthread_cond_init(&sender->for_thread, &monotonic);
    pthread_cond_init(&sender->for_waiters, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* The thread takes no signals, which are the program's; SIGPIPE neither, which Redis may cause. */
static int start_thread(struct sender *sender)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&sender->thread, NULL, sender_run, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

enum progressd_result sender_start(const struct redis_caller *caller, const char *key,
                                   unsigned alive_seconds, struct sender **ret_sender)
{
    struct sender *sender = mem_zalloc(1, sizeof(*sender));

    if (!sender) {
        return PROGRESSD_NO_MEMORY;
    }
    init_locks(sender);
    backlog_init(&sender->backlog);
    snprintf(sender->key, sizeof(sender->key), "%s", key);
    if (alive_seconds > 0) {
        snprintf(sender->alive_seconds, sizeof(sender->alive_seconds), "%u", alive_seconds);
    }
    sender->alive_every_ms = (uint64_t)alive_seconds * 1000 / ALIVE_SHARE;
    sender->caller = *caller;
    sender->references = 2;
    if (start_thread(sender) != 0) {
        sender->caller = (struct redis_caller){0};
        sender->references = 1;
        sender_release(sender);
        return PROGRESSD_NO_MEMORY;
    }
    *ret_sender = sender;
    return PROGRESSD_OK;
}

/* ── What the job tells ──────────────────────────────────────────────────────────────────────── */

static bool has_ended(const struct sender *sender)
{
    return sender->end_told || sender->ended_elsewhere;
}

/* What was told before is void; the backlog drops its part by itself. */
static void begin_anew(struct sender *sender)
{
    sender->ended_elsewhere = false;
    sender->end_told = false;
    backlog_message_free(TAKE(sender->last_update));
    set_trouble(sender, PROGRESSD_OK, "");
}

static void remember_update(struct sender *sender, const struct backlog_message *update)
{
    backlog_message_free(sender->last_update);
    sender->last_update =
        backlog_message_new(update->kind, update->type, update->payload, update->len);
}

enum progressd_result sender_put(struct sender *sender, struct backlog_message *message, bool ends)
{
    enum progressd_result result = PROGRESSD_OK;

    pthread_mutex_lock(&sender->lock);
    if (message->kind == BACKLOG_RESET) {
        begin_anew(sender);
    }
    if (has_ended(sender)) {
        backlog_message_free(message);
        result = PROGRESSD_DONE;
    } else {
        if (message->kind == BACKLOG_UPDATE) {
            remember_update(sender, message);
        }
        sender->end_told = ends;
        backlog_put(&sender->backlog, message);
        pthread_cond_signal(&sender->for_thread);
    }
    pthread_mutex_unlock(&sender->lock);
    return result;
}

enum progressd_result sender_refuse(struct sender *sender, const char *why)
{
    enum progressd_result result = PROGRESSD_INVALID;

    pthread_mutex_lock(&sender->lock);
    if (has_ended(sender)) {
        result = PROGRESSD_DONE;
    } else if (sender->trouble != PROGRESSD_REFUSED) {
        set_trouble(sender, PROGRESSD_INVALID, why);
    }
    pthread_mutex_unlock(&sender->lock);
    return result;
}

/* ── How it went ─────────────────────────────────────────────────────────────────────────────── */

enum progressd_result sender_trouble(struct sender *sender, char *text, size_t size)
{
    pthread_mutex_lock(&sender->lock);
    const enum progressd_result trouble = sender->trouble;
    if (size > 0) {
        snprintf(text, size, "%s", sender->trouble_text);
    }
    if (trouble == PROGRESSD_REFUSED || trouble == PROGRESSD_INVALID) {
        set_trouble(sender, PROGRESSD_OK, "");
    }
    pthread_mutex_unlock(&sender->lock);
    return trouble;
}

static bool is_all_settled(const struct sender *sender)
{
    return sender->backlog.count == 0 && !sender->sending;
}

/* With the lock. */
static enum progressd_result flush(struct sender *sender, unsigned milliseconds)
{
    const uint64_t deadline = now_ms() + milliseconds;

    while (!is_all_settled(sender) && now_ms() < deadline) {
        wait_until(sender, &sender->for_waiters, deadline);
    }
    if (sender->trouble == PROGRESSD_REFUSED || sender->trouble == PROGRESSD_DONE) {
        return sender->trouble;
    }
    if (is_all_settled(sender)) {
        return PROGRESSD_OK;
    }
    return sender->trouble == PROGRESSD_OK || sender->trouble == PROGRESSD_INVALID
               ? PROGRESSD_UNAVAILABLE
               : sender->trouble;
}

enum progressd_result sender_flush(struct sender *sender, unsigned milliseconds)
{
    pthread_mutex_lock(&sender->lock);
    const enum progressd_result result = flush(sender, milliseconds);
    pthread_mutex_unlock(&sender->lock);
    return result;
}

enum progressd_result sender_stop(struct sender *sender, unsigned milliseconds)
{
    pthread_mutex_lock(&sender->lock);
    const enum progressd_result result = flush(sender, milliseconds);
    const bool waits_for_redis = sender->calling;
    const pthread_t thread = sender->thread;
    sender->stopping = true;
    pthread_cond_signal(&sender->for_thread);
    pthread_mutex_unlock(&sender->lock);

    if (waits_for_redis) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
    }
    sender_release(sender);
    return result;
}
