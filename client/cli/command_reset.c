#include "client/cli/publisher.h"

static int reset_run(const struct command *command, int argc, char **argv)
{
    struct redis_target_options target = {0};
    const struct option_def defs[] = {
        {"redis-url", 0, OPTION_TEXT, &target.redis_url, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &target.state_dir, 0, 0},
        {"prefix", 0, OPTION_TEXT, &target.prefix, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, 1};
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    return publisher_call_once(command, &target, "progress_reset", operands[0], NULL, 0);
}

const struct command command_reset = {
    .name = "reset",
    .operands = "TASK",
    .summary = "begin a task anew: its messages are forgotten",
    .help = PUBLISHER_HELP,
    .run = reset_run,
};
