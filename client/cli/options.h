/* The options and operands of a command.
 *
 * Receives   argv
 * Hands on   the options' values where the command wants them, and the operands
 * Owns       nothing; texts point into argv and the environment
 */
#ifndef PROGRESSD_CLIENT_CLI_OPTIONS_H
#define PROGRESSD_CLIENT_CLI_OPTIONS_H

#include <stdint.h>

#include "client/cli/command.h"

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER };

struct option_def {
    const char *name; /* long, without the dashes */
    char letter;      /* the short one; 0: none */
    enum option_kind kind;
    void *value;       /* bool, const char * or uint32_t, by kind; what it holds is the default */
    uint32_t min, max; /* of OPTION_NUMBER */
};

/* As max_operands: they are a command with arguments of its own, so the first ends the options. */
#define OPERANDS_COMMAND (-1)

struct options {
    const struct option_def *defs;
    size_t count;
    int min_operands, max_operands;
};

#define OPTIONS_MAX 16

enum options_outcome {
    OPTIONS_HELP = 1, /* --help: it has been printed */
    OPTIONS_WRONG,    /* standard error says what is wrong */
};

/* Reads what follows the command's name, which is argv[0]. Options and operands may be mixed; `--`
 * ends the options. 0 and the operands, *ret_count of them; or an outcome. */
int options_read(const struct command *command, const struct options *options, int argc,
                 char **argv, char ***ret_operands, int *ret_count) MUST_CHECK;

/* The exit status after an outcome. */
int options_exit_status(int outcome);

/* `value`, or if that is NULL the environment's variable, or if that isn't set or empty the
 * default. */
const char *option_or_environment(const char *value, const char *variable, const char *otherwise);

#endif
