#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/options.h"
#include "client/cli/secret.h"
#include "client/cli/token_source.h"
#include "proto/task_key.h"

/* Whether it is a task id, or the beginning of some and a `*`. */
static bool is_task_name(const char *text)
{
    size_t len = strlen(text);

    if (len > 0 && text[len - 1] == '*') {
        return len == 1 || task_id_beginning_is_valid(text, len - 1);
    }
    return task_id_is_valid(text, len);
}

static int print_token(const struct command *command, const struct token_settings *settings,
                       char *const *tasks, size_t count)
{
    struct token_source source;
    struct text token = TEXT_EMPTY;
    char why[TOKEN_WHY_SIZE] = "out of memory";
    int rc = token_source_init(settings, &source, why);

    secret_cover_key(settings->key);
    if (rc) {
        command_complain(command, "%s", why);
        return EXIT_USAGE;
    }
    rc = token_source_get(&source, tasks, count, &token);
    if (rc) {
        command_complain(command, "cannot make a token: %s", strerror(-rc));
    } else {
        puts(token.data);
    }
    text_deinit(&token);
    token_source_deinit(&source);
    return rc ? EXIT_FAILED : EXIT_DONE;
}

static int token_run(const struct command *command, int argc, char **argv)
{
    struct token_settings settings = {.ttl_s = TOKEN_TTL_DEFAULT_S};
    const struct option_def defs[] = {
        {"ttl", 0, OPTION_NUMBER, &settings.ttl_s, 1, TOKEN_TTL_MAX_S},
        {"key", 0, OPTION_TEXT, &settings.key, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &settings.state_dir, 0, 0},
        {"issuer", 0, OPTION_TEXT, &settings.issuer, 0, 0},
        {"audience", 0, OPTION_TEXT, &settings.audience, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, INT_MAX};
    char **tasks;
    int count;
    int rc = options_read(command, &options, argc, argv, &tasks, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    for (int i = 0; i < count; i++) {
        if (!is_task_name(tasks[i])) {
            command_complain(command,
                             "a task id is " TASK_ID_FORM "; a beginning of some ends in *");
            return EXIT_USAGE;
        }
    }
    if (settings.key && settings.state_dir) {
        command_complain(command, "--key and --state-dir exclude each other");
        return EXIT_USAGE;
    }
    settings.state_dir = option_or_environment(settings.state_dir, "PROGRESSD_STATE_DIR", NULL);
    return print_token(command, &settings, tasks, (size_t)count);
}

const struct command command_token = {
    .name = "token",
    .operands = "TASK…",
    .summary = "print a token that allows to watch tasks",
    .help = "TASK is a task id, or the beginning of task ids followed by *.\n"
            "\n"
            "  --ttl SECONDS            how long the token is good; 3600\n"
            "  --key [KID=]ALG:SOURCE   the broker's key, as its --jwt-key has it; for RS256 to\n"
            "                           RS512 and ES256 to ES512 the private key that belongs to\n"
            "                           it, in PEM; base64:DATA is covered in ps\n"
            "  --state-dir DIR          the state directory of a broker that made its own key;\n"
            "                           $PROGRESSD_STATE_DIR, or the one brokers use by default\n"
            "  --issuer NAME            the claim iss\n"
            "  --audience NAME          the claim aud\n",
    .run = token_run,
};
