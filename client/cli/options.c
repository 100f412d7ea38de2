#include "client/cli/options.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long() returns for --help, and for a long option: this and its index. */
#define HELP 256
#define FIRST_LONG 257

static void print_help(const struct command *command)
{
    printf("usage: progressctl %s [OPTION…] %s\n\n%s\n\n%s", command->name, command->operands,
           command->summary, command->help);
}

static int wrong(const struct command *command)
{
    fprintf(stderr, "usage: progressctl %s [OPTION…] %s\nprogressctl %s --help tells more.\n",
            command->name, command->operands, command->name);
    return OPTIONS_WRONG;
}

static int read_number(const struct command *command, const struct option_def *def,
                       const char *text)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < def->min || number > def->max) {
        command_complain(command, "--%s: must be a whole number from %u to %u", def->name, def->min,
                         def->max);
        return OPTIONS_WRONG;
    }
    *(uint32_t *)def->value = (uint32_t)number;
    return 0;
}

static int options_take(const struct command *command, const struct option_def *def,
                        const char *text)
{
    switch (def->kind) {
    case OPTION_FLAG:
        *(bool *)def->value = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)def->value = text;
        return 0;
    case OPTION_NUMBER:
        return read_number(command, def, text);
    }
    return OPTIONS_WRONG;
}

/* The index of the option that getopt_long() found, or -1. */
static int options_index_of(const struct options *options, int found)
{
    if (found >= FIRST_LONG) {
        return found - FIRST_LONG;
    }
    for (size_t i = 0; i < options->count; i++) {
        if (options->defs[i].letter && options->defs[i].letter == found) {
            return (int)i;
        }
    }
    return -1;
}

/* The definitions as getopt_long() wants them. */
static void translate(const struct options *options, struct option *longs, char *letters)
{
    assert(options->count <= OPTIONS_MAX);
    if (options->max_operands == OPERANDS_COMMAND) {
        *letters++ = '+';
    }
    for (size_t i = 0; i < options->count; i++) {
        const struct option_def *def = &options->defs[i];
        const int has_argument = def->kind == OPTION_FLAG ? no_argument : required_argument;

        *longs++ = (struct option){def->name, has_argument, NULL, FIRST_LONG + (int)i};
        if (def->letter) {
            *letters++ = def->letter;
            *letters = ':';
            letters += has_argument == required_argument;
        }
    }
    *longs++ = (struct option){"help", no_argument, NULL, HELP};
    *longs = (struct option){NULL, 0, NULL, 0};
    *letters = '\0';
}

int options_read(const struct command *command, const struct options *options, int argc,
                 char **argv, char ***ret_operands, int *ret_count)
{
    struct option longs[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 2], name[64];
    int found;

    translate(options, longs, letters);
    snprintf(name, sizeof(name), "progressctl %s", command->name);
    argv[0] = name; /* getopt_long() begins its messages with it */
    optind = 0;
    while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        int i = options_index_of(options, found);

        if (found == HELP) {
            print_help(command);
            return OPTIONS_HELP;
        }
        if (i < 0 || options_take(command, &options->defs[i], optarg)) {
            return wrong(command);
        }
    }
    const int operands = argc - optind;
    if (operands < options->min_operands) {
        command_complain(command, "too few arguments");
        return wrong(command);
    }
    if (operands > options->max_operands && options->max_operands != OPERANDS_COMMAND) {
        command_complain(command, "too many arguments");
        return wrong(command);
    }
    *ret_operands = argv + optind;
    *ret_count = operands;
    return 0;
}

int options_exit_status(int outcome)
{
    return outcome == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
}

const char *option_or_environment(const char *value, const char *variable, const char *otherwise)
{
    const char *set = value ? value : getenv(variable);

    return set && (value || *set) ? set : otherwise;
}
