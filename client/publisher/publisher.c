#include "client/publisher/publisher.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "client/publisher/clock.h"
#include "client/publisher/payload.h"
#include "client/publisher/sender.h"
#include "client/publisher/speed.h"
#include "common/mem.h"
#include "proto/progress_library.h"
#include "proto/task_key.h"

#define PREFIX_DEFAULT "progress:"
#define STAGE_DEFAULT "working"
#define ALIVE_SECONDS_DEFAULT 20
#define ALIVE_SECONDS_LEAST 5
#define ALIVE_SECONDS_MOST 86400

/* The job's side: what it tells becomes messages, which the sender's thread brings to Redis. The
 * lock is held while a message that depends on earlier ones is made and put down, so that it is put
 * down in that order; it is taken before the sender's own. */
struct progressd_publisher {
    struct sender *sender;
    size_t max_payload;
    uint64_t opened_ms;

    pthread_mutex_t lock;      /* of what follows */
    char stage[STAGE_MAX + 1]; /* the last one told; empty: none */
    struct speed speed;
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

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

/* Puts the defaults in. False if an option is wrong. */
static bool fill_in(struct progressd_options *options)
{
    options->prefix = options->prefix ? options->prefix : PREFIX_DEFAULT;
    options->alive_seconds =
        options->alive_seconds ? options->alive_seconds : ALIVE_SECONDS_DEFAULT;
    options->max_payload = options->max_payload ? options->max_payload : PAYLOAD_MAX_DEFAULT;
    return prefix_is_valid(options->prefix, strnlen(options->prefix, PREFIX_MAX + 1)) &&
           options->alive_seconds >= ALIVE_SECONDS_LEAST &&
           options->alive_seconds <= ALIVE_SECONDS_MOST &&
           options->max_payload >= PAYLOAD_MAX_LEAST && options->max_payload <= PAYLOAD_MAX_MOST;
}

/* Takes `caller` over on success. */
static enum progressd_result open_publisher(const struct redis_caller *caller, const char *task_id,
                                            const struct progressd_options *wanted,
                                            struct progressd_publisher **ret_publisher)
{
    struct progressd_options options = wanted ? *wanted : (struct progressd_options){0};
    char key[TASK_KEY_MAX + 1];

    if (!fill_in(&options) || !task_id ||
        !task_id_is_valid(task_id, strnlen(task_id, TASK_ID_MAX + 1))) {
        return PROGRESSD_INVALID;
    }
    CLEANUP(mem_free_at) struct progressd_publisher *publisher = mem_zalloc(1, sizeof(*publisher));
    if (!publisher) {
        return PROGRESSD_NO_MEMORY;
    }
    publisher->max_payload = options.max_payload;
    publisher->opened_ms = now_ms();
    snprintf(key, sizeof(key), "%s%s", options.prefix, task_id);
    const enum progressd_result result =
        sender_start(caller, key, options.no_alive ? 0 : options.alive_seconds, &publisher->sender);
    if (result != PROGRESSD_OK) {
        return result;
    }
    pthread_mutex_init(&publisher->lock, NULL);
    *ret_publisher = TAKE(publisher);
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

/* A payload in the making. */
struct draft {
    struct text payload;
    int rc; /* of payload_…() */
    char why[PAYLOAD_WHY_SIZE];
};

static void draft_deinit(struct draft *draft)
{
    text_deinit(&draft->payload);
}

/* Puts down what was made, or notes why it couldn't be. `ends`: nothing may follow. */
static enum progressd_result publisher_put(struct progressd_publisher *publisher,
                                           enum backlog_kind kind, enum task_message_type type,
                                           const struct draft *draft, bool ends)
{
    struct backlog_message *message;

    if (draft->rc > 0) {
        return sender_refuse(publisher->sender, draft->why);
    }
    message = draft->rc < 0 ? NULL
                            : backlog_message_new(kind, task_message_type_name(type),
                                                  draft->payload.data, draft->payload.len);
    return message ? sender_put(publisher->sender, message, ends) : PROGRESSD_NO_MEMORY;
}

enum progressd_result progressd_reset(struct progressd_publisher *publisher)
{
    struct backlog_message *message = backlog_message_new(BACKLOG_RESET, NULL, "", 0);

