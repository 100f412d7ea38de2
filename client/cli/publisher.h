/* Calls of the function library in Redis, as jobs make them.
 *
 * Receives   options and what to call, from command_publish and command_reset
 * Hands on   the rev, or the words of the refusal
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_PUBLISHER_H
#define PROGRESSD_CLIENT_CLI_PUBLISHER_H

#include "client/cli/options.h"

/* Which Redis, and under which prefix; what the user said, NULL where nothing. */
struct publisher_options {
    const char *redis_url, *state_dir, *prefix;
};

#define PUBLISHER_HELP                                                                         \
    "  --redis-url URL          redis://[user[:password]@]host[:port], or unix:///path;\n"     \
    "                           $PROGRESSD_REDIS_URL, or the embedded Redis of a broker\n"     \
    "  --state-dir DIR          that broker's state directory; $PROGRESSD_STATE_DIR, or the\n" \
    "                           one brokers use by default\n"                                  \
    "  --prefix PREFIX          what tasks' keys begin with; $PROGRESSD_REDIS_PREFIX, or\n"    \
    "                           progress:\n"                                                   \
    "\n"                                                                                       \
    "Exit status: 0 done, and the rev is printed; 1 refused; 2 wrong usage; 3 Redis is out\n"  \
    "of reach.\n"

/* What follows the key: any bytes. */
struct publisher_argument {
    const char *at;
    size_t len;
};

/* FCALL <function> 1 <prefix><task_id> <arguments…>. Prints the rev, or says on standard error
 * what Redis answered, as it is. The exit status. */
int publisher_call(const struct command *command, const struct publisher_options *options,
                   const char *function, const char *task_id,
                   const struct publisher_argument *arguments, size_t count);

#endif
