#include "client/cli/publisher.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/cli/server.h"
#include "common/redis_url.h"
#include "common/state_dir.h"
#include "proto/redis_contract.h"

#define PREFIX_DEFAULT "progress:"
#define PATIENCE_S 10
#define FIXED_ARGUMENTS 4
#define ARGUMENTS_MAX (FIXED_ARGUMENTS + 2)

/* ── Which Redis ─────────────────────────────────────────────────────────────────────────────── */

/* The socket of the Redis that a broker runs where none is configured. */
static int embedded_url(const struct publisher_options *options, struct text *url)
{
    const char *set = option_or_environment(options->state_dir, "PROGRESSD_STATE_DIR", NULL);
    char directory[PATH_MAX], path[PATH_MAX + sizeof "/" STATE_DIR_REDIS_SOCKET];

    if (!set) {
        int rc = state_dir_default(environ, directory);
        if (rc) {
            return rc;
        }
        set = directory;
    }
    if (snprintf(path, sizeof path, "%s/" STATE_DIR_REDIS_SOCKET, set) >= (int)sizeof path) {
        return -ENAMETOOLONG;
    }
    redis_url_of_socket(path, url);
    return text_failed(url) ? -ENOMEM : 0;
}

static int find_server(const struct command *command, const struct publisher_options *options,
                       struct redis_url *ret_server)
{
    CLEANUP(text_deinit) struct text embedded = TEXT_EMPTY;
    char why[REDIS_URL_WHY_SIZE] = "";
    const char *url = options->redis_url;
    int rc = 0;

    if (!url && !options->state_dir) {
        url = option_or_environment(NULL, "PROGRESSD_REDIS_URL", NULL);
    }
    if (!url) {
        rc = embedded_url(options, &embedded);
        url = embedded.data;
    }
    if (rc == 0) {
        rc = redis_url_read(url, ret_server, why);
    }
    if (rc == 0 && ret_server->kind == REDIS_URL_NONE) {
        redis_url_deinit(ret_server);
        rc = REDIS_URL_INVALID;
        snprintf(why, sizeof why, "must not be empty");
    }
    if (rc) {
        command_complain(command, "--redis-url %s", rc < 0 ? strerror(-rc) : why);
    }
    return rc;
}

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

static redisContext *connect_to(const struct redis_url *server)
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
static redisReply *log_in(redisContext *redis, const struct redis_url *server)
{
    if (server->user) {
        return redisCommand(redis, "AUTH %s %s", server->user, server->password);
    }
    return redisCommand(redis, "AUTH %s", server->password);
}

static int lost(const struct command *command, const redisContext *redis)
{
    command_complain(command, "cannot reach Redis: %s", redis ? redis->errstr : strerror(ENOMEM));
    return EXIT_NO_WAY;
}

/* What Redis answered, and the exit status for it. Frees it. */
static int print_reply(const struct command *command, const redisContext *redis, redisReply *reply)
{
    int status = EXIT_DONE;

    if (!reply) {
        return lost(command, redis);
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s\n", reply->str);
        status = EXIT_FAILED;
    } else if (reply->type == REDIS_REPLY_STRING) {
        puts(reply->str);
    }
    freeReplyObject(reply);
    return status;
}

static int call(const struct command *command, const struct redis_url *server, int argc,
                const char **argv, const size_t *lengths)
{
    redisContext *redis = connect_to(server);
    int status = EXIT_DONE;

    if (!redis || redis->err) {
        status = lost(command, redis);
    } else if (server->password) {
        redisReply *reply = log_in(redis, server);
        status = reply && reply->type == REDIS_REPLY_STATUS ? EXIT_DONE : EXIT_FAILED;
        if (status == EXIT_DONE) {
            freeReplyObject(reply);
        } else {
            status = print_reply(command, redis, reply);
        }
    }
    if (status == EXIT_DONE) {
        status = print_reply(command, redis, redisCommandArgv(redis, argc, argv, lengths));
    }
    if (redis) {
        redisFree(redis);
    }
    return status;
}

int publisher_call(const struct command *command, const struct publisher_options *options,
                   const char *function, const char *task_id,
                   const struct publisher_argument *arguments, size_t count)
{
    const char *prefix =
        option_or_environment(options->prefix, "PROGRESSD_REDIS_PREFIX", PREFIX_DEFAULT);
    const char *argv[ARGUMENTS_MAX];
    size_t lengths[ARGUMENTS_MAX];
    char key[TASK_KEY_MAX + 1];
    struct redis_url server;

    assert(count <= ARGUMENTS_MAX - FIXED_ARGUMENTS);
    if (!prefix_is_valid(prefix, strlen(prefix))) {
        command_complain(command, "--prefix: must be A-Z a-z 0-9 _ - and a colon");
        return EXIT_USAGE;
    }
    if (!server_task_is_valid(command, task_id) || find_server(command, options, &server) != 0) {
        return EXIT_USAGE;
    }
    snprintf(key, sizeof key, "%s%s", prefix, task_id);
    const char *const fixed[FIXED_ARGUMENTS] = {"FCALL", function, "1", key};
    for (size_t i = 0; i < FIXED_ARGUMENTS; i++) {
        argv[i] = fixed[i];
        lengths[i] = strlen(fixed[i]);
    }
    for (size_t i = 0; i < count; i++) {
        argv[FIXED_ARGUMENTS + i] = arguments[i].at;
        lengths[FIXED_ARGUMENTS + i] = arguments[i].len;
    }
    int status = call(command, &server, (int)(FIXED_ARGUMENTS + count), argv, lengths);
    redis_url_deinit(&server);
    return status;
}
