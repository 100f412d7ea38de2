#include <stdio.h>
#include <string.h>

#include "client/cli/http_client.h"
#include "client/cli/poll_feed.h"
#include "client/cli/server.h"
#include "proto/json.h"

/* What is wrong, as the server's JSON says it, or as the status does. */
static void get_complain(const struct command *command, const struct http_reply *reply)
{
    struct json_value answer, error, message;
    char text[512];
    size_t offset, len;

    if (reply->body.len > 0 &&
        json_check((struct span){reply->body.data, reply->body.len}, &answer, &offset) == 0 &&
        answer.kind == JSON_OBJECT && json_find(answer, "error", &error) == 0 &&
        error.kind == JSON_OBJECT && json_find(error, "message", &message) == 0 &&
        message.kind == JSON_STRING &&
        json_string_decode(message.raw, text, sizeof(text) - 1, &len) == 0) {
        text[len] = '\0';
        command_complain(command, "%s (HTTP status %d)", text, reply->status);
    } else {
        command_complain(command, "the server answers with HTTP status %d", reply->status);
    }
}

static int get_conclude(const struct command *command, const struct http_reply *reply)
{
    switch (reply->status) {
    case 200:
        fwrite(reply->body.data, 1, reply->body.len, stdout);
        putchar('\n');
        return EXIT_DONE;
    case 304:
        fputs("not modified\n", stderr);
        return EXIT_DONE;
    case 401:
    case 403:
        get_complain(command, reply);
        return EXIT_USAGE;
    default:
        get_complain(command, reply);
        return EXIT_FAILED;
    }
}

static int get(const struct command *command, const struct wire_address *address,
               const struct token_source *tokens, char *task_id, const char *rev)
{
    CLEANUP(text_deinit) struct text token = TEXT_EMPTY;
    struct http_reply reply;
    int rc = token_source_get(tokens, &task_id, 1, &token);

    if (rc) {
        command_complain(command, "cannot make a token: %s", strerror(-rc));
        return EXIT_FAILED;
    }
    rc =
        poll_feed_get(address, task_id, token.data, rev, wire_deadline(SERVER_PATIENCE_MS), &reply);
    if (rc) {
        server_complain(command, address, rc);
        return EXIT_NO_WAY;
    }
    int status = get_conclude(command, &reply);
    http_reply_deinit(&reply);
    return status;
}

static int get_run(const struct command *command, int argc, char **argv)
{
    struct server_options server = SERVER_OPTIONS_EMPTY;
    const char *rev = "";
    const struct option_def defs[] = {
        {"url", 0, OPTION_TEXT, &server.url, 0, 0},
        {"token", 0, OPTION_TEXT, &server.token.token, 0, 0},
        {"key", 0, OPTION_TEXT, &server.token.key, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &server.token.state_dir, 0, 0},
        {"ttl", 0, OPTION_NUMBER, &server.token.ttl_s, 1, TOKEN_TTL_MAX_S},
        {"issuer", 0, OPTION_TEXT, &server.token.issuer, 0, 0},
        {"audience", 0, OPTION_TEXT, &server.token.audience, 0, 0},
        {"etag", 0, OPTION_TEXT, &rev, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, 1};
    struct wire_address address;
    struct token_source tokens;
    struct rev parsed;
    char **operands;
    int count, status, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    if (rev[0] != '\0' && rev_parse((struct span){rev, strlen(rev)}, &parsed) != 0) {
        command_complain(command, "--etag: must be a rev, <run>-<n>");
        return EXIT_USAGE;
    }
    if (!server_task_is_valid(command, operands[0]) ||
        server_address(command, &server, &address) != EXIT_DONE ||
        server_tokens(command, &server, &tokens) != EXIT_DONE) {
        return EXIT_USAGE;
    }
    status = get(command, &address, &tokens, operands[0], rev);
    token_source_deinit(&tokens);
    return status;
}

const struct command command_get = {
    .name = "get",
    .operands = "TASK",
    .summary = "print a task's state as JSON",
    .help = SERVER_URL_HELP SERVER_TOKEN_HELP
    "  --etag REV               print nothing if that is still the state's rev\n"
    "\n"
    "Exit status: 0 there is a state, or REV is current; 1 there is none, or the server can't\n"
    "tell; 2 wrong usage, or the token is refused; 3 the server is out of reach.\n",
    .run = get_run,
};
