/* The commands of progressctl.
 *
 * Receives   what follows the command's name
 * Hands on   an exit status
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_COMMAND_H
#define PROGRESSD_CLIENT_CLI_COMMAND_H

#include "common/result.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1, /* the job failed, or the request was refused */
    EXIT_USAGE = 2,  /* wrong usage, a key that can't be used, a token that is refused */
    EXIT_NO_WAY = 3, /* the server is out of reach */
};

struct command {
    const char *name;
    const char *operands; /* as --help shows them: "TASK TYPE PAYLOAD" */
    const char *summary;  /* a line */
    const char *help;     /* lines: options and all else there is to know */
    int (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_get, command_ping, command_publish, command_reset, command_run,
    command_status, command_token, command_watch;

/* Says on standard error what is wrong, as "progressctl <command>: …". */
void command_complain(const struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
