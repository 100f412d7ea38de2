#include "client/cli/server.h"

#include <string.h>

#include "client/cli/secret.h"
#include "common/secret_file.h"
#include "proto/task_key.h"

/* Of a JSON Web Token in its compact form (RFC 7515, 3.1). */
#define TOKEN_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

int server_address(const struct command *command, const struct server_options *options,
                   struct wire_address *ret_address)
{
    const char *url = option_or_environment(options->url, "PROGRESSD_URL", SERVER_URL_DEFAULT);

    if (wire_address_parse(url, ret_address) != 0) {
        command_complain(command, "--url: must be http[s]://HOST[:PORT][/PATH]");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static bool is_token(const char *text)
{
    size_t len = strspn(text, TOKEN_CHARACTERS);

    return len > 0 && text[len + strspn(text + len, TOKEN_END)] == '\0';
}

/* EXIT_DONE, or EXIT_USAGE after a complaint. */
static int open_tokens(const struct command *command, const struct token_settings *settings,
                       struct token_source *ret_tokens)
{
    char why[TOKEN_WHY_SIZE] = "out of memory";

    /* It becomes a line of a request. */
    if (settings->token && !is_token(settings->token)) {
        command_complain(command, "--token: that is no JSON Web Token");
        return EXIT_USAGE;
    }
    if (token_source_init(settings, ret_tokens, why) != 0) {
        command_complain(command, "%s", why);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int server_tokens(const struct command *command, const struct server_options *options,
                  struct token_source *ret_tokens)
{
    CLEANUP(secret_text_deinit) struct text from_environment = TEXT_EMPTY;
    struct token_settings settings = options->token;

    if (!settings.token && !settings.key && !settings.state_dir) {
        int rc = secret_from_environment("PROGRESSD_TOKEN", &from_environment);
        if (rc < 0) {
            command_complain(command, "PROGRESSD_TOKEN, PROGRESSD_TOKEN_FILE: %s", strerror(-rc));
            return EXIT_USAGE;
        }
        settings.token = rc == 0 ? from_environment.data : NULL;
    }
    settings.state_dir = option_or_environment(settings.state_dir, "PROGRESSD_STATE_DIR", NULL);
    int status = open_tokens(command, &settings, ret_tokens);
    secret_cover(options->token.token);
    secret_cover_key(options->token.key);
    return status;
}

bool server_task_is_valid(const struct command *command, const char *task_id)
{
    if (!task_id_is_valid(task_id, strlen(task_id))) {
        command_complain(command, "a task id is " TASK_ID_FORM);
        return false;
    }
    return true;
}

void server_complain(const struct command *command, const struct wire_address *address, int rc)
{
    command_complain(command, "cannot reach %s: %s", address->url, wire_outcome_text(rc));
}
