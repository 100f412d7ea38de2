/* A program that is run, with its output in our hands.
 *
 * Receives   a command line
 * Hands on   what it prints, by two pipes; how it ended
 * Owns       the pipes, the process until child_wait(), and what signals do to us meanwhile
 *
 *   1. It keeps our standard input, process group, environment and signals: it runs as if it had
 *      been started in our place, but that its output goes to pipes.
 *   2. While it runs, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are sent on to it, and
 *      if it leads a process group of its own (setsid), to all of that. Not sent on are the keys of
 *      the terminal when it is in our group and so has had them, and what was ignored when we
 *      started. We end when it does.
 *   3. Should we be killed, it is sent SIGTERM.
 *
 * One at a time.
 */
#ifndef PROGRESSD_CLIENT_CLI_CHILD_H
#define PROGRESSD_CLIENT_CLI_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/result.h"

#define CHILD_OUTPUTS 2 /* standard output, standard error */

struct child {
    pid_t pid;
    int outputs[CHILD_OUTPUTS]; /* the pipes' reading ends, closed on exec; -1: closed */
    sigset_t mask;              /* for ppoll(): the child's end interrupts it, and only it */
};

/* Starts `argv`, found by PATH. 0 and *ret_child; or -errno: it could not be started. */
int child_start(char *const *argv, struct child *ret_child) MUST_CHECK;

void child_close_output(struct child *child, int output);

/* Whether it has ended. Its output may not have been read to the end. */
bool child_has_ended(const struct child *child);

struct child_end {
    int status;       /* its exit status, if `signal` is 0 */
    int signal;       /* what killed it */
    bool interrupted; /* we were sent SIGINT, SIGTERM, SIGHUP or SIGQUIT */
};

/* Waits for its end. Signals do to us again what they did before. */
void child_wait(struct child *child, struct child_end *ret_end);

#endif
