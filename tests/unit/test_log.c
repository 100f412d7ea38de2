#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/log_limit.h"
#include "proto/json.h"

/* Standard error becomes a socket that keeps writes apart, so that one line is seen to be one
 * write. What a test logs must fit into the socket's buffer. */
static int capture(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    return ends[0];
}

/* The next line, without its time (whose form is checked) and its end. */
static const char *next_line(int captured)
{
    static char line[8192];
    ssize_t len = recv(captured, line, sizeof(line) - 1, MSG_DONTWAIT);

    cr_assert_gt(len, 40, "nothing was written");
    cr_assert_leq(len, 4096);
    cr_assert_eq(line[len - 1], '\n');
    line[len - 1] = '\0';
    cr_assert_null(strchr(line, '\n'), "more than a line");

    const char *time = strchr(line, '2');
    cr_assert_not_null(time);
    static const char form[] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        cr_assert(form[i] == '0' ? time[i] >= '0' && time[i] <= '9' : time[i] == form[i]);
    }
    return line;
}

static void assert_logfmt(int captured, const char *expected)
{
    const char *line = next_line(captured);
    size_t time_len = strlen("time=2026-11-23T06:16:17.123Z ");
    cr_assert_eq(strncmp(line, "time=", 5), 0);
    cr_assert_str_eq(line + time_len, expected);
}

static void assert_is_json(const char *line)
{
    struct json_value value;
    size_t offset = 0;
    cr_assert_eq(json_check((struct span){line, strlen(line)}, &value, &offset), 0,
                 "invalid at %zu: %s", offset, line);
    cr_assert_eq(value.kind, JSON_OBJECT);
}

static void assert_json(int captured, const char *expected)
{
    const char *line = next_line(captured);
    size_t time_len = strlen("{\"time\":\"2026-11-23T06:16:17.123Z\",");
    cr_assert_eq(strncmp(line, "{\"time\":\"", 9), 0);
    cr_assert_str_eq(line + time_len, expected);
    assert_is_json(line);
}

Test(log, a_line_of_logfmt_is_one_write)
{
    int captured = capture();

    log_event(LOG_WARN, "hub", "gone");
    assert_logfmt(captured, "level=warn process=progressd module=hub msg=gone");
    log_configure(LOG_DEBUG, LOG_LOGFMT, "worker-3");
    log_event(LOG_DEBUG, "hub", "task watched", LOG_TEXT("task", "a.b~c:1-2_3"),
              LOG_INT("watchers", -3));
    assert_logfmt(captured, "level=debug process=worker-3 module=hub msg=\"task watched\" "
                            "task=a.b~c:1-2_3 watchers=-3");
}

Test(log, a_line_of_json_is_one_object)
{
    int captured = capture();

    log_configure(LOG_INFO, LOG_JSON, "worker-3");
    log_event(LOG_ERROR, "link", "link down", LOG_TEXT("server", "127.0.0.1:6379"),
              LOG_INT("least", INT64_MIN), LOG_INT("most", INT64_MAX), LOG_TEXT("none", ""));
    assert_json(captured, "\"level\":\"error\",\"process\":\"worker-3\",\"module\":\"link\","
                          "\"msg\":\"link down\",\"server\":\"127.0.0.1:6379\","
                          "\"least\":-9223372036854775808,\"most\":9223372036854775807,"
                          "\"none\":\"\"}");
}

Test(log, levels_above_the_configured_one_are_not_written)
{
    int captured = capture();
    char byte;

    log_configure(LOG_WARN, LOG_LOGFMT, "x");
    cr_assert(log_enabled(LOG_ERROR));
    cr_assert(log_enabled(LOG_WARN));
    cr_assert_not(log_enabled(LOG_INFO));
    log_event(LOG_INFO, "hub", "m");
    log_write(LOG_DEBUG, "hub", "m", &(struct log_field){.kind = LOG_FIELD_END});
    cr_assert_lt(recv(captured, &byte, 1, MSG_DONTWAIT), 0);
    cr_assert_eq(errno, EAGAIN);
}

