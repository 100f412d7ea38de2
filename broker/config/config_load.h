/* How a configuration comes about: from flags, environment and file.
 *
 * Receives   argv and environ
 * Hands on   struct config, checked as a whole; the text of --help
 * Owns       nothing
 *
 * An option has one name everywhere: `redis-url` in the file, PROGRESSD_REDIS_URL in the
 * environment, --redis-url as a flag. A flag goes before the environment, that before the file, and
 * that before the default; what one source says of a repeatable option replaces what a lower one
 * said. All sources are checked, also where they don't win.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_LOAD_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_LOAD_H

#include "broker/config/config.h"

/* Reads the options of argv[1] …, of the environment (ends with NULL) and of the file that these
 * name. 0 or CONFIG_CHECKED, and *ret_config, the caller's; another config_outcome; or -ENOMEM.
 * Appends to `message` what is to be printed: whole lines; with 0 and CONFIG_CHECKED those are
 * warnings, often none. Exits and logs nothing, and shows no secret. */
int config_load(int argc, char *const *argv, char *const *environment, struct config **ret_config,
                struct text *message) MUST_CHECK;

/* Sees to it that there is a key to check tokens with: if none is configured (and so `listen` is
 * loopback only) takes JWT_KEY_FILE of the state directory, which is made, as is the directory, if
 * it is missing. 0 and whether the key is new; CONFIG_INVALID with a line in `message`, when
 * the directory or file can't be made, read or used; or -ENOMEM. */
int config_ensure_key(struct config *config, bool *ret_made, struct text *message) MUST_CHECK;

/* The embedded Redis has been started: from now on its socket is the Redis that was named. 0;
 * CONFIG_INVALID when the path is too long for a socket; -ENOMEM. Unchanged on failure. */
int config_set_redis_socket(struct config *config, const char *path) MUST_CHECK;

#endif
