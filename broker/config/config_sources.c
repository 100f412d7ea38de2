#include "broker/config/config_sources.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/config_file.h"
#include "common/secret_file.h"

static size_t index_of(const struct config_option *option)
{
    return (size_t)(option - config_options);
}

/* ── One option ──────────────────────────────────────────────────────────────────────────────── */

static bool has_control_character(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 127) {
            return true;
        }
    }
    return false;
}

/* Gives the option its value. `where` is how the message names the place. */
int config_set_option(struct config_loading *loading, const struct config_option *option,
                      const char *value, const char *where)
{
    void *member = config_member(loading->config, option);
    char why[CONFIG_WHY_SIZE];
    int rc;

    if (option->type->is_repeatable && !loading->seen[index_of(option)]) {
        option->type->clear(member); /* this source's list, instead of a weaker one's */
    }
    loading->seen[index_of(option)] = true;
    if (has_control_character(value)) {
        text_printf(loading->message, "%s: must not have control characters\n", where);
        return CONFIG_INVALID;
    }
    rc = option->type->read(&option->range, value, member, why);
    if (rc == 0 && option->type->judge) {
        option->type->judge(value, where, loading->message);
    }
    if (rc != CONFIG_INVALID) {
        return rc;
    }
    text_printf(loading->message, "%s: %s", where, why);
    if (!option->type->is_secret) {
        text_printf(loading->message, ", not \"%.100s\"", value);
    }
    text_puts(loading->message, "\n");
    return CONFIG_INVALID;
}

static void warn_of_file(struct config_loading *loading, const char *path, const char *where)
{
    char why[SECRET_FILE_WHY_SIZE];

    if (secret_file_judge(path, why) == SECRET_FILE_UNSAFE) {
        text_printf(loading->message, "%s: %s %s\n", where, path, why);
    }
}

/* Gives the option the value that a file holds; a list's may stand in several lines. */
static int set_from_file(struct config_loading *loading, const struct config_option *option,
                         const char *path, const char *where)
{
    CLEANUP(secret_text_deinit) struct text value = TEXT_EMPTY;
    int rc = secret_file_read(path, &value);

    if (rc == -ENOMEM) {
        return rc;
    }
    if (rc) {
        text_printf(loading->message, "%s: cannot read its file: %s\n", where,
                    rc < 0 ? strerror(-rc) : "it is too long, or has a NUL byte");
        return CONFIG_INVALID;
    }
    for (size_t i = 0; option->type->is_repeatable && i < value.len; i++) {
        value.data[i] = strchr("\r\n", value.data[i]) ? ' ' : value.data[i];
    }
    warn_of_file(loading, path, where);
    return config_set_option(loading, option, value.len > 0 ? value.data : "", where);
}

static int set_by_name(struct config_loading *loading, const struct config_option *option,
                       bool in_file, const char *value, const char *where)
{
    return in_file ? set_from_file(loading, option, value, where)
                   : config_set_option(loading, option, value, where);
}

static void start_source(struct config_loading *loading)
{
    memset(loading->seen, 0, sizeof(loading->seen));
}

