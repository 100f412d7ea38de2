#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/process/drop_log.h"

static struct drop_log drop_log;
static int captured;

/* Standard error becomes a socket that keeps lines apart. */
static void capture(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    captured = ends[0];
}

TestSuite(drop_log, .init = capture);

static void add(uint64_t now_ms, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        drop_log_add(&drop_log, now_ms, (struct span){"progress:42", 11}, "it is wrong");
    }
}

/* How many lines were logged since the last call; the last one is left in `line`. */
static char line[1024];
static unsigned lines(void)
{
    unsigned count = 0;
    ssize_t len;

    while ((len = recv(captured, line, sizeof(line) - 1, MSG_DONTWAIT)) > 0) {
        line[len] = '\0';
        count++;
    }
    return count;
}

Test(drop_log, a_line_names_channel_and_reason)
{
    add(5000, 1);
    cr_assert_eq(lines(), 1);
    cr_assert_not_null(
        strstr(line, "msg=\"message dropped\" channel=progress:42 why=\"it is wrong\"\n"));
}

Test(drop_log, ten_lines_come_in_a_second_and_then_the_count_of_the_others)
{
    add(5000, DROP_LOG_MAX);
    cr_assert_eq(lines(), DROP_LOG_MAX);
    add(5999, 7);
    cr_assert_eq(lines(), 0);
    drop_log_tick(&drop_log, 5999);
    cr_assert_eq(lines(), 0);
    drop_log_tick(&drop_log, 6000);
    cr_assert_eq(lines(), 1);
    cr_assert_not_null(strstr(line, "msg=\"more messages dropped\" count=7\n"));
    drop_log_tick(&drop_log, 9000);
    cr_assert_eq(lines(), 0);
}

Test(drop_log, the_next_message_brings_the_count_as_well)
{
    add(5000, DROP_LOG_MAX + 3);
    (void)lines();
    add(7000, 1);
    cr_assert_eq(lines(), 2);
}

Test(drop_log, a_second_later_there_is_room_again)
{
    add(5000, DROP_LOG_MAX);
    add(6000, DROP_LOG_MAX);
    cr_assert_eq(lines(), 2 * DROP_LOG_MAX);
}
