#include "broker/loop/parent.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop loop;
static struct parent parent;
static int supervisor; /* its end of the pipe */
static char said[64];  /* what was heard */

static void on_order(void *owner, const char *order)
{
    cr_assert_eq(owner, &loop);
    snprintf(said, sizeof(said), "%s", order);
}

static void on_end(void *owner, enum parent_end end)
{
    snprintf(said, sizeof(said), end == PARENT_GONE ? "(gone)" : "(terminate)");
}

static const struct parent_events events = {.on_order = on_order, .on_end = on_end};

static void set_up(void)
{
    int ends[2];

    alarm(30);
    cr_assert_eq(loop_open(&loop, NULL), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = ends[0];
    cr_assert_eq(parent_open(&parent, &loop, ends[1], &events, &loop), 0);
}

TestSuite(parent, .init = set_up);

static void end(void)
{
    parent_close(&parent);
    parent_close(&parent);
    loop_close(&loop);
    loop_run(&loop);
}

static void wait_for(const char *words)
{
    while (strcmp(said, words) != 0) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

Test(parent, hands_on_orders_and_tells_the_supervisor)
{
    char line[16] = "";

    cr_assert_eq(write(supervisor, "stop 1012\n", 10), 10);
    wait_for("stop 1012");
    parent_tell(&parent, "ready");
    cr_assert_eq(read(supervisor, line, sizeof(line) - 1), 6);
    cr_assert_str_eq(line, "ready\n");
    end();
}

Test(parent, tells_when_the_supervisor_is_gone)
{
    close(supervisor);
    wait_for("(gone)");
    end();
}

Test(parent, takes_sigterm_and_ignores_sigint)
{
    cr_assert_eq(raise(SIGINT), 0);
    cr_assert_eq(write(supervisor, "x\n", 2), 2);
    wait_for("x");
    cr_assert_eq(raise(SIGTERM), 0);
    wait_for("(terminate)");
    end();
}