Test(log, no_input_can_forge_a_line_or_a_field_of_logfmt)
{
    int captured = capture();

    log_event(LOG_INFO, "m", "x\ntime=0 level=error", LOG_TEXT("a", "1 b=2"),
              LOG_TEXT("c", "say \"hi\"\\"), LOG_TEXT("d", "k=v"), LOG_TEXT("e", ""),
              LOG_SPAN("f", "a\0b", 3), LOG_TEXT("g", "\x1b[2J\r\t\x7f"));
    assert_logfmt(captured, "level=info process=progressd module=m "
                            "msg=\"x\\ntime=0 level=error\" a=\"1 b=2\" c=\"say \\\"hi\\\"\\\\\" "
                            "d=\"k=v\" e=\"\" f=\"a\\u0000b\" g=\"\\u001b[2J\\r\\t\\u007f\"");
}

Test(log, terminal_orders_and_line_ends_of_unicode_are_escaped)
{
    int captured = capture();

    log_event(LOG_INFO, "m", "\xc2\x9b[2J", LOG_TEXT("a", "\xe2\x80\xa8\xe2\x80\xa9"),
              LOG_TEXT("b", "caf\xc3\xa9 \xf0\x9f\x8e\xa7"));
    assert_logfmt(captured, "level=info process=progressd module=m msg=\"\\u009b[2J\" "
                            "a=\"\\u2028\\u2029\" b=\"caf\xc3\xa9 \xf0\x9f\x8e\xa7\"");
}

