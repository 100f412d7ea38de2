#include "client/cli/publisher.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "client/cli/server.h"
#include "proto/task_key.h"

#define PATIENCE_S 10
#define FIXED_ARGUMENTS 4
#define ARGUMENTS_MAX (FIXED_ARGUMENTS + 2)

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

static redisContext *publisher_connect(const struct redis_url *server)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    redisContext *redis = server->kind == REDIS_URL_UNIX
                              ? redisConnectUnixWithTimeout(server->path, patience)
                              : redisConnectWithTimeout(server->host, server->port, patience);

    if (redis && !redis->err) {
        redisSetTimeout(redis, patience);
    }
    return redis;
}

/* The reply, or NULL: the connection's fault. */
static redisReply *publisher_log_in(redisContext *redis, const struct redis_url *server)
{
    if (server->user) {
        return redisCommand(redis, "AUTH %s %s", server->user, server->password);
    }
    return redisCommand(redis, "AUTH %s", server->password);
}

/* What Redis answered, as text, and the exit status for it. Frees the reply. */
static int publisher_take_reply(const redisContext *redis, redisReply *reply, struct text *answer)
{
    int status = EXIT_DONE;

    text_deinit(answer);
    if (!reply) {
        text_printf(answer, "cannot reach Redis: %s", redis ? redis->errstr : strerror(ENOMEM));
        return EXIT_NO_WAY;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        status = EXIT_FAILED;
    }
    if (reply->type == REDIS_REPLY_ERROR || reply->type == REDIS_REPLY_STRING) {
        text_append(answer, reply->str, reply->len);
    }
    freeReplyObject(reply);
    return status;
}

/* Says it, or prints it if it is a rev. */
static int print_answer(const struct command *command, int status, const struct text *answer)
{
    const char *text = answer->data ? answer->data : "";

    if (status == EXIT_NO_WAY) {
        command_complain(command, "%s", text);
    } else {
        fprintf(status == EXIT_DONE ? stdout : stderr, "%s\n", text);
    }
    return status;
}

int publisher_open(const struct command *command, const struct redis_target_options *options,
                   struct publisher *ret_publisher)
{
    CLEANUP(text_deinit) struct text answer = TEXT_EMPTY;
    CLEANUP(redis_target_deinit) struct redis_target target = {0};
    int status = redis_target_find(command, options, &target);

    if (status != EXIT_DONE) {
        return status;
    }
    signal(SIGPIPE, SIG_IGN); /* Redis may go away between two calls: writing tells */
    redisContext *redis = publisher_connect(&target.server);
    if (!redis || redis->err) {
        status = publisher_take_reply(redis, NULL, &answer);
    } else if (target.server.password) {
        status = publisher_take_reply(redis, publisher_log_in(redis, &target.server), &answer);
    }
    if (status != EXIT_DONE) {
        if (redis) {
            redisFree(redis);
        }
        return print_answer(command, status, &answer);
    }
    *ret_publisher = (struct publisher){redis, target.prefix};
    return EXIT_DONE;
}

void publisher_close(struct publisher *publisher)
{
    redisFree(publisher->redis);
}

/* ── Calls ───────────────────────────────────────────────────────────────────────────────────── */

int publisher_call(struct publisher *publisher, const char *function, const char *task_id,
                   const struct publisher_argument *arguments, size_t count, struct text *answer)
{
    const char *argv[ARGUMENTS_MAX];
    size_t lengths[ARGUMENTS_MAX];
    char key[TASK_KEY_MAX + 1];

    assert(count <= ARGUMENTS_MAX - FIXED_ARGUMENTS);
    snprintf(key, sizeof(key), "%s%s", publisher->prefix, task_id);
    const char *const fixed[FIXED_ARGUMENTS] = {"FCALL", function, "1", key};
    for (size_t i = 0; i < FIXED_ARGUMENTS; i++) {
        argv[i] = fixed[i];
        lengths[i] = strlen(fixed[i]);
    }
    for (size_t i = 0; i < count; i++) {
        argv[FIXED_ARGUMENTS + i] = arguments[i].at;
        lengths[FIXED_ARGUMENTS + i] = arguments[i].len;
    }
    redisReply *reply =
        redisCommandArgv(publisher->redis, (int)(FIXED_ARGUMENTS + count), argv, lengths);
    return publisher_take_reply(publisher->redis, reply, answer);
}

int publisher_call_once(const struct command *command, const struct redis_target_options *options,
                        const char *function, const char *task_id,
                        const struct publisher_argument *arguments, size_t count)
{
    CLEANUP(text_deinit) struct text answer = TEXT_EMPTY;
    struct publisher publisher;

    if (!server_task_is_valid(command, task_id)) {
        return EXIT_USAGE;
    }
    int status = publisher_open(command, options, &publisher);
    if (status != EXIT_DONE) {
        return status;
    }
    status = publisher_call(&publisher, function, task_id, arguments, count, &answer);
    publisher_close(&publisher);
    return print_answer(command, status, &answer);
}
