/* The table of options: each has one name, one kind of value, one default and one explanation.
 *
 * Receives   nothing
 * Hands on   the table; the text of --help
 * Owns       nothing
 *
 * A new option is a row in config_options.c and a member of struct config: file, environment,
 * flags, --help, checks and the way to the children follow from these.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_OPTIONS_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_OPTIONS_H

#include "broker/config/config_value.h"

struct config_option {
    const char *name;
    const char *placeholder; /* what stands for the value in --help */
    const struct config_type *type;
    size_t offset;             /* of the member in struct config */
    const char *initial;       /* the default, as text; NULL: none */
    struct config_range range; /* of a number */
    const char *help;          /* lines, without a line end behind the last */
    const char *help_start;    /* the default in words, where `initial` doesn't tell; else NULL */
};

#define CONFIG_OPTION_COUNT 38
extern const struct config_option config_options[CONFIG_OPTION_COUNT];

/* The option's member of struct config. */
static inline void *config_member(const struct config *config, const struct config_option *option)
{
    return (char *)config + option->offset;
}

/* The option of that name (`len` characters), or NULL. */
const struct config_option *config_option_find(const char *name, size_t len);

/* The option that a name means, or NULL. A secret option has a second name, NAME-file, whose value
 * is the path of a file that holds the option's value: *ret_in_file tells. */
#define CONFIG_FILE_SUFFIX "-file"
const struct config_option *config_option_of_name(const char *name, size_t len, bool *ret_in_file);

/* The option whose name is most like that, if any is like it at all, or NULL. */
const struct config_option *config_option_guess(const char *name, size_t len);

/* "PROGRESSD_REDIS_URL" for "redis-url". */
#define CONFIG_VARIABLE_PREFIX "PROGRESSD_"
#define CONFIG_VARIABLE_SIZE 64
void config_option_variable(const struct config_option *option, char buffer[CONFIG_VARIABLE_SIZE]);

/* The text of --help. */
void config_options_help(struct text *text);

#endif
