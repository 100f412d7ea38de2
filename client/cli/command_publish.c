#include <stdio.h>
#include <string.h>

#include "client/cli/publisher.h"
#include "common/text.h"
#include "proto/redis_contract.h"

/* All of standard input; false, after a complaint, when it can't be read or is longer than any
 * payload may be. */
static bool read_input(const struct command *command, struct text *text)
{
    char buffer[4096];
    size_t len;

    while (text->len <= PAYLOAD_MAX_MOST && (len = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        text_append(text, buffer, len);
    }
    if (ferror(stdin) || text_failed(text)) {
        command_complain(command, "cannot read standard input");
        return false;
    }
    if (text->len > PAYLOAD_MAX_MOST) {
        command_complain(command, "standard input is longer than any payload may be");
        return false;
    }
    return true;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct publisher_options publisher = {0};
    const struct option_def defs[] = {
        {"redis-url", 0, OPTION_TEXT, &publisher.redis_url, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &publisher.state_dir, 0, 0},
        {"prefix", 0, OPTION_TEXT, &publisher.prefix, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 3, 3};
    CLEANUP(text_deinit) struct text input = TEXT_EMPTY;
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    const char *type = operands[1], *payload = operands[2];
    size_t payload_len = strlen(payload);
    if (strcmp(payload, "-") == 0) {
        if (!read_input(command, &input)) {
            return EXIT_FAILED;
        }
        payload = input.data ? input.data : "";
        payload_len = input.len;
    }
    const struct publisher_argument arguments[] = {{type, strlen(type)}, {payload, payload_len}};
    return publisher_call(command, &publisher, "progress_publish", operands[0], arguments,
                          ARRAY_LEN(arguments));
}

const struct command command_publish = {
    .name = "publish",
    .operands = "TASK TYPE PAYLOAD",
    .summary = "publish a message of a task, as its job does",
    .help =
        "TYPE is progress_update, stage_change, time_estimate, complete or error. PAYLOAD is a\n"
        "JSON object; - reads it from standard input.\n"
        "\n"
        "  progressctl publish 42 progress_update '{\"percentage\":40,\"stage\":\"upload\"}'\n"
        "\n" PUBLISHER_HELP,
    .run = run,
};
