#include "broker/net/proxy_stream.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#define HEADER "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"

static uv_loop_t loop;
static struct stream stream;
static int peer;
static int headers; /* that came */
static bool was_valid, closed;
static struct proxy_header last;
static char received[64];
static size_t received_len;
static ssize_t failed;

static void on_readable(struct stream *from)
{
    uint8_t *data;
    ssize_t n = stream_read(from, STREAM_READ_MAX, &data);

    if (n < 0) {
        failed = n;
        stream_want_read(from, false);
    } else if (n > 0) {
        memcpy(received + received_len, data, (size_t)n);
        received_len += (size_t)n;
    }
}

static void on_closed(struct stream *from)
{
    closed = true;
}

static const struct stream_events events = {.on_readable = on_readable, .on_closed = on_closed};

static void on_header(struct stream *from, const struct proxy_header *header)
{
    headers++;
    was_valid = header;
    if (header) {
        last = *header;
    }
}

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void set_up(void)
{
    int pair[2];

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    peer = pair[1];
    cr_assert_eq(stream_open(&stream, &loop, pair[0], &events), 0);
    cr_assert_eq(proxy_stream_begin(&stream, on_header), 0);
    stream_want_read(&stream, true);
    turn();
}

static void end(void)
{
    stream_close(&stream);
    turn();
    cr_assert(closed);
    close(peer);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(proxy_stream, .init = set_up);

static void say(const char *data, size_t len)
{
    cr_assert_eq(write(peer, data, len), (ssize_t)len);
    turn();
    turn();
}

static void expect_client(const char *bytes)
{
    cr_expect_eq(headers, 1);
    cr_expect(was_valid);
    cr_expect_eq(last.ip_len, 4);
    cr_expect_eq(memcmp(last.ip, "\xc0\x00\x02\x01", 4), 0);
    cr_expect_eq(received_len, strlen(bytes));
    cr_expect_eq(memcmp(received, bytes, received_len), 0);
}

Test(proxy_stream, takes_the_header_and_leaves_the_rest)
{
    say(HEADER "hello", strlen(HEADER "hello"));
    expect_client("hello");
    say(", you", 5);
    expect_client("hello, you");
    end();
}

Test(proxy_stream, takes_a_header_byte_by_byte)
{
    for (const char *at = HEADER "hello"; *at; at++) {
        say(at, 1);
    }
    expect_client("hello");
    end();
}

Test(proxy_stream, does_not_turn_the_loop_for_half_a_header)
{
    say(HEADER, 20);
    char byte;
    cr_expect_eq(recv(stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1, "it was taken");
    cr_expect_eq(stream.interest, UV_READABLE);
    cr_expect_eq(headers, 0);
    end();
}

Test(proxy_stream, says_that_there_is_none)
{
    say("GET / HTTP/1.1\r\n", 16);
    cr_expect_eq(headers, 1);
    cr_expect(!was_valid);
    cr_expect_eq(failed, UV_EPROTO);
    end();
}

Test(proxy_stream, tells_the_end_of_a_peer_that_says_nothing)
{
    shutdown(peer, SHUT_WR);
    turn();
    turn();
    cr_expect_eq(headers, 0);
    cr_expect_eq(failed, UV_EOF);
    end();
}

static void close_in_header(struct stream *from, const struct proxy_header *header)
{
    headers++;
    stream_close(from);
}

Test(proxy_stream, may_be_closed_when_the_header_comes)
{
    static const char *const texts[] = {HEADER "hello", "no header"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (i > 0) {
            closed = false;
            headers = 0;
            set_up();
        }
        struct {
            proxy_stream_header_fn on_header;
        } *state = stream.transport_state;
        state->on_header = close_in_header;
        say(texts[i], strlen(texts[i]));
        cr_expect_eq(headers, 1);
        cr_expect(closed);
        end();
    }
}
