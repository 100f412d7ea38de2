/* Which Redis a command publishes to, and under which prefix.
 *
 * Receives   the options that publish, reset and run have in common
 * Hands on   the server's address and the keys' prefix
 * Owns       the address
 */
#ifndef PROGRESSD_CLIENT_CLI_REDIS_TARGET_H
#define PROGRESSD_CLIENT_CLI_REDIS_TARGET_H

#include "client/cli/options.h"
#include "common/redis_url.h"

/* What the user said, NULL where nothing. */
struct redis_target_options {
    const char *redis_url, *state_dir, *prefix;
};

#define REDIS_TARGET_HELP                                                                      \
    "  --redis-url URL          redis://[user[:password]@]host[:port], or unix:///path;\n"     \
    "                           $PROGRESSD_REDIS_URL, the file that\n"                         \
    "                           $PROGRESSD_REDIS_URL_FILE names, or the embedded Redis of a\n" \
    "                           broker. The password is covered in ps\n"                       \
    "  --state-dir DIR          that broker's state directory; $PROGRESSD_STATE_DIR, or the\n" \
    "                           one brokers use by default\n"                                  \
    "  --prefix PREFIX          what tasks' keys begin with; $PROGRESSD_REDIS_PREFIX, or\n"    \
    "                           progress:\n"

struct redis_target {
    struct redis_url server; /* never of kind REDIS_URL_NONE */
    const char *prefix;      /* of the options, the environment or the program */
};

/* EXIT_DONE and *ret_target, or EXIT_USAGE after a complaint. */
int redis_target_find(const struct command *command, const struct redis_target_options *options,
                      struct redis_target *ret_target) MUST_CHECK;

void redis_target_deinit(struct redis_target *target);

#endif