Test(log, bytes_that_are_no_utf8_are_replaced_and_the_json_stays_valid)
{
    static const struct {
        const char *bytes, *shown;
    } cases[] = {
        {"a\xff z", "a\xef\xbf\xbd z"},
        {"\x80\xbf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* overlong */
        {"\xf0\x80\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf8\x88", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"}, /* ends too soon */
        {"\xe2\"", "\xef\xbf\xbd\\\""},           /* a quote within */
        {"\xc3\n", "\xef\xbf\xbd\\n"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"}, /* U+10FFFF is one */
    };
    int captured = capture();
    log_configure(LOG_INFO, LOG_JSON, "x");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char expected[256];
        snprintf(expected, sizeof(expected),
                 "\"level\":\"info\",\"process\":\"x\",\"module\":\"m\",\"msg\":\"%s\"}",
                 cases[i].shown);
        log_event(LOG_INFO, "m", cases[i].bytes);
        assert_json(captured, expected);
    }
}

/* Lines around the longest, of characters of each width: whole, valid, and marked when cut. */
Test(log, a_line_that_is_too_long_is_cut_and_stays_whole)
{
    static const char *const characters[] = {
        "x", " ", "\n", "\x01", "\xc3\xa9", "\xf0\x9f\x8e\xa7", "\xff"};
    static char text[8192];
    int captured = capture();

    for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        const char *whole_end = format == LOG_JSON ? "\"last\":\"z\"}" : " last=z";
        log_configure(LOG_DEBUG, (enum log_format)format, "x");
        for (size_t c = 0; c < ARRAY_LEN(characters); c++) {
            size_t width = strlen(characters[c]);
            for (size_t len = 0; len + width < sizeof(text); len += width) {
                memcpy(text + len, characters[c], width);
                if (len < 600 || (len > 1500 && len < 3900)) {
                    continue;
                }
                log_event(LOG_DEBUG, "m", "m", LOG_SPAN("text", text, len), LOG_INT("n", 12345),
                          LOG_TEXT("last", "z"));
                const char *line = next_line(captured);
                bool marked = strstr(line, "cut") != NULL;
                cr_assert_eq(marked, strstr(line, whole_end) == NULL);
                if (format == LOG_JSON) {
                    assert_is_json(line);
                } else if (marked) {
                    cr_assert_str_eq(line + strlen(line) - 9, " cut=true");
                }
                if (len > 6000) {
                    break;
                }
            }
        }
    }
}

Test(log, many_fields_are_cut_between_fields)
{
    struct log_field fields[301];
    int captured = capture();

    for (size_t i = 0; i < 300; i++) {
        fields[i] = i % 2 ? LOG_INT("number", 1234567890) : LOG_TEXT("text", "a b");
    }
    fields[300] = (struct log_field){.kind = LOG_FIELD_END};
    for (int skip = 0; skip < 30; skip++) {
        static const char pad[] = "pppppppppppppppppppppppppppppp";
        log_configure(LOG_DEBUG, LOG_JSON, pad + skip);
        log_write(LOG_DEBUG, "m", "m", fields);
        const char *line = next_line(captured);
        assert_is_json(line);
        cr_assert_str_eq(line + strlen(line) - 12, ",\"cut\":true}");
    }
}

Test(log, errno_is_kept_even_when_the_line_is_lost)
{
    cr_assert_eq(close(STDERR_FILENO), 0);
    errno = ENOENT;
    log_event(LOG_INFO, "m", "nobody reads this");
    cr_assert_eq(errno, ENOENT);
}

Test(log, a_flood_of_one_kind_is_counted_and_others_are_written)
{
    int captured = capture();

    for (int i = 0; i < 1000; i++) {
        log_event(LOG_WARN, "recorder", "message dropped", LOG_INT("i", i));
    }
    log_event(LOG_INFO, "hub", "message dropped");
    unsigned lines = 0;
    while (strstr(next_line(captured), "module=recorder")) {
        lines++;
    }
    cr_assert(lines >= LOG_LIMIT_BURST && lines < 100, "%u lines", lines);
    log_end();
    char expected[128];
    snprintf(expected, sizeof(expected),
             "level=warn process=progressd module=log msg=\"lines left out\" of_module=recorder "
             "of=\"message dropped\" count=%u",
             1000 - lines);
    assert_logfmt(captured, expected);
    log_end();
    char byte;
    cr_assert_lt(recv(captured, &byte, 1, MSG_DONTWAIT), 0, "it was said twice");
}

/* Standard error becomes a pipe that is full; returns its reading end. */
static int full_pipe(void)
{
    static const char page[4096];
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_geq(fcntl(ends[1], F_SETPIPE_SZ, sizeof(page)), 0);
    cr_assert_eq(write(ends[1], page, sizeof(page)), sizeof(page));
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    return ends[0];
}

static void assert_lost_and_told(int reading)
{
    char buffer[8192];

    alarm(30); /* a log that blocks ends the test */
    log_event(LOG_WARN, "hub", "first");
    log_event(LOG_WARN, "hub", "second");
    log_tick();
    cr_assert_eq(read(reading, buffer, sizeof(buffer)), 4096);
    log_tick();
    ssize_t len = read(reading, buffer, sizeof(buffer) - 1);
    cr_assert_gt(len, 0);
    buffer[len] = '\0';
    cr_assert_not_null(strstr(buffer, "module=log msg=\"lines lost, standard error took no more\" "
                                      "count=2\n"));
    log_event(LOG_WARN, "hub", "third");
    len = read(reading, buffer, sizeof(buffer) - 1);
    cr_assert_gt(len, 0);
}

Test(log, a_pipe_that_nobody_reads_blocks_nothing_and_stays_as_it_is_for_others)
{
    int reading = full_pipe();

    log_configure(LOG_INFO, LOG_LOGFMT, "x");
    assert_lost_and_told(reading);
    cr_assert_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

Test(log, a_pipe_that_was_not_opened_again_blocks_nothing_either)
{
    assert_lost_and_told(full_pipe());
}

Test(log, levels_and_formats_are_known_by_their_names_only)
{
    enum log_level level = LOG_WARN;
    enum log_format format = LOG_JSON;

    cr_assert_eq(log_level_from_name("debug", &level), 0);
    cr_assert_eq(level, LOG_DEBUG);
    cr_assert_eq(log_level_from_name("error", &level), 0);
    cr_assert_eq(level, LOG_ERROR);
    cr_assert_eq(log_level_from_name("Debug", &level), -EINVAL);
    cr_assert_eq(log_level_from_name("", &level), -EINVAL);
    cr_assert_eq(level, LOG_ERROR);

    cr_assert_eq(log_format_from_name("logfmt", &format), 0);
    cr_assert_eq(format, LOG_LOGFMT);
    cr_assert_eq(log_format_from_name("json ", &format), -EINVAL);
    cr_assert_eq(format, LOG_LOGFMT);
}
