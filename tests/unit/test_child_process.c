#include "broker/process/child_process.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "broker/loop/loop.h"
#include "tests/support/playing_child.h"

static struct loop loop;
static struct child_process child;
static int ready, exited, stopped;

static void on_ready(struct child_process *of)
{
    cr_assert_eq(of, &child);
    ready++;
}

static void on_exited(struct child_process *of)
{
    cr_assert_eq(of->state, CHILD_DEAD);
    exited++;
}

static void on_stopped(struct child_process *of)
{
    stopped++;
    loop_close(&loop);
}

static const struct child_process_events events = {on_ready, on_exited, on_stopped};
static struct child_process_settings settings = {.events = &events};

static void set_up(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    alarm(60);
    signal(SIGPIPE, SIG_IGN); /* as main() does: a child may be gone when it is told something */
    cr_assert_eq(loop_open(&loop, NULL), 0);
    settings.loop = &loop.uv;
    static struct listen_sockets listen_sockets = {.count = 1};
    listen_sockets.fds[0] = null_fd;
    settings.listen = &listen_sockets;
    settings.config_fd = settings.metrics_fd = null_fd;
    child_process_init(&child, &settings, CHILD_ROLE_WORKER, 7);
}

TestSuite(child_process, .init = set_up);

static void start(const char *part)
{
    setenv("PLAYS", part, 1);
    child_process_start(&child);
}

static void run_until_state(enum child_state state)
{
    while (child.state != state) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

/* Stops the child, and checks that nothing is left. */
static void end(uint64_t patience_ms)
{
    child_process_stop(&child, "stop 1012", patience_ms);
    loop_run(&loop);
    cr_assert_eq(child.state, CHILD_STOPPED);
    cr_assert_eq(stopped, 1);
    cr_assert_eq(child.pid, 0);
}

Test(child_process, says_ready_and_stops_when_told)
{
    start("good");
    cr_assert_eq(child.state, CHILD_STARTING);
    run_until_state(CHILD_READY);
    cr_assert_eq(ready, 1);
    cr_assert_gt(child.pid, 0);
    end(60000);
    cr_assert_eq(exited, 1);
    cr_assert_eq(child.restarts, 0);
}

Test(child_process, is_stopped_without_having_been_started)
{
    end(1000);
    cr_assert_eq(exited, 0);
}

Test(child_process, is_replaced_at_once_when_it_dies_and_later_after_a_pause)
{
    start("good");
    run_until_state(CHILD_READY);
    setenv("PLAYS", "dies", 1);
    child_process_kill(&child);
    run_until_state(CHILD_PAUSING);
    cr_assert_eq(exited, 2, "the one that was killed, and the one that came at once");
    cr_assert_eq(child.restarts, 2);
    setenv("PLAYS", "good", 1);
    run_until_state(CHILD_READY);
    end(60000);
}

Test(child_process, is_killed_when_it_does_not_stop_in_time)
{
    start("deaf");
    run_until_state(CHILD_READY);
    end(200);
    cr_assert_eq(exited, 1);
}

Test(child_process, is_stopped_before_it_is_ready)
{
    start("mute");
    end(0);
    cr_assert_eq(ready, 0);
}

Test(child_process, that_gives_no_sign_of_life_is_silent_then_killed_and_replaced)
{
    start("deaf");
    run_until_state(CHILD_READY);
    int pid = child.pid;
    uint64_t now = loop_now(&loop);

    /* By a clock that is far on, so that the test need not wait. */
    child.spawned_ms = 0;
    cr_assert_not(child_process_watch(&child, now, 1000));
    cr_assert_eq(child.state, CHILD_READY);
    cr_assert_not(child_process_watch(&child, now - 600, 1000));
    cr_assert_eq(child.state, CHILD_SILENT);
    cr_assert_not(child_process_watch(&child, now, 1000));
    cr_assert_eq(child.state, CHILD_READY, "it goes on");
    cr_assert(child_process_watch(&child, now - 1001, 1000));
    cr_assert_eq(child.state, CHILD_STOPPING);
    cr_assert_not(child_process_watch(&child, now - 1001, 1000), "killed once");
    setenv("PLAYS", "good", 1);
    run_until_state(CHILD_READY);
    cr_assert_neq(child.pid, pid);
    end(60000);
}

Test(child_process, that_never_gets_ready_is_killed_as_well)
{
    start("mute");
    child.spawned_ms = 0;
    cr_assert_not(child_process_watch(&child, loop_now(&loop) - 600, 1000));
    cr_assert_eq(child.state, CHILD_STARTING);
    cr_assert(child_process_watch(&child, loop_now(&loop) - 1001, 1000));
    while (exited == 0) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    end(0);
    cr_assert_eq(ready, 0);
}

/* What must hold between any two states, whatever the table says. */
Test(child_process, allows_only_moves_that_make_sense)
{
    for (unsigned from = 0; from < child_machine.count; from++) {
        bool runs = from == CHILD_STARTING || from == CHILD_READY || from == CHILD_SILENT ||
                    from == CHILD_STOPPING;

        cr_assert_eq(state_may_move(&child_machine, from, CHILD_DEAD), runs);
        cr_assert_eq(state_may_move(&child_machine, from, CHILD_STOPPING), runs);
        cr_assert_not(state_may_move(&child_machine, from, CHILD_IDLE));
        cr_assert_not(state_may_move(&child_machine, CHILD_STOPPED, from));
        cr_assert_eq(state_may_move(&child_machine, from, CHILD_STARTING),
                     from == CHILD_IDLE || from == CHILD_DEAD || from == CHILD_PAUSING);
        cr_assert_eq(state_may_move(&child_machine, from, CHILD_SILENT), from == CHILD_READY);
        cr_assert_eq(state_may_move(&child_machine, from, CHILD_PAUSING), from == CHILD_DEAD);
        cr_assert_eq(state_may_move(&child_machine, from, CHILD_READY),
                     from == CHILD_STARTING || from == CHILD_SILENT);
    }
}
