#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/publisher.h"
#include "client/cli/server.h"
#include "common/text.h"
#include "proto/json.h"
#include "proto/plain_message.h"
#include "proto/progress_library.h"
#include "proto/task_key.h"

/* ── One message, of the arguments ───────────────────────────────────────────────────────────── */

/* All of standard input; false, after a complaint, when it can't be read or is longer than any
 * payload may be. */
static bool publish_read_input(const struct command *command, struct text *text)
{
    char buffer[4096];
    size_t len;

    while (text->len <= PAYLOAD_MAX_MOST && (len = fread(buffer, 1, sizeof(buffer), stdin)) > 0) {
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

static int publish_one(const struct command *command, const struct redis_target_options *target,
                       char **operands)
{
    CLEANUP(text_deinit) struct text input = TEXT_EMPTY;
    const char *type = operands[1], *payload = operands[2];
    size_t payload_len = strlen(payload);

    if (strcmp(payload, "-") == 0) {
        if (!publish_read_input(command, &input)) {
            return EXIT_FAILED;
        }
        payload = input.data ? input.data : "";
        payload_len = input.len;
    }
    const struct publisher_argument arguments[] = {{type, strlen(type)}, {payload, payload_len}};
    return publisher_call_once(command, target, "progress_publish", operands[0], arguments,
                               ARRAY_LEN(arguments));
}

/* ── Many, of standard input ─────────────────────────────────────────────────────────────────── */

/* A message of one line: what is called. The spans point into the line. */
struct call {
    char task_id[TASK_ID_MAX + 1];
    struct span type, payload;
};

#define WHY_SIZE 128
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* The member taskId of a line that names the task itself. Whether it is good, as far as can be told
 * here: a line that is no message is left to plain_message_parse(). */
static bool read_task_id(struct span line, char ret_task_id[TASK_ID_MAX + 1])
{
    struct json_value message, task_id;
    size_t offset, len;

    return json_check(line, &message, &offset) != 0 || message.kind != JSON_OBJECT ||
           (json_find(message, "taskId", &task_id) == 0 && task_id.kind == JSON_STRING &&
            json_string_decode(task_id.raw, ret_task_id, TASK_ID_MAX + 1, &len) == 0 &&
            task_id_is_valid(ret_task_id, len));
}

/* `task_id`: of the command line, or NULL. Whether the line is a message; if not, why. */
static bool read_line(struct span line, const char *task_id, struct call *ret_call,
                      char ret_why[WHY_SIZE])
{
    struct span task;

    if (task_id) {
        snprintf(ret_call->task_id, sizeof(ret_call->task_id), "%s", task_id);
    } else if (!read_task_id(line, ret_call->task_id)) {
        snprintf(ret_why, WHY_SIZE, "taskId must be 1 to 128 of A-Z a-z 0-9 . _ ~ : -");
        return false;
    }
    task = (struct span){ret_call->task_id, strlen(ret_call->task_id)};
    return plain_message_parse(line, task, &ret_call->type, &ret_call->payload, ret_why) == 0;
}

/* The exit status as far as this line goes. */
static int publish_line(const struct command *command, struct publisher *publisher,
                        const char *task_id, struct span line, unsigned long number)
{
    CLEANUP(text_deinit) struct text answer = TEXT_EMPTY;
    struct call call = {.task_id = ""};
    char why[WHY_SIZE];

    if (!read_line(line, task_id, &call, why)) {
        command_complain(command, "line %lu: %s", number, why);
        return EXIT_FAILED;
    }
    const struct publisher_argument arguments[] = {{call.type.at, call.type.len},
                                                   {call.payload.at, call.payload.len}};
    const int status = publisher_call(publisher, "progress_publish", call.task_id, arguments,
                                      ARRAY_LEN(arguments), &answer);
    const char *text = answer.data ? answer.data : "";
    if (status == EXIT_DONE) {
        puts(text);
        fflush(stdout); /* who writes the lines may wait for the revs */
    } else {
        command_complain(command, "line %lu: %s", number, text);
    }
    return status;
}

static bool publish_is_blank(struct span line)
{
    size_t i = 0;

    while (i < line.len && strchr(" \t\r\n", line.at[i]) && line.at[i] != '\0') {
        i++;
    }
    return i == line.len;
}

/* Without a byte order mark at its beginning, as some programs put it before the first line. */
static struct span without_mark(struct span line)
{
    const size_t len = strlen(BYTE_ORDER_MARK);

    if (line.len >= len && memcmp(line.at, BYTE_ORDER_MARK, len) == 0) {
        line.at += len;
        line.len -= len;
    }
    return line;
}

static int publish_lines(const struct command *command, struct publisher *publisher,
                         const char *task_id)
{
    unsigned long number = 0;
    int status = EXIT_DONE;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while (status != EXIT_NO_WAY && (len = getline(&line, &size, stdin)) > 0) {
        struct span text = {line, (size_t)len};

        number++;
        if (number == 1) {
            text = without_mark(text);
        }
        if (!publish_is_blank(text)) {
            const int rc = publish_line(command, publisher, task_id, text, number);

            status = rc == EXIT_DONE ? status : rc;
        }
    }
    if (status != EXIT_NO_WAY && !feof(stdin)) {
        command_complain(command, "cannot read standard input: %s", strerror(errno));
        status = EXIT_FAILED;
    }
    free(line); /* getline()'s own */
    return status;
}

static int publish_input(const struct command *command, const struct redis_target_options *target,
                         const char *task_id)
{
    struct publisher publisher;

    if (task_id && !server_task_is_valid(command, task_id)) {
        return EXIT_USAGE;
    }
    int status = publisher_open(command, target, &publisher);
    if (status == EXIT_DONE) {
        status = publish_lines(command, &publisher, task_id);
        publisher_close(&publisher);
    }
    return status;
}

static int publish_run(const struct command *command, int argc, char **argv)
{
    struct redis_target_options target = {0};
    const struct option_def defs[] = {
        {"redis-url", 0, OPTION_TEXT, &target.redis_url, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &target.state_dir, 0, 0},
        {"prefix", 0, OPTION_TEXT, &target.prefix, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 0, 3};
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    if (count == 2) {
        command_complain(command, "too few arguments: PAYLOAD is missing");
        return EXIT_USAGE;
    }
    return count == 3 ? publish_one(command, &target, operands)
                      : publish_input(command, &target, count > 0 ? operands[0] : NULL);
}

const struct command command_publish = {
    .name = "publish",
    .operands = "[TASK [TYPE PAYLOAD]]",
    .summary = "publish messages of a task, as its job does",
    .help =
        "TYPE is progress_update, stage_change, time_estimate, complete or error. PAYLOAD is a\n"
        "JSON object; - reads it from standard input.\n"
        "\n"
        "  progressctl publish 42 progress_update '{\"percentage\":40,\"stage\":\"upload\"}'\n"
        "\n"
        "Without them messages are read from standard input, one a line, until it ends. Each has\n"
        "the members type and payload, and taskId where TASK isn't given. One that is refused is\n"
        "named on standard error by the number of its line; the others are published.\n"
        "\n"
        "  {\"type\":\"progress_update\",\"taskId\":\"42\",\"payload\":{\"percentage\":40,…}}\n"
        "\n" PUBLISHER_HELP,
    .run = publish_run,
};
