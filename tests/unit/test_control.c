#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/loop/control.h"

static uv_loop_t loop;
static struct control control;
static int peer;
static char heard[256];      /* lines, each followed by |; "end|"; "closed|" */
static const char *close_at; /* closes from within this line's event */

static void hear(const char *text)
{
    strcat(strcat(heard, text), "|");
}

static void on_line(struct control *from, const char *line)
{
    cr_assert_eq(from, &control);
    hear(line);
    if (close_at && strcmp(line, close_at) == 0) {
        control_close(from);
    }
}

static void on_end(struct control *from)
{
    hear("end");
}

static void on_closed(struct control *from)
{
    hear("closed");
}

static const struct control_events events = {
    .on_line = on_line, .on_end = on_end, .on_closed = on_closed};

static void set_up(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer = ends[1];
    cr_assert_eq(uv_loop_init(&loop), 0);
    control_init(&control, &loop, &events);
    cr_assert_eq(control_open(&control, ends[0]), 0);
    cr_assert_eq(control_start(&control), 0);
}

static void tell(const char *text)
{
    cr_assert_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void finish(const char *expected)
{
    control_close(&control);
    control_close(&control);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    close(peer);
    cr_assert_str_eq(heard, expected);
}

TestSuite(control, .init = set_up);

Test(control, lines_come_whole_however_they_are_cut)
{
    tell("stop 10");
    tell("12\nrea");
    tell("dy\nx\n");
    finish("stop 1012|ready|x|closed|");
}

Test(control, lines_come_byte_by_byte)
{
    for (const char *at = "ready\n\nstop\n"; *at; at++) {
        tell((char[]){*at, '\0'});
    }
    finish("ready||stop|closed|");
}

Test(control, the_other_sides_end_is_told_once)
{
    tell("ready\nhalf");
    shutdown(peer, SHUT_WR);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    finish("ready|end|closed|");
}

Test(control, a_line_that_fits_just_so_is_taken)
{
    char line[CONTROL_LINE_MAX + 1], expected[CONTROL_LINE_MAX + 16];

    memset(line, 'x', sizeof(line));
    line[CONTROL_LINE_MAX - 1] = '\n';
    line[CONTROL_LINE_MAX] = '\0';
    tell(line);
    snprintf(expected, sizeof(expected), "%.*s|closed|", CONTROL_LINE_MAX - 1, line);
    finish(expected);
}

Test(control, a_line_too_long_is_the_end)
{
    char line[CONTROL_LINE_MAX + 1];

    memset(line, 'x', sizeof(line));
    line[CONTROL_LINE_MAX] = '\0';
    tell(line);
    uv_run(&loop, UV_RUN_NOWAIT);
    finish("end|closed|");
}

Test(control, nothing_is_heard_after_closing_from_within_a_line)
{
    close_at = "stop";
    tell("ready\nstop\nlater\n");
    finish("ready|stop|closed|");
}

Test(control, what_is_sent_is_a_line)
{
    char line[16] = "";

    control_send(&control, "ready");
    cr_assert_eq(read(peer, line, sizeof(line) - 1), 6);
    cr_assert_str_eq(line, "ready\n");
    finish("closed|");
}

Test(control, sending_when_the_other_side_is_gone_or_this_one_closed_does_nothing)
{
    signal(SIGPIPE, SIG_IGN);
    shutdown(peer, SHUT_RDWR);
    control_send(&control, "ready");
    control_close(&control);
    control_send(&control, "ready");
    finish("closed|");
}
