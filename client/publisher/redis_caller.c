#include "client/publisher/redis_caller.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "proto/task_message.h"

#define CALL_WORDS 6

void redis_caller_deinit(struct redis_caller *caller)
{
    if (caller->context) {
        redisFree(caller->context);
    }
    redis_url_deinit(&caller->url);
    *caller = (struct redis_caller){0};
}

static struct timeval timeval_of(unsigned milliseconds)
{
    return (struct timeval){milliseconds / 1000, milliseconds % 1000 * 1000};
}

void redis_caller_take(struct redis_caller *caller, redisContext *context)
{
    *caller = (struct redis_caller){.context = context, .connected = true};
    redisSetTimeout(context, timeval_of(CALLER_ANSWER_MS));
}

static struct call_result caller_failed(enum progressd_result result, const char *why)
{
    struct call_result failure = {.result = result};

    snprintf(failure.why, sizeof(failure.why), "%s", why);
    return failure;
}

/* ── Error replies ───────────────────────────────────────────────────────────────────────────── */

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static enum progressd_result meaning_of(const char *error)
{
    static const struct {
        const char *beginning;
        enum progressd_result result;
    } meanings[] = {
        {"PROGRESS_DONE", PROGRESSD_DONE},      {"PROGRESS_INVALID", PROGRESSD_REFUSED},
        {"WRONGTYPE", PROGRESSD_REFUSED},       {"NOAUTH", PROGRESSD_DENIED},
        {"WRONGPASS", PROGRESSD_DENIED},        {"NOPERM", PROGRESSD_DENIED},
        {"ERR AUTH", PROGRESSD_DENIED},         {"ERR invalid password", PROGRESSD_DENIED},
        {"ERR Function", PROGRESSD_NO_LIBRARY},
    };

    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        if (begins(error, meanings[i].beginning)) {
            return meanings[i].result;
        }
    }
    return PROGRESSD_UNAVAILABLE;
}

static struct call_result result_of(const redisReply *reply)
{
    struct call_result result = {.result = PROGRESSD_OK};

    if (reply->type == REDIS_REPLY_ERROR) {
        result = caller_failed(meaning_of(reply->str), reply->str);
    }
    result.answered = true;
    return result;
}

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

static void disconnect(struct redis_caller *caller)
{
    caller->connected = false;
    /* A context that was given stays: it is what knows where Redis is. */
    if (caller->url.kind != REDIS_URL_NONE && caller->context) {
        redisFree(caller->context);
        caller->context = NULL;
    }
}

/* NULL for a NULL reply, after which the connection is of no use. */
static redisReply *command(struct redis_caller *caller, int argc, const char **argv,
                           const size_t *lengths)
{
    return redisCommandArgv(caller->context, argc, argv, lengths);
}

static struct call_result caller_log_in(struct redis_caller *caller)
{
    const char *words[3] = {"AUTH"};
    int count = 1;

    if (!caller->url.password) {
        return (struct call_result){.result = PROGRESSD_OK};
    }
    if (caller->url.user) {
        words[count++] = caller->url.user;
    }
    words[count++] = caller->url.password;
    redisReply *reply = command(caller, count, words, NULL);
    if (!reply) {
        return caller_failed(PROGRESSD_UNAVAILABLE, caller->context->errstr);
    }
    struct call_result result = result_of(reply);
    freeReplyObject(reply);
    return result;
}

static void caller_open(struct redis_caller *caller)
{
    const struct timeval patience = timeval_of(CALLER_CONNECT_MS);

    switch (caller->url.kind) {
    case REDIS_URL_TCP:
        caller->context = redisConnectWithTimeout(caller->url.host, caller->url.port, patience);
        break;
    case REDIS_URL_UNIX:
        caller->context = redisConnectUnixWithTimeout(caller->url.path, patience);
        break;
    case REDIS_URL_NONE:
        redisReconnect(caller->context);
        break;
    }
}

static struct call_result connect_to_redis(struct redis_caller *caller)
{
    if (caller->connected) {
        return (struct call_result){.result = PROGRESSD_OK};
    }
    caller_open(caller);
    if (!caller->context) {
        return caller_failed(PROGRESSD_UNAVAILABLE, "out of memory");
    }
    if (!caller->context->err) {
        redisSetTimeout(caller->context, timeval_of(CALLER_ANSWER_MS));
    }
    struct call_result result = caller->context->err
                                    ? caller_failed(PROGRESSD_UNAVAILABLE, caller->context->errstr)
                                    : caller_log_in(caller);
    if (result.result != PROGRESSD_OK) {
        disconnect(caller);
        return result;
    }
    caller->connected = true;
    return result;
}

/* ── Calls ───────────────────────────────────────────────────────────────────────────────────── */

struct call_result redis_caller_call(struct redis_caller *caller, const char *function,
                                     const char *key, int argc, const char *const *argv)
{
    const char *words[CALL_WORDS] = {"FCALL", function, "1", key};

    assert(argc <= CALL_WORDS - 4);
    for (int i = 0; i < argc; i++) {
        words[4 + i] = argv[i];
    }
    struct call_result result = connect_to_redis(caller);
    if (result.result != PROGRESSD_OK) {
        result.answered = true; /* nothing was sent */
        return result;
    }
    redisReply *reply = command(caller, 4 + argc, words, NULL);
    if (!reply) {
        result = caller_failed(PROGRESSD_UNAVAILABLE, caller->context->errstr);
        disconnect(caller);
        return result;
    }
    result = result_of(reply);
    freeReplyObject(reply);
    if (begins(result.why, "READONLY") || begins(result.why, "LOADING")) {
        disconnect(caller); /* a name may lead to another server by now */
    }
    return result;
}

bool redis_caller_has_payload(struct redis_caller *caller, const char *key, const char *type,
                              const char *payload, size_t len)
{
    const char *words[] = {"HMGET", key, type};
    struct task_message message;
    bool has = false;

    if (connect_to_redis(caller).result != PROGRESSD_OK) {
        return false;
    }
    redisReply *reply = command(caller, ARRAY_LEN(words), words, NULL);
    if (!reply) {
        disconnect(caller);
        return false;
    }
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
        reply->element[0]->type == REDIS_REPLY_STRING) {
        const struct span text = {reply->element[0]->str, reply->element[0]->len};

        /* Without its closing brace, before which the function puts a timestamp. */
        has = task_message_parse(text, &message) == 0 && message.payload.len >= len &&
              memcmp(message.payload.at, payload, len - 1) == 0;
    }
    freeReplyObject(reply);
    return has;
}
