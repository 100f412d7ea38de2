#include "client/cli/child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static struct child child;
static struct child_end end;

static void start(const char *script)
{
    char *const argv[] = {"sh", "-c", (char *)script, NULL};

    cr_assert_eq(child_start(argv, &child), 0);
}

/* All that comes from one of the outputs, until it ends. */
static void read_output(int output, char *text, size_t size)
{
    size_t len = 0;
    ssize_t got;

    while ((got = read(child.outputs[output], text + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    text[len] = '\0';
}

/* The first byte that the child prints says that it is ready. */
static void wait_until_ready(void)
{
    char byte;

    cr_assert_eq(read(child.outputs[0], &byte, 1), 1);
}

Test(child, hands_on_both_outputs)
{
    char text[64];

    start("echo out; echo err >&2");
    read_output(0, text, sizeof(text));
    cr_assert_str_eq(text, "out\n");
    read_output(1, text, sizeof(text));
    cr_assert_str_eq(text, "err\n");
    child_wait(&child, &end);
    cr_assert(end.status == 0 && end.signal == 0 && !end.interrupted);
    cr_assert(child.outputs[0] == -1 && child.outputs[1] == -1);
}

Test(child, tells_the_status)
{
    start("exit 7");
    child_wait(&child, &end);
    cr_assert(end.status == 7 && end.signal == 0 && !end.interrupted);
}

Test(child, tells_what_killed_it)
{
    start("kill -9 $$");
    child_wait(&child, &end);
    cr_assert(end.status == 0 && end.signal == SIGKILL && !end.interrupted);
}

Test(child, says_why_it_could_not_be_started)
{
    char *const missing[] = {"/nonexistent/program", NULL};
    char *const folder[] = {"/", NULL};

    cr_assert_eq(child_start(missing, &child), -ENOENT);
    cr_assert_eq(child_start(folder, &child), -EACCES);
}

Test(child, leaves_no_descriptor_open)
{
    char *const missing[] = {"/nonexistent/program", NULL};
    const int first = dup(0);

    close(first);
    cr_assert_eq(child_start(missing, &child), -ENOENT);
    start("exit 0");
    child_wait(&child, &end);
    const int last = dup(0);
    close(last);
    cr_assert_eq(first, last);
}

Test(child, its_end_wakes_who_waits)
{
    start("exec >&- 2>&-; exit 0");
    while (!child_has_ended(&child)) {
        cr_assert_lt(ppoll(NULL, 0, NULL, &child.mask), 0);
        cr_assert_eq(errno, EINTR);
    }
    child_wait(&child, &end);
    cr_assert_eq(end.status, 0);
}

Test(child, is_sent_the_signals_we_are_sent)
{
    start("trap 'exit 5' TERM; echo; while :; do sleep 0.01; done");
    wait_until_ready();
    cr_assert(!child_has_ended(&child));
    raise(SIGTERM);
    child_wait(&child, &end);
    cr_assert(end.status == 5 && end.interrupted);
}

Test(child, a_signal_that_only_asks_is_no_interruption)
{
    start("trap 'exit 6' USR1; echo; while :; do sleep 0.01; done");
    wait_until_ready();
    raise(SIGUSR1);
    child_wait(&child, &end);
    cr_assert(end.status == 6 && !end.interrupted);
}

Test(child, signals_do_afterwards_what_they_did_before)
{
    struct sigaction before, after;

    sigaction(SIGTERM, NULL, &before);
    start("exit 0");
    sigaction(SIGTERM, NULL, &after);
    cr_assert_neq((void *)before.sa_handler, (void *)after.sa_handler);
    child_wait(&child, &end);
    sigaction(SIGTERM, NULL, &after);
    cr_assert_eq((void *)before.sa_handler, (void *)after.sa_handler);
}

Test(child, a_signal_that_was_ignored_stays_so)
{
    start("exit 0");
    child_wait(&child, &end);
    signal(SIGHUP, SIG_IGN);
    start("kill -HUP $$; kill -HUP $PPID; exit 3");
    child_wait(&child, &end);
    cr_assert(end.status == 3 && !end.interrupted);
}

Test(child, runs_with_the_signals_that_were_blocked_and_no_more)
{
    char *const argv[] = {"grep", "SigBlk", "/proc/self/status", NULL};
    char text[64];
    sigset_t usr2;

    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    sigprocmask(SIG_SETMASK, &usr2, NULL);
    cr_assert_eq(child_start(argv, &child), 0);
    read_output(0, text, sizeof(text));
    child_wait(&child, &end);
    cr_assert_str_eq(text, "SigBlk:\t0000000000000800\n");
}
