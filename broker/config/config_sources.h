/* Where options come from: defaults, file, environment and flags, the strongest last.
 *
 * Receives   argv, environ and the file that they name
 * Hands on   struct config, its members set; a message that names place and reason
 * Owns       nothing
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_SOURCES_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_SOURCES_H

#include "broker/config/config_options.h"

/* A configuration that is being put together. */
struct config_loading {
    struct config *config;
    struct text *message;
    bool seen[CONFIG_OPTION_COUNT]; /* which options the current source has named */
    bool file_has_secret;           /* the configuration file itself has a password or a key */
};

/* Gives the option its value. `where` is how the message names the place. 0; CONFIG_INVALID and a
 * line in the message; -ENOMEM. */
int config_set_option(struct config_loading *loading, const struct config_option *option,
                      const char *value, const char *where) MUST_CHECK;

/* Sets what the sources say. The same results. */
int config_read_sources(struct config_loading *loading, int argc, char *const *argv,
                        char *const *environment) MUST_CHECK;

/* Overwrites the values of secret options in argv, which other users see in the list of processes.
 */
void config_cover_secrets(int argc, char **argv);

#endif
