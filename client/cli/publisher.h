/* Calls of the function library in Redis, one at a time, each with its answer.
 *
 * Receives   what to call
 * Hands on   the rev, or the words of the refusal
 * Owns       a connection to Redis
 *
 * Not the library for jobs (client/publisher), which hands its caller no revs and answers, and
 * never waits; command_run uses that one.
 */
#ifndef PROGRESSD_CLIENT_CLI_PUBLISHER_H
#define PROGRESSD_CLIENT_CLI_PUBLISHER_H

#include "client/cli/redis_target.h"
#include "common/text.h"

#define PUBLISHER_HELP                                                                        \
    REDIS_TARGET_HELP                                                                         \
    "\n"                                                                                      \
    "Exit status: 0 done, and the rev is printed; 1 refused; 2 wrong usage; 3 Redis is out\n" \
    "of reach.\n"

struct redisContext;

struct publisher {
    struct redisContext *redis;
    const char *prefix;
};

/* Connects. EXIT_DONE and *ret_publisher, to be closed; or EXIT_USAGE, EXIT_FAILED (wrong password)
 * or EXIT_NO_WAY after a complaint. */
int publisher_open(const struct command *command, const struct redis_target_options *options,
                   struct publisher *ret_publisher) MUST_CHECK;
void publisher_close(struct publisher *publisher);

/* What follows the key: any bytes. */
struct publisher_argument {
    const char *at;
    size_t len;
};

/* FCALL <function> 1 <prefix><task_id> <arguments…>, with a valid task id. EXIT_DONE and the rev;
 * EXIT_FAILED and what Redis answered, as it is; EXIT_NO_WAY and why: the connection is of no use
 * then. The answer takes the place of what was in the text. */
int publisher_call(struct publisher *publisher, const char *function, const char *task_id,
                   const struct publisher_argument *arguments, size_t count,
                   struct text *answer) MUST_CHECK;

/* Opens, calls, closes, and prints the rev, or says on standard error what was answered. The exit
 * status. */
int publisher_call_once(const struct command *command, const struct redis_target_options *options,
                        const char *function, const char *task_id,
                        const struct publisher_argument *arguments, size_t count);

#endif