    if (!message) {
        return PROGRESSD_NO_MEMORY;
    }
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = sender_put(publisher->sender, message, false);
    publisher->stage[0] = '\0';
    publisher->speed = (struct speed){0};
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

static enum progressd_result publisher_enter_stage(struct progressd_publisher *publisher,
                                                   const char *stage)
{
    CLEANUP(draft_deinit) struct draft draft = {.rc = 0};
    const char *from = publisher->stage[0] ? publisher->stage : NULL;

    draft.rc = payload_stage(&draft.payload, from, stage, clock_ms(CLOCK_REALTIME), draft.why);
    const enum progressd_result result =
        publisher_put(publisher, BACKLOG_STAGE, TASK_STAGE_CHANGE, &draft, false);
    if (result == PROGRESSD_OK) {
        snprintf(publisher->stage, sizeof(publisher->stage), "%s", stage);
        publisher->speed = (struct speed){0};
    }
    return result;
}

enum progressd_result progressd_stage(struct progressd_publisher *publisher, const char *stage)
{
    pthread_mutex_lock(&publisher->lock);
    const enum progressd_result result = publisher_enter_stage(publisher, stage);
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

enum progressd_result progressd_update(struct progressd_publisher *publisher, double percentage,
                                       uint64_t bytes_done, uint64_t bytes_total)
{
    CLEANUP(draft_deinit) struct draft draft = {.rc = 0};

    pthread_mutex_lock(&publisher->lock);
    const struct payload_update update = {
        .percentage = percentage,
        .stage = publisher->stage[0] ? publisher->stage : STAGE_DEFAULT,
        .bytes_done = bytes_done,
        .bytes_total = bytes_total,
        .speed = bytes_total > 0 ? speed_after(&publisher->speed, bytes_done, now_ms()) : -1,
    };
    draft.rc = payload_update(&draft.payload, &update, draft.why);
    const enum progressd_result result =
        publisher_put(publisher, BACKLOG_UPDATE, TASK_PROGRESS_UPDATE, &draft, false);
    pthread_mutex_unlock(&publisher->lock);
    return result;
}

enum progressd_result progressd_complete(struct progressd_publisher *publisher,
                                         const char *result_url, double seconds)
{
    CLEANUP(draft_deinit) struct draft draft = {.rc = 0};
    const double taken = seconds < 0 ? (double)(now_ms() - publisher->opened_ms) / 1000 : seconds;

    draft.rc =
        payload_complete(&draft.payload, result_url, taken, publisher->max_payload, draft.why);
    return publisher_put(publisher, BACKLOG_END, TASK_COMPLETE, &draft, true);
}

enum progressd_result progressd_fail(struct progressd_publisher *publisher, const char *code,
                                     const char *message, bool retryable)
{
    CLEANUP(draft_deinit) struct draft draft = {.rc = 0};

    draft.rc =
        payload_error(&draft.payload, code, message, retryable, publisher->max_payload, draft.why);
    return publisher_put(publisher, BACKLOG_END, TASK_ERROR, &draft, !retryable);
}

/* ── How it went ─────────────────────────────────────────────────────────────────────────────── */

enum progressd_result progressd_error(struct progressd_publisher *publisher, char *text,
                                      size_t size)
{
    return sender_trouble(publisher->sender, text, size);
}

enum progressd_result progressd_flush(struct progressd_publisher *publisher, unsigned milliseconds)
{
    return sender_flush(publisher->sender, milliseconds);
}

enum progressd_result progressd_close(struct progressd_publisher *publisher, unsigned milliseconds)
{
    if (!publisher) {
        return PROGRESSD_OK;
    }
    const enum progressd_result result = sender_stop(publisher->sender, milliseconds);
    pthread_mutex_destroy(&publisher->lock);
    mem_free(publisher);
    return result;
}
