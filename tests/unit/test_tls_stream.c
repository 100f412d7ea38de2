#include "broker/net/tls_stream.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/support/certificates.h"

TestSuite(tls_stream, .init = certificates_set_up, .fini = certificates_tear_down);

/* ── Two streams, one at each end of a socket ────────────────────────────────────────────────── */

#define HOST "progress.example"

struct side {
    struct stream stream;
    struct fixture *fixture;
    const char *to_send; /* what is left of it is sent as the stream takes it */
    size_t to_send_len;
    uint8_t *received;
    size_t received_len, received_max;
    ssize_t failed; /* what a read or write returned; 0: nothing went wrong */
    const char *why;
    bool has_ended, closed;
};

struct fixture {
    uv_loop_t loop;
    struct tls_tickets tickets;
    struct tls_context *server_context, *client_context;
    struct tls_room server_room, client_room;
    struct side server, client;
};

static struct side *side_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct side, stream);
}

static void fail(struct side *side, ssize_t rc)
{
    side->failed = rc;
    side->why = tls_stream_why(&side->stream);
    stream_want_read(&side->stream, false);
}

static void send_on(struct side *side)
{
    while (side->to_send_len > 0 && side->failed == 0) {
        /* In two parts, as the frames of a batch are. */
        const struct iovec vector[] = {
            {(void *)side->to_send, side->to_send_len / 3},
            {(void *)(side->to_send + side->to_send_len / 3),
             side->to_send_len - side->to_send_len / 3},
        };
        ssize_t n = stream_writev(&side->stream, vector, 2);
        if (n < 0) {
            fail(side, n);
            return;
        }
        if (n == 0) {
            stream_want_write(&side->stream);
            return;
        }
        side->to_send += n;
        side->to_send_len -= (size_t)n;
    }
}

static void on_readable(struct stream *stream)
{
    struct side *side = side_of(stream);
    uint8_t *data;
    ssize_t n = stream_read(stream, STREAM_READ_MAX, &data);

    if (n == UV_EOF) {
        side->has_ended = true;
        stream_want_read(stream, false);
    } else if (n < 0) {
        fail(side, n);
    } else if (n > 0) {
        cr_assert_leq(side->received_len + (size_t)n, side->received_max);
        memcpy(side->received + side->received_len, data, (size_t)n);
        side->received_len += (size_t)n;
    }
}

static void on_writable(struct stream *stream)
{
    send_on(side_of(stream));
}

static void on_closed(struct stream *stream)
{
    side_of(stream)->closed = true;
}

static const struct stream_events events = {
    .on_readable = on_readable, .on_writable = on_writable, .on_closed = on_closed};

static void open_side(struct side *side, struct fixture *fixture, int fd)
{
    side->fixture = fixture;
    side->received_max = 2 << 20;
    side->received = malloc(side->received_max);
    cr_assert_eq(stream_open(&side->stream, &fixture->loop, fd, &events), 0);
}

/* Contexts and rooms, and no stream yet. */
static void set_up(struct fixture *fixture)
{
    struct tls_ticket_secret secret;
    const struct tls_certificate own = {make_certificate("own.pem", "DNS:" HOST, 3600), NULL};
    const struct tls_certificate none = {NULL, NULL};
    char why[TLS_WHY_SIZE];

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does: OpenSSL's write(2) may raise it */
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    cr_assert_eq(tls_ticket_secret_make(&secret, time(NULL)), 0);
    cr_assert_eq(tls_tickets_init(&fixture->tickets, &secret, time(NULL)), 0);
    cr_assert_eq(tls_context_new_server(&own, 1, &fixture->tickets, &fixture->server_context, why),
                 0);
    cr_assert_eq(tls_context_new_client(own.chain_file, &none, &fixture->client_context, why), 0);
    fixture->server_room.metrics = calloc(1, sizeof(struct metrics_slot));
    fixture->client_room.metrics = calloc(1, sizeof(struct metrics_slot));
}

static void socket_pair(int ret_pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_pair), 0);
}

static void open_server(struct fixture *fixture, int fd)
{
    open_side(&fixture->server, fixture, fd);
    cr_assert_eq(
        tls_stream_accept(&fixture->server.stream, fixture->server_context, &fixture->server_room),
        0);
    stream_want_read(&fixture->server.stream, true);
}

static void open_client(struct fixture *fixture, int fd, const char *host)
{
    open_side(&fixture->client, fixture, fd);
    cr_assert_eq(tls_stream_connect(&fixture->client.stream, fixture->client_context, host,
                                    &fixture->client_room),
                 0);
    stream_want_read(&fixture->client.stream, true);
}