static int set_defaults(struct config_loading *loading)
{
    start_source(loading);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config_options[i];
        int rc =
            option->initial ? config_set_option(loading, option, option->initial, option->name) : 0;

        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* ── The file ────────────────────────────────────────────────────────────────────────────────── */

static int on_line(void *context, const char *name, const char *value, int line)
{
    struct config_loading *loading = context;
    const char *path = loading->config->file;
    bool in_file;
    const struct config_option *option = config_option_of_name(name, strlen(name), &in_file);
    char where[PATH_MAX + 128];

    if (!option) {
        option = config_option_guess(name, strlen(name));
        text_printf(loading->message, "%s:%d: unknown option \"%.50s\"", path, line, name);
        if (option) {
            text_printf(loading->message, " (did you mean \"%s\"?)", option->name);
        }
        text_puts(loading->message, "\n");
        return CONFIG_INVALID;
    }
    snprintf(where, sizeof(where), "%s:%d: %s", path, line, name);
    if (option->offset == offsetof(struct config, file)) {
        text_printf(loading->message, "%s: a file cannot name another file\n", where);
        return CONFIG_INVALID;
    }
    if (loading->seen[index_of(option)] && !option->type->is_repeatable) {
        text_printf(loading->message, "%s: is here for the second time\n", where);
        return CONFIG_INVALID;
    }
    loading->file_has_secret =
        loading->file_has_secret ||
        (option->type->is_secret && !in_file && (strchr(value, '@') || strstr(value, "base64:")));
    return set_by_name(loading, option, in_file, value, where);
}

static int read_file(struct config_loading *loading)
{
    start_source(loading);
    if (!loading->config->file) {
        return 0;
    }
    int rc = config_file_read(loading->config->file, on_line, loading, loading->message);
    if (rc == 0 && loading->file_has_secret) {
        warn_of_file(loading, loading->config->file, "config");
    }
    return rc == CONFIG_FILE_INVALID ? CONFIG_INVALID : rc;
}

/* ── The environment ─────────────────────────────────────────────────────────────────────────── */

/* The option's name for a variable's: "REDIS_URL" gives "redis-url". */
static size_t name_of_variable(const char *variable, size_t len, char *buffer, size_t size)
{
    len = len < size ? len : size;
    for (size_t i = 0; i < len; i++) {
        bool is_upper = variable[i] >= 'A' && variable[i] <= 'Z';
        buffer[i] = is_upper ? (char)(variable[i] - 'A' + 'a') : variable[i];
        if (variable[i] == '_') {
            buffer[i] = '-';
        }
    }
    return len;
}

static void warn_of_variable(struct config_loading *loading, const char *entry, size_t len,
                             const char *name, size_t name_len)
{
    const struct config_option *option = config_option_guess(name, name_len);
    char variable[CONFIG_VARIABLE_SIZE];

    text_printf(loading->message, "%.*s: names no option", (int)len, entry);
    if (option) {
        config_option_variable(option, variable);
        text_printf(loading->message, " (did you mean %s?)", variable);
    }
    text_puts(loading->message, "\n");
}

/* Reads the variables; if `only` isn't NULL, that option's alone, and without warnings. */
static int read_environment(struct config_loading *loading, char *const *environment,
                            const struct config_option *only)
{
    const size_t prefix_len = strlen(CONFIG_VARIABLE_PREFIX);

    start_source(loading);
    for (; *environment; environment++) {
        const char *entry = *environment;
        size_t len = strcspn(entry, "=");
        char name[CONFIG_VARIABLE_SIZE], variable[CONFIG_VARIABLE_SIZE];

        if (strncmp(entry, CONFIG_VARIABLE_PREFIX, prefix_len) != 0 || !entry[len]) {
            continue;
        }
        size_t name_len =
            name_of_variable(entry + prefix_len, len - prefix_len, name, sizeof(name));
        bool in_file;
        const struct config_option *option = config_option_of_name(name, name_len, &in_file);
        if (!option && !only) {
            warn_of_variable(loading, entry, len, name, name_len);
        }
        if (!option || (only && option != only) || !entry[len + 1]) {
            continue;
        }
        config_option_variable(option, variable);
        if (loading->seen[index_of(option)] && !option->type->is_repeatable) {
            text_printf(loading->message, "%s: is given twice, as it is and as %s_FILE\n", variable,
                        variable);
            return CONFIG_INVALID;
        }
        strcat(variable, in_file ? "_FILE" : "");
        int rc = set_by_name(loading, option, in_file, entry + len + 1, variable);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* ── The flags ───────────────────────────────────────────────────────────────────────────────── */

static int unknown_flag(struct config_loading *loading, const char *name, size_t len)
{
    const struct config_option *option = config_option_guess(name, len);

    text_printf(loading->message, "--%.*s: unknown flag", (int)(len < 50 ? len : 50), name);
    if (option) {
        text_printf(loading->message, " (did you mean --%s?)", option->name);
    }
    text_puts(loading->message, "; --help lists them\n");
    return CONFIG_INVALID;
}

/* Reads the flags; if `only` isn't NULL, that option's alone. Of one that is given twice and not
 * repeatable the last counts, so that a script's flags can be overruled. */
static int read_flags(struct config_loading *loading, int argc, char *const *argv,
                      const struct config_option *only)
{
    char where[CONFIG_VARIABLE_SIZE + 2];

    start_source(loading);
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + 2;

        if (strcmp(argv[i], "--check-config") == 0) {
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            text_printf(loading->message, "argument %d is no flag: flags begin with --\n", i);
            return CONFIG_INVALID;
        }
        size_t len = strcspn(name, "=");
        bool in_file;
        const struct config_option *option = config_option_of_name(name, len, &in_file);
        if (!option) {
            return unknown_flag(loading, name, len);
        }
        snprintf(where, sizeof(where), "--%.*s", (int)len, name);
        const char *value = name[len] ? name + len + 1 : argv[++i];
        if (i == argc) {
            text_printf(loading->message, "%s: needs a value, %s\n", where, option->placeholder);
            return CONFIG_INVALID;
        }
        int rc = only && option != only ? 0 : set_by_name(loading, option, in_file, value, where);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

void config_cover_secrets(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        size_t len = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const struct config_option *option =
            strncmp(argv[i], "--", 2) == 0 ? config_option_find(argv[i] + 2, len - 2) : NULL;
        char *value = equals ? equals + 1 : argv[i + 1];

        if (option && option->type->is_secret && value) {
            memset(value, '*', strlen(value));
        }
        i += option && !equals;
    }
}

/* ── All of them ─────────────────────────────────────────────────────────────────────────────── */

int config_read_sources(struct config_loading *loading, int argc, char *const *argv,
                        char *const *environment)
{
    const struct config_option *file = config_option_find("config", strlen("config"));
    int rc = set_defaults(loading);

    if (rc == 0) {
        rc = read_environment(loading, environment, file);
    }
    if (rc == 0) {
        rc = read_flags(loading, argc, argv, file);
    }
    if (rc == 0) {
        rc = read_file(loading);
    }
    if (rc == 0) {
        rc = read_environment(loading, environment, NULL);
    }
    return rc ? rc : read_flags(loading, argc, argv, NULL);
}
