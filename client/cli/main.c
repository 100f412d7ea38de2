/* progressctl: tokens, publishing and watching, from the command line. */
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/command.h"

static const struct command *const commands[] = {
    &command_token, &command_watch, &command_get,  &command_publish,
    &command_run,   &command_reset, &command_ping, &command_status,
};

void command_complain(const struct command *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "progressctl %s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void print_usage(FILE *out)
{
    fputs("usage: progressctl COMMAND [ARGUMENT…]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\nprogressctl COMMAND --help tells more; progressctl --version which one this is.\n",
          out);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

/* What was printed has to arrive: a full disk is a failure. */
static int main_flush(int status)
{
    if (fflush(stdout) == EOF || ferror(stdout)) {
        perror("progressctl: standard output");
        return status == EXIT_DONE ? EXIT_FAILED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON's numbers have a point everywhere */
    if (command) {
        return main_flush(command->run(command, argc - 1, argv + 1));
    }
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return main_flush(EXIT_DONE);
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("progressctl " PROGRESSD_VERSION);
        return main_flush(EXIT_DONE);
    }
    if (argc > 1) {
        fprintf(stderr, "progressctl: there is no command \"%s\"\n\n", argv[1]);
    }
    print_usage(stderr);
    return EXIT_USAGE;
}