static void open_both(struct fixture *fixture)
{
    int pair[2];

    set_up(fixture);
    socket_pair(pair);
    open_server(fixture, pair[0]);
    open_client(fixture, pair[1], HOST);
}

/* Turns the loop until it holds, or many turns have passed. */
#define TURNS_UNTIL(fixture, holds)                       \
    do {                                                  \
        for (int i_ = 0; i_ < 100000 && !(holds); i_++) { \
            uv_run(&(fixture)->loop, UV_RUN_NOWAIT);      \
        }                                                 \
        cr_assert(holds);                                 \
    } while (0)

static void close_side(struct side *side)
{
    if (side->fixture) {
        stream_close(&side->stream);
        TURNS_UNTIL(side->fixture, side->closed);
        free(side->received);
    }
}

static void tear_down(struct fixture *fixture)
{
    close_side(&fixture->client);
    close_side(&fixture->server);
    tls_context_free(fixture->server_context);
    tls_context_free(fixture->client_context);
    free(fixture->server_room.metrics);
    free(fixture->client_room.metrics);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
}

static void say(struct side *side, const char *text, size_t len)
{
    side->to_send = text;
    side->to_send_len = len;
    send_on(side);
}

static bool has_received(const struct side *side, const char *text)
{
    return side->received_len == strlen(text) &&
           memcmp(side->received, text, side->received_len) == 0;
}

/* ── What goes well ──────────────────────────────────────────────────────────────────────────── */

Test(tls_stream, carries_bytes_both_ways)
{
    struct fixture fixture;

    open_both(&fixture);
    say(&fixture.client, "hello", 5);
    TURNS_UNTIL(&fixture, has_received(&fixture.server, "hello"));
    say(&fixture.server, "welcome", 7);
    TURNS_UNTIL(&fixture, has_received(&fixture.client, "welcome"));
    cr_expect_eq(metric_read(fixture.server_room.metrics, METRIC_TLS_FULL), 1);
    tear_down(&fixture);
}

static char *many_bytes(size_t len)
{
    char *bytes = malloc(len);

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    return bytes;
}

/* The one that takes its time reads nothing until the other is held. */
static void expect_order(struct fixture *fixture, struct side *from, struct side *to)
{
    const size_t len = 1 << 20;
    char *bytes = many_bytes(len);

    say(from, "x", 1);
    TURNS_UNTIL(fixture, to->received_len == 1);
    to->received_len = 0;
    stream_want_read(&to->stream, false);
    say(from, bytes, len);
    TURNS_UNTIL(fixture, stream_is_held(&from->stream));
    cr_expect_gt(from->to_send_len, 0);
    stream_want_read(&to->stream, true);
    TURNS_UNTIL(fixture, to->received_len == len);
    cr_expect_eq(memcmp(to->received, bytes, len), 0);
    cr_expect(!stream_is_held(&from->stream));
    free(bytes);
}

Test(tls_stream, holds_one_record_for_a_client_that_does_not_read)
{
    struct fixture fixture;

    open_both(&fixture);
    expect_order(&fixture, &fixture.server, &fixture.client);
    tear_down(&fixture);
}

Test(tls_stream, holds_one_record_for_a_server_that_does_not_read)
{
    struct fixture fixture;

    open_both(&fixture);
    expect_order(&fixture, &fixture.client, &fixture.server);
    tear_down(&fixture);
}

/* Passes on one byte a turn, so that records are cut at every place. */
static void pump(int from, int to)
{
    char byte;

    if (read(from, &byte, 1) == 1) {
        cr_assert_eq(write(to, &byte, 1), 1);
    }
}

