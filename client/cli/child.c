#include "client/cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sent on to the child. */
static const struct {
    int number;
    bool interrupts;
} forwarded[] = {
    {SIGINT, true},  {SIGTERM, true},  {SIGHUP, true},
    {SIGQUIT, true}, {SIGUSR1, false}, {SIGUSR2, false},
};

/* What a signal handler can reach: the one child. */
static volatile pid_t forward_to;
static volatile sig_atomic_t was_interrupted;
static struct sigaction before[ARRAY_LEN(forwarded)], before_child, before_pipe;

/* ── Signals ─────────────────────────────────────────────────────────────────────────────────── */

/* A group of the child's own gets it whole. Ours would bring it back to us. */
static void forward(int number, bool is_of_terminal)
{
    const pid_t group = getpgid(forward_to); /* a plain system call, as kill() is */

    if (group > 0 && group != getpgrp()) {
        kill(-group, number);
    } else if (!is_of_terminal) {
        kill(forward_to, number);
    }
}

static void child_on_signal(int number, siginfo_t *info, void *context)
{
    const int saved = errno;

    /* Keys of the terminal reach all of our group, so the child as well. But when the terminal goes
     * only the session's leader is told, which may be us. */
    forward(number, info->si_code == SI_KERNEL && number != SIGHUP);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        if (forwarded[i].number == number && forwarded[i].interrupts) {
            was_interrupted = true;
        }
    }
    errno = saved;
}

/* Only interrupts ppoll(). */
static void on_child(int number)
{
}

static void take_signals(pid_t pid)
{
    struct sigaction forward = {.sa_sigaction = child_on_signal,
                                .sa_flags = SA_SIGINFO | SA_RESTART};
    const struct sigaction notice = {.sa_handler = on_child};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};

    forward_to = pid;
    was_interrupted = false;
    sigfillset(&forward.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        sigaction(forwarded[i].number, NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) {
            sigaction(forwarded[i].number, &forward, NULL);
        }
    }
    sigaction(SIGCHLD, &notice, &before_child);
    sigaction(SIGPIPE, &ignore, &before_pipe); /* writing tells */
}

static void give_signals_back(void)
{
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        sigaction(forwarded[i].number, &before[i], NULL);
    }
    sigaction(SIGCHLD, &before_child, NULL);
    sigaction(SIGPIPE, &before_pipe, NULL);
}

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

enum pipe_of { PIPE_STDOUT, PIPE_STDERR, PIPE_FAILURE, PIPES };

static void close_pipes(int (*pipes)[2], int count)
{
    for (int i = 0; i < count; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
}

static int open_pipes(int (*pipes)[2])
{
    for (int i = 0; i < PIPES; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) != 0) {
            const int rc = -errno;

            close_pipes(pipes, i);
            return rc;
        }
    }
    return 0;
}

/* In the new process: becomes the program, or says by the third pipe why not. */
static _Noreturn void become(char *const *argv, int (*pipes)[2], pid_t parent, const sigset_t *mask)
{
    int failure = 0;

    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || dup2(pipes[PIPE_STDOUT][1], STDOUT_FILENO) < 0 ||
        dup2(pipes[PIPE_STDERR][1], STDERR_FILENO) < 0) {
        failure = errno;
    } else if (getppid() == parent) { /* it may have died before prctl() */
        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(argv[0], argv);
        failure = errno;
    }
    if (write(pipes[PIPE_FAILURE][1], &failure, sizeof(failure)) < 0) {
        _exit(EXIT_FAILURE); /* the parent is gone */
    }
    _exit(EXIT_FAILURE);
}

/* What the new process says: 0 when it has become the program, or -errno. */
static int hear_failure(int fd)
{
    int failure = 0;
    ssize_t len;

    do {
        len = read(fd, &failure, sizeof(failure));
    } while (len < 0 && errno == EINTR);
    return len == sizeof(failure) ? -failure : 0;
}

/* Signals are blocked. */
static int child_launch(char *const *argv, const sigset_t *mask, struct child *ret_child)
{
    const pid_t self = getpid();
    int pipes[PIPES][2];
    int rc = open_pipes(pipes);

    if (rc) {
        return rc;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        become(argv, pipes, self, mask);
    }
    rc = pid < 0 ? -errno : 0;
    for (int i = 0; i < PIPES; i++) {
        close(pipes[i][1]);
    }
    if (rc == 0) {
        rc = hear_failure(pipes[PIPE_FAILURE][0]);
        if (rc) {
            waitpid(pid, NULL, 0);
        }
    }
    close(pipes[PIPE_FAILURE][0]);
    if (rc) {
        close(pipes[PIPE_STDOUT][0]);
        close(pipes[PIPE_STDERR][0]);
        return rc;
    }
    take_signals(pid);
    *ret_child = (struct child){
        .pid = pid,
        .outputs = {pipes[PIPE_STDOUT][0], pipes[PIPE_STDERR][0]},
    };
    return 0;
}

int child_start(char *const *argv, struct child *ret_child)
{
    sigset_t all, mask;

    /* None is lost between the fork and the handlers. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask);
    const int rc = child_launch(argv, &mask, ret_child);
    if (rc == 0) {
        ret_child->mask = mask;
        sigdelset(&ret_child->mask, SIGCHLD);
        sigaddset(&mask, SIGCHLD);
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return rc;
}

/* ── Its life and end ────────────────────────────────────────────────────────────────────────── */

void child_close_output(struct child *child, int output)
{
    if (child->outputs[output] >= 0) {
        close(child->outputs[output]);
        child->outputs[output] = -1;
    }
}

bool child_has_ended(const struct child *child)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == child->pid;
}

void child_wait(struct child *child, struct child_end *ret_end)
{
    siginfo_t info = {0};

    while (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    give_signals_back(); /* before its number may be another's */
    waitpid(child->pid, NULL, 0);
    for (int i = 0; i < CHILD_OUTPUTS; i++) {
        child_close_output(child, i);
    }
    *ret_end = (struct child_end){
        .status = info.si_code == CLD_EXITED ? info.si_status : 0,
        .signal = info.si_code == CLD_EXITED ? 0 : info.si_status,
        .interrupted = was_interrupted,
    };
}
