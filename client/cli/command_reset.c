#include "client/cli/publisher.h"

static int run(const struct command *command, int argc, char **argv)
{
    struct publisher_options publisher = {0};
    const struct option_def defs[] = {
        {"redis-url", 0, OPTION_TEXT, &publisher.redis_url, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &publisher.state_dir, 0, 0},
        {"prefix", 0, OPTION_TEXT, &publisher.prefix, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, 1};
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    return publisher_call(command, &publisher, "progress_reset", operands[0], NULL, 0);
}

const struct command command_reset = {
    .name = "reset",
    .operands = "TASK",
    .summary = "begin a task anew: its messages are forgotten",
    .help = PUBLISHER_HELP,
    .run = run,
};