Test(tls_stream, takes_records_byte_by_byte)
{
    struct fixture fixture;
    int at_server[2], at_client[2];

    set_up(&fixture);
    socket_pair(at_server);
    socket_pair(at_client);
    open_server(&fixture, at_server[0]);
    open_client(&fixture, at_client[0], HOST);
    say(&fixture.client, "hello", 5);
    for (int i = 0; i < 100000 && !has_received(&fixture.server, "hello"); i++) {
        pump(at_server[1], at_client[1]);
        pump(at_client[1], at_server[1]);
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    cr_expect(has_received(&fixture.server, "hello"));
    tear_down(&fixture);
    close(at_server[1]);
    close(at_client[1]);
}

Test(tls_stream, tells_the_peers_end)
{
    struct fixture fixture;

    open_both(&fixture);
    say(&fixture.client, "bye", 3);
    TURNS_UNTIL(&fixture, has_received(&fixture.server, "bye"));
    stream_shutdown(&fixture.client.stream);
    TURNS_UNTIL(&fixture, fixture.server.has_ended);
    say(&fixture.server, "all of it", 9);
    TURNS_UNTIL(&fixture, has_received(&fixture.client, "all of it"));
    stream_close(&fixture.server.stream);
    TURNS_UNTIL(&fixture, fixture.client.has_ended);
    cr_expect_eq(fixture.client.failed, 0);
    cr_expect_eq(fixture.server.failed, 0);
    tear_down(&fixture);
}

Test(tls_stream, waits_for_input_without_turning_the_loop)
{
    struct fixture fixture;
    int pair[2];

    set_up(&fixture);
    socket_pair(pair);
    open_client(&fixture, pair[1], HOST);
    say(&fixture.client, "hello", 5); /* is not taken before the handshake is through */
    for (int i = 0; i < 3; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    struct pollfd client = {.fd = pair[1], .events = POLLOUT};
    cr_assert_eq(poll(&client, 1, 0), 1, "there is room, but that is not what it waits for");
    cr_expect_eq(uv_backend_timeout(&fixture.loop), -1);
    cr_expect_eq(fixture.client.stream.interest, UV_READABLE);
    tear_down(&fixture);
    close(pair[0]);
}

/* ── What goes wrong ─────────────────────────────────────────────────────────────────────────── */

Test(tls_stream, says_why_a_server_is_not_trusted)
{
    struct fixture fixture;
    int pair[2];

    set_up(&fixture);
    socket_pair(pair);
    open_server(&fixture, pair[0]);
    open_client(&fixture, pair[1], "another.example");
    TURNS_UNTIL(&fixture, fixture.client.failed && fixture.server.failed);
    cr_expect_eq(fixture.client.failed, UV_EPROTO);
    cr_expect_str_eq(fixture.client.why, "hostname mismatch");
    cr_expect_eq(metric_read(fixture.server_room.metrics, METRIC_TLS_FAILED), 1);
    tear_down(&fixture);
}

static void say_in_plain(struct fixture *fixture, const char *text, int ret_pair[2])
{
    set_up(fixture);
    socket_pair(ret_pair);
    open_server(fixture, ret_pair[0]);
    cr_assert_eq(write(ret_pair[1], text, strlen(text)), (ssize_t)strlen(text));
    TURNS_UNTIL(fixture, fixture->server.failed == UV_EPROTO);
    stream_close(&fixture->server.stream);
}

Test(tls_stream, answers_plain_http)
{
    struct fixture fixture;
    int pair[2];
    char answer[512] = "";

    say_in_plain(&fixture, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", pair);
    cr_expect_gt(read(pair[1], answer, sizeof(answer) - 1), 0);
    const char *body = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(body);
    cr_expect(strncmp(answer, "HTTP/1.1 400 ", 13) == 0, "%s", answer);
    cr_expect(strstr(answer, "Content-Length: 42\r\n"), "%s", answer);
    cr_expect_eq(strlen(body + 4), 42, "%s", answer);
    tear_down(&fixture);
    close(pair[1]);
}

Test(tls_stream, fails_over_what_is_neither)
{
    struct fixture fixture;
    int pair[2];

    say_in_plain(&fixture, "\x01\x02\x03\x04\x05\x06\x07\x08", pair);
    cr_expect_eq(metric_read(fixture.server_room.metrics, METRIC_TLS_FAILED), 1);
    tear_down(&fixture);
    close(pair[1]);
}

Test(tls_stream, fails_when_the_peer_goes_during_the_handshake)
{
    struct fixture fixture;
    int pair[2];

    set_up(&fixture);
    socket_pair(pair);
    open_server(&fixture, pair[0]);
    close(pair[1]);
    TURNS_UNTIL(&fixture, fixture.server.failed == UV_EPROTO || fixture.server.has_ended);
    tear_down(&fixture);
}

Test(tls_stream, leaves_a_spent_turn_to_others)
{
    struct fixture fixture;

    open_both(&fixture);
    struct stream *stream = &fixture.server.stream;
    TURNS_UNTIL(&fixture, !fixture.client.stream.is_held || fixture.client.stream.awaits_input);
    stream_want_read(&fixture.client.stream, false);
    /* As if others had shaken hands in this turn already. */
    fixture.server_room.turn_ms = uv_now(&fixture.loop);
    fixture.server_room.spent_ns = (uint64_t)TLS_TURN_MS * 1000000;
    fixture.server.stream.is_held = true;
    cr_assert_eq(stream->transport->flush(stream), 0);
    cr_expect(stream->is_held);
    cr_expect(!stream->awaits_input, "the next turn comes at once");
    fixture.server_room.spent_ns = 0;
    stream_want_read(&fixture.client.stream, true);
    say(&fixture.client, "hello", 5);
    TURNS_UNTIL(&fixture, has_received(&fixture.server, "hello"));
    tear_down(&fixture);
}
