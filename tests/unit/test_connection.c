#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/net/connection.h"
#include "common/mem.h"
#include "proto/http_response.h"
#include "proto/ws_handshake.h"

/* ── A socket that takes only so much ────────────────────────────────────────────────────────── */

/* Bytes that the connection's socket still takes; then it is EAGAIN, until that is over. Stands in
 * for a slow client, to the byte. */
static size_t send_budget = SIZE_MAX;
static int budgeted_fd = -1;

/* In place of libc's. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec vector[256];
    struct msghdr cut = {.msg_iov = vector};
    size_t left = fd == budgeted_fd ? send_budget : SIZE_MAX;
    ssize_t n;

    for (size_t i = 0; i < message->msg_iovlen && i < ARRAY_LEN(vector) && left > 0; i++) {
        vector[i] = message->msg_iov[i];
        vector[i].iov_len = vector[i].iov_len < left ? vector[i].iov_len : left;
        left -= vector[i].iov_len;
        cut.msg_iovlen++;
    }
    if (cut.msg_iovlen == 0) {
        errno = EAGAIN;
        return -1;
    }
    n = syscall(SYS_sendmsg, fd, &cut, flags);
    if (n > 0 && fd == budgeted_fd && send_budget != SIZE_MAX) {
        send_budget -= (size_t)n;
    }
    return n;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    struct iovec vector = {(void *)data, len};

    return sendmsg(fd, &(struct msghdr){.msg_iov = &vector, .msg_iovlen = 1}, flags);
}

/* ── A connection with its owner, and the client at the other end of a socket pair ───────────── */

#define FIN 0x80
#define MAX_MESSAGE 1000000
#define LOG_SIZE 16384

struct fixture {
    uv_loop_t loop;
    struct metrics_slot metrics;
    struct connection_settings settings;
    struct connection connection;
    int peer;
    char log[LOG_SIZE]; /* the events, "; " behind each */
    int closed;
    uint32_t requests;
    bool flush_due, later; /* later: requests are not answered by on_request */
    bool pauses;           /* behind each message */
    /* Frames of tasks still to be collected, at most `collect_max` at once. */
    struct bytes *frames[256];
    size_t frame_count, frames_taken, collect_max;
    uint64_t taken_n;
    void (*on_event)(struct fixture *fixture, const char *event);
    size_t received_len;
    char received[1 << 17];
};

static struct fixture *fixture_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct fixture, connection);
}

static void note(struct fixture *fixture, const char *format, ...)
{
    size_t len = strlen(fixture->log);
    char *event = fixture->log + len;
    char copy[256];
    va_list arguments;

    cr_assert_eq(fixture->closed, 0, "nothing comes after closed");
    va_start(arguments, format);
    vsnprintf(event, LOG_SIZE - len, format, arguments);
    va_end(arguments);
    snprintf(copy, sizeof(copy), "%s", event);
    strncat(fixture->log, "; ", LOG_SIZE - strlen(fixture->log) - 1);
    if (fixture->on_event) {
        fixture->on_event(fixture, copy);
    }
}

static struct bytes *response_of(const char *body)
{
    struct text text = TEXT_EMPTY;
    struct bytes *bytes;

    http_response_write(&text, &(struct http_response){.status = 200,
                                                       .content_type = "text/plain",
                                                       .body = {body, strlen(body)}});
    bytes = text_to_bytes(&text);
    text_deinit(&text);
    return bytes;
}

/* What /shared is answered with, behind a response of its own. */
static struct bytes *shared_body;

/* Answers /ws by an upgrade, /close and then closes, anything else by its path. */
static void answer(struct connection *connection, const struct http_request *request)
{
    struct span path = http_request_path(request);
    struct text text = TEXT_EMPTY;
    char body[64];

    snprintf(body, sizeof(body), "%.*s", (int)path.len, path.at);
    if (strcmp(body, "/ws") == 0) {
        struct bytes *bytes;

        cr_assert_eq(ws_handshake_respond(&text, request), 0);
        bytes = text_to_bytes(&text);
        text_deinit(&text);
        connection_upgrade(connection, bytes);
    } else if (strncmp(body, "/shared", strlen("/shared")) == 0) {
        connection_respond_shared(connection, response_of(""), bytes_ref(shared_body), false);
    } else {
        connection_respond(connection, response_of(body), strcmp(body, "/close") == 0);
    }
}

static void on_request(struct connection *connection, const struct http_request *request)
{
    struct fixture *fixture = fixture_of(connection);
    struct span path = http_request_path(request);

    fixture->requests++;
    note(fixture, "request %.*s", (int)path.len, path.at);
    if (!fixture->later) {
        answer(connection, request);
    }
}

static void on_message(struct connection *connection, enum ws_opcode opcode, const uint8_t *payload,
                       uint32_t len)
{
    if (len > 40) {
        note(fixture_of(connection), "%s [%u]", opcode == WS_TEXT ? "text" : "binary", len);
    } else {
        note(fixture_of(connection), "%s %.*s", opcode == WS_TEXT ? "text" : "binary", (int)len,
             payload);
    }
    if (fixture_of(connection)->pauses) {
        connection_pause(connection);
    }
}

static size_t on_collect(struct connection *connection, struct connection_frame *frames, size_t max)
{
    struct fixture *fixture = fixture_of(connection);
    size_t count = 0;

    if (max > fixture->collect_max) {
        max = fixture->collect_max;
    }
    while (count < max && fixture->frames_taken + count < fixture->frame_count) {
        size_t i = fixture->frames_taken + count;

        frames[count++] = (struct connection_frame){fixture->frames[i], fixture, 100 + i};
    }
    return count;
}

static void on_taken(struct connection *connection, const struct connection_frame *frame)
{
    struct fixture *fixture = fixture_of(connection);

    cr_assert_eq(frame->context, fixture);
    cr_assert_eq(frame->n, 100 + fixture->frames_taken, "in order, each once");
    fixture->frames_taken++;
}

static void on_flush_due(struct connection *connection)
{
    struct fixture *fixture = fixture_of(connection);

    cr_assert(!fixture->flush_due, "comes once until the flush");
    fixture->flush_due = true;
}

static void on_ending(struct connection *connection)
{
    if (!connection->is_shut) {
        note(fixture_of(connection), "ending");
    }
}

static void on_closed(struct connection *connection)
{
    note(fixture_of(connection), "closed");
    fixture_of(connection)->closed++;
}

static void on_begun(struct connection *connection)
{
}

static const struct connection_events events = {on_begun, on_request,   on_message, on_collect,
                                                on_taken, on_flush_due, on_ending,  on_closed};

/* On the heap, so that memory it is used after closing is seen. */
static struct fixture *open_http(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int pair[2];

    fixture->collect_max = SIZE_MAX;
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    fixture->settings = (struct connection_settings){.loop = &fixture->loop,
                                                     .metrics = &fixture->metrics,
                                                     .max_message = MAX_MESSAGE,
                                                     .events = &events};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    fixture->peer = pair[1];
    budgeted_fd = pair[0];
    cr_assert_eq(connection_open(&fixture->connection, pair[0], &fixture->settings), 0);
    return fixture;
}

static void flush(struct fixture *fixture)
{
    while (fixture->flush_due && !fixture->closed) {
        fixture->flush_due = false;
        connection_flush(&fixture->connection);
    }
}

/* A turn of the loop: what was due before it is written first, as in a worker. */
static void turn(struct fixture *fixture)
{
    flush(fixture);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    flush(fixture);
}

static void end(struct fixture *fixture)
{
    if (!fixture->closed) {
        connection_abort(&fixture->connection);
        connection_abort(&fixture->connection);
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(fixture->closed, 1);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    for (size_t i = 0; i < fixture->frame_count; i++) {
        bytes_unref(fixture->frames[i]);
    }
    if (fixture->peer >= 0) {
        close(fixture->peer);
    }
    free(fixture);
}

static void say_bytes(struct fixture *fixture, const void *data, size_t len)
{
    cr_assert_eq(write(fixture->peer, data, len), (ssize_t)len);
}

static void say(struct fixture *fixture, const char *text)
{
    say_bytes(fixture, text, strlen(text));
}

/* Reads what there is; whether the end came. */
static bool hear(struct fixture *fixture)
{
    ssize_t n;

    while ((n = read(fixture->peer, fixture->received + fixture->received_len,
                     sizeof(fixture->received) - 1 - fixture->received_len)) > 0) {
        fixture->received_len += (size_t)n;
    }
    fixture->received[fixture->received_len] = '\0';
    return n == 0;
}

static void forget_received(struct fixture *fixture)
{
    hear(fixture);
    fixture->received_len = 0;
}

/* ── HTTP ────────────────────────────────────────────────────────────────────────────────────── */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define UPGRADE                                                             \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"                \
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Version: 13\r\n\r\n"

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;

    for (; (text = strstr(text, what)); text++) {
        count++;
    }
    return count;
}

Test(connection, answers_requests_one_after_the_other)
{
    struct fixture *fixture = open_http();

    say(fixture, GET("/a"));
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; ");
    say(fixture, GET("/b"));
    turn(fixture);
    hear(fixture);
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200 OK"), 2);
    cr_assert_eq(fixture->connection.state, CONNECTION_REQUEST);
    end(fixture);
}

Test(connection, reads_a_request_byte_by_byte)
{
    struct fixture *fixture = open_http();
    const char *text = GET("/a") GET("/b");

    for (const char *at = text; *at; at++) {
        say_bytes(fixture, at, 1);
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    end(fixture);
}

Test(connection, answers_pipelined_requests_in_order)
{
    struct fixture *fixture = open_http();
    char expected[4096] = "", path[16], request[64];
    const char *at;

    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "/%d", i);
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
        say(fixture, request);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "request %s; ",
                 path);
    }
    turn(fixture); /* without any further event: more than are looked at before answers go */
    hear(fixture);
    cr_assert_str_eq(fixture->log, expected);
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 200);
    at = fixture->received;
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "\r\n\r\n/%d", i);
        at = strstr(at, path);
        cr_assert_not_null(at, "answer %d is in its place", i);
    }
    end(fixture);
}

Test(connection, who_pipelines_and_does_not_read_is_not_read_either)
{
    struct fixture *fixture = open_http();
    const char *request = GET("/0123456789");
    const size_t len = strlen(request);
    size_t sent = 0;

    send_budget = 10000;
    for (ssize_t n = 1; n > 0; sent += n > 0 ? (size_t)n : 0) {
        n = write(fixture->peer, request + sent % len, len - sent % len);
        turn(fixture);
    }
    cr_assert(fixture->connection.blocked);
    cr_assert(!fixture->connection.stream.wants_read);
    cr_assert_leq(metric_read(&fixture->metrics, METRIC_BYTES_RECEIVED), 2 * STREAM_READ_MAX);
    send_budget = SIZE_MAX; /* and all is answered once it reads */
    for (uint32_t before = UINT32_MAX; before != fixture->requests;) {
        before = fixture->requests;
        for (int i = 0; i < 3; i++) {
            forget_received(fixture);
            turn(fixture);
        }
    }
    cr_assert_eq(metric_read(&fixture->metrics, METRIC_BYTES_RECEIVED), sent);
    cr_assert_eq(fixture->requests, sent / len);
    end(fixture);
}

static void expect_shared_bodies(const struct bytes *body, unsigned count)
{
    struct fixture *fixture = open_http();
    const char *at = fixture->received;

    shared_body = bytes_copy(body->data, body->len);
    for (unsigned i = 0; i < count; i++) {
        say(fixture, GET("/shared"));
    }
    for (int i = 0; i < 2000; i++) { /* a client that takes it byte by byte */
        send_budget = 1;
        turn(fixture);
        hear(fixture);
    }
    send_budget = SIZE_MAX;
    for (unsigned i = 0; i < count; i++) {
        at = strstr(at, "\r\n\r\n");
        cr_assert_not_null(at, "response %u of %u", i, count);
        at += 4;
        cr_assert_arr_eq(at, body->data, body->len);
        at += body->len;
    }
    cr_assert_eq(at, fixture->received + fixture->received_len);
    cr_assert_eq(shared_body->refs, 1, "all that was sent is let go");
    end(fixture);
    bytes_unref(TAKE(shared_body));
}

Test(connection, a_response_may_end_in_a_body_that_others_are_sent_too)
{
    struct bytes *body = bytes_copy("hello", 5), *empty = bytes_new(0);
    struct bytes *like_a_pong = bytes_copy((uint8_t[]){0x80 | WS_PONG, 1}, 2);

    expect_shared_bodies(body, 3);
    expect_shared_bodies(empty, 3);
    expect_shared_bodies(like_a_pong, 20);
    bytes_unref(body);
    bytes_unref(empty);
    bytes_unref(like_a_pong);
}

Test(connection, who_goes_while_a_shared_body_is_sent_lets_go_of_it)
{
    struct fixture *fixture = open_http();

    shared_body = bytes_new(1 << 20);
    memset(shared_body->data, 'x', shared_body->len);
    send_budget = 1000;
    say(fixture, GET("/shared") GET("/shared"));
    turn(fixture);
    cr_assert_eq(shared_body->refs, 3);
    end(fixture);
    cr_assert_eq(shared_body->refs, 1);
    bytes_unref(TAKE(shared_body));
}

Test(connection, can_be_answered_later_and_reads_nothing_meanwhile)
{
    struct fixture *fixture = open_http();

    fixture->later = true;
    say(fixture, GET("/a") GET("/b") "GET /c HT");
    turn(fixture);
    say(fixture, "TP/1.1\r\nHost: h\r\n\r\n");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; ");
    cr_assert(!fixture->connection.stream.wants_read);
    answer(&fixture->connection, fixture->connection.request);
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    turn(fixture);
    answer(&fixture->connection, fixture->connection.request);
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; request /b; request /c; ");
    answer(&fixture->connection, fixture->connection.request);
    turn(fixture);
    hear(fixture);
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 3);
    end(fixture);
}

Test(connection, an_answer_after_it_was_closed_is_dropped)
{
    for (int upgrade = 0; upgrade <= 1; upgrade++) {
        struct fixture *fixture = open_http();

        fixture->later = true;
        say(fixture, upgrade ? UPGRADE : GET("/a"));
        turn(fixture);
        connection_abort(&fixture->connection);
        answer(&fixture->connection, fixture->connection.request);
        turn(fixture);
        hear(fixture);
        cr_assert_eq(fixture->received_len, 0);
        cr_assert_eq(fixture->closed, 1);
        end(fixture);
    }
}

Test(connection, closes_behind_the_last_answer)
{
    struct fixture *fixture = open_http();

    say(fixture, GET("/close") GET("/never"));
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /close; ending; ");
    cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING);
    cr_assert(hear(fixture), "the end follows the answer");
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 1);
    say(fixture, "what comes now is dropped");
    turn(fixture);
    cr_assert_eq(fixture->closed, 0);
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /close; ending; closed; ");
    end(fixture);
}

Test(connection, a_client_that_ends_its_side_early_still_gets_its_answer)
{
    struct fixture *fixture = open_http();

    fixture->later = true;
    say(fixture, GET("/a"));
    shutdown(fixture->peer, SHUT_WR);
    turn(fixture);
    turn(fixture);
    cr_assert_eq(fixture->closed, 0);
    answer(&fixture->connection, fixture->connection.request);
    turn(fixture);
    turn(fixture);
    turn(fixture);
    cr_assert(hear(fixture));
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 1);
    cr_assert_str_eq(fixture->log, "request /a; closed; ");
    end(fixture);
}

Test(connection, refuses_what_is_no_http_and_closes)
{
    static char long_header[HTTP_REQUEST_MAX + 1000], long_body[200];
    const struct {
        const char *request, *status;
    } cases[] = {
        {"\x16\x03\x01", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        {long_header, "HTTP/1.1 431"},
        {long_body, "HTTP/1.1 413"},
    };

    snprintf(long_header, sizeof(long_header), "GET / HTTP/1.1\r\nHost: h\r\nX: %0*d",
             HTTP_REQUEST_MAX, 0);
    snprintf(long_body, sizeof(long_body),
             "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", HTTP_REQUEST_BODY_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_http();

        say(fixture, cases[i].request);
        turn(fixture);
        turn(fixture);
        cr_assert(hear(fixture), "case %zu", i);
        cr_assert_eq(strncmp(fixture->received, cases[i].status, 12), 0, "%s", fixture->received);
        cr_assert_not_null(strstr(fixture->received, "Connection: close"));
        cr_assert_str_eq(fixture->log, "ending; ");
        end(fixture);
    }
}

/* ── WebSocket ───────────────────────────────────────────────────────────────────────────────── */

static size_t put_frame(uint8_t *at, uint8_t first, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    uint8_t header[WS_HEADER_MAX];
    size_t header_len = ws_frame_header(header, WS_TEXT, len, mask);

    header[0] = first;
    memcpy(at, header, header_len);
    memcpy(at + header_len, payload, len);
    ws_mask(at + header_len, len, mask, 0);
    return header_len + len;
}

static void say_frame(struct fixture *fixture, uint8_t first, const char *payload)
{
    uint8_t frame[1024];

    say_bytes(fixture, frame, put_frame(frame, first, payload, strlen(payload)));
}

static struct fixture *open_websocket(void)
{
    struct fixture *fixture = open_http();

    say(fixture, UPGRADE);
    turn(fixture);
    hear(fixture);
    cr_assert_eq(strncmp(fixture->received, "HTTP/1.1 101", 12), 0);
    cr_assert_eq(fixture->connection.state, CONNECTION_OPEN);
    forget_received(fixture);
    fixture->log[0] = '\0';
    return fixture;
}

/* What was received, as "text hello; close 1000; ", all of it whole frames of a server. */
static const char *frames_heard(struct fixture *fixture)
{
    static const char *const names[16] = {
        [WS_TEXT] = "text", [WS_BINARY] = "binary", [WS_CLOSE] = "close",
        [WS_PING] = "ping", [WS_PONG] = "pong",
    };
    static char text[LOG_SIZE];
    struct ws_parser parser;
    struct ws_event event;
    uint8_t *at = (uint8_t *)fixture->received;
    size_t left, used;

    hear(fixture);
    left = fixture->received_len;
    text[0] = '\0';
    ws_parser_init(&parser, WS_PEER_SERVER, MAX_MESSAGE);
    while (ws_parser_feed(&parser, at, left, &used, &event) == WS_EVENT) {
        size_t len = strlen(text);

        if (event.opcode == WS_CLOSE) {
            snprintf(text + len, sizeof(text) - len, "close %u; ", event.close_code);
        } else {
            snprintf(text + len, sizeof(text) - len, "%s %.*s; ", names[event.opcode],
                     (int)event.len, event.payload);
        }
        at += used;
        left -= used;
    }
    cr_assert(!ws_parser_is_midway(&parser), "whole frames");
    ws_parser_deinit(&parser);
    return text;
}

Test(connection, takes_messages_and_sends_frames)
{
    struct fixture *fixture = open_websocket();

    say_frame(fixture, FIN | WS_TEXT, "hello");
    say_frame(fixture, FIN | WS_BINARY, "bin");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text hello; binary bin; ");
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "one", 3));
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "two", 3));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text one; text two; ");
    end(fixture);
}

Test(connection, takes_frames_right_behind_the_request)
{
    for (int later = 0; later <= 1; later++) {
        struct fixture *fixture = open_http();
        uint8_t bytes[1024];
        size_t len = strlen(UPGRADE);

        fixture->later = later;
        memcpy(bytes, UPGRADE, len);
        len += put_frame(bytes + len, FIN | WS_TEXT, "a", 1);
        len += put_frame(bytes + len, FIN | WS_TEXT, "bc", 2);
        say_bytes(fixture, bytes, len - 1);
        turn(fixture);
        if (later) {
            cr_assert_str_eq(fixture->log, "request /ws; ");
            answer(&fixture->connection, fixture->connection.request);
        }
        say_bytes(fixture, bytes + len - 1, 1);
        turn(fixture);
        cr_assert_str_eq(fixture->log, "request /ws; text a; text bc; ");
        end(fixture);
    }
}

Test(connection, takes_all_of_it_byte_by_byte)
{
    struct fixture *fixture = open_http();
    uint8_t bytes[1024];
    size_t len = strlen(UPGRADE);

    memcpy(bytes, UPGRADE, len);
    len += put_frame(bytes + len, WS_TEXT, "ab", 2);
    len += put_frame(bytes + len, FIN | WS_PING, "p", 1);
    len += put_frame(bytes + len, FIN | WS_CONTINUATION, "cd", 2);
    len += put_frame(bytes + len, FIN | WS_CLOSE, "\x03\xe8", 2);
    for (size_t i = 0; i < len; i++) {
        say_bytes(fixture, bytes + i, 1);
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /ws; text abcd; ending; ");
    end(fixture);
}

Test(connection, keeps_no_memory_between_messages)
{
    struct fixture *fixture = open_websocket();
    uint8_t frame[64];
    size_t len = put_frame(frame, FIN | WS_TEXT, "in two pieces", 13);

    say_bytes(fixture, frame, len - 3);
    turn(fixture);
    cr_assert_not_null(fixture->connection.parser.midway);
    say_bytes(fixture, frame + len - 3, 3);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text in two pieces; ");
    cr_assert_null(fixture->connection.parser.midway);
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "x", 1));
    turn(fixture);
    cr_assert_null(fixture->connection.outbox.queue);
    cr_assert_null(fixture->connection.outbox.begun);
    end(fixture);
}

Test(connection, answers_each_ping_of_a_client_that_reads)
{
    struct fixture *fixture = open_websocket();
    char expected[512] = "";

    for (int i = 0; i < 10; i++) {
        char payload[8];

        snprintf(payload, sizeof(payload), "%d", i);
        say_frame(fixture, FIN | WS_PING, payload);
        snprintf(expected + strlen(expected), 32, "pong %d; ", i);
    }
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), expected);
    end(fixture);
}

Test(connection, keeps_few_pongs_for_a_client_that_does_not)
{
    struct fixture *fixture = open_websocket();
    static uint8_t frames[16384];
    size_t len = 0;

    send_budget = 0;
    for (int i = 0; i < 3; i++) {
        say_frame(fixture, FIN | WS_PING, "first");
        turn(fixture);
    }
    cr_assert(!fixture->connection.stream.wants_read, "and is not read while one waits");
    send_budget = SIZE_MAX;
    turn(fixture);
    turn(fixture);
    forget_received(fixture);
    send_budget = 0;
    for (int i = 0; i < 1000; i++) { /* all in one read */
        char payload[8];
        int payload_len = snprintf(payload, sizeof(payload), "%d", i);

        len += put_frame(frames + len, FIN | WS_PING, payload, (size_t)payload_len);
    }
    say_bytes(fixture, frames, len);
    turn(fixture);
    cr_assert_leq(outbox_waiting(&fixture->connection.outbox), CONNECTION_BATCH);
    send_budget = SIZE_MAX;
    turn(fixture);
    cr_assert_not_null(strstr(frames_heard(fixture), "pong 999; "), "and answers when it reads");
    end(fixture);
}

/* ── Pausing ─────────────────────────────────────────────────────────────────────────────────── */

Test(connection, hands_nothing_on_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    fixture->pauses = true;
    say_frame(fixture, FIN | WS_TEXT, "first");
    say_frame(fixture, FIN | WS_TEXT, "second");
    say_frame(fixture, FIN | WS_TEXT, "third");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text first; ");
    cr_assert(!fixture->connection.stream.wants_read, "and leaves the rest to TCP");
    connection_resume(&fixture->connection);
    cr_assert_str_eq(fixture->log, "text first; text second; ", "and is paused again");
    fixture->pauses = false;
    connection_resume(&fixture->connection);
    cr_assert_str_eq(fixture->log, "text first; text second; text third; ");
    cr_assert(fixture->connection.stream.wants_read);
    say_frame(fixture, FIN | WS_TEXT, "fourth");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text first; text second; text third; text fourth; ");
    end(fixture);
}

Test(connection, sends_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    connection_pause(&fixture->connection);
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "x", 1));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text x; ");
    end(fixture);
}

Test(connection, closes_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    fixture->pauses = true;
    say_frame(fixture, FIN | WS_TEXT, "first");
    say_frame(fixture, FIN | WS_TEXT, "second");
    say_frame(fixture, FIN | WS_CLOSE, "");
    turn(fixture);
    connection_close(&fixture->connection, CLOSE_TOO_MANY_REQUESTS);
    turn(fixture);
    cr_assert_not_null(strstr(fixture->log, "ending"), "%s", fixture->log);
    cr_assert_null(strstr(fixture->log, "second"), "%s", fixture->log);
    cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING, "the peer's close was read");
    end(fixture);
}

/* ── The closing handshake ───────────────────────────────────────────────────────────────────── */

Test(connection, answers_the_clients_close_with_its_code)
{
    const struct {
        const char *payload, *answer;
        enum metric metric;
    } cases[] = {
        {"\x03\xe8", "close 1000; ", METRIC_CLOSES_1000},
        {"\x03\xe9gone", "close 1001; ", METRIC_CLOSES_1001},
        {"\x0f\xa0", "close 4000; ", METRIC_CLOSES_OTHER},
        {"", "close 1000; ", METRIC_CLOSES_1005},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_websocket();

        say_frame(fixture, FIN | WS_CLOSE, cases[i].payload);
        say_frame(fixture, FIN | WS_TEXT, "ignored");
        turn(fixture);
        cr_assert_str_eq(fixture->log, "ending; ");
        cr_assert_str_eq(frames_heard(fixture), cases[i].answer);
        cr_assert(hear(fixture), "the server ends the connection");
        close(fixture->peer);
        fixture->peer = -1;
        turn(fixture);
        cr_assert_str_eq(fixture->log, "ending; closed; ");
        cr_assert_eq(metric_read(&fixture->metrics, cases[i].metric), 1);
        end(fixture);
    }
}

Test(connection, closes_and_waits_for_the_clients_close)
{
    struct fixture *fixture = open_websocket();

    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "last", 4));
    connection_close(&fixture->connection, CLOSE_GOING_AWAY);
    connection_close(&fixture->connection, CLOSE_SERVICE_RESTART);
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "late", 4));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text last; close 1001; ");
    cr_assert(!hear(fixture));
    say_frame(fixture, FIN | WS_TEXT, "ignored");
    say_frame(fixture, FIN | WS_PING, "unanswered");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "ending; ");
    cr_assert_eq(fixture->connection.state, CONNECTION_CLOSING);
    say_frame(fixture, FIN | WS_CLOSE, "\x03\xe9");
    turn(fixture);
    cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING);
    cr_assert(hear(fixture));
    cr_assert_str_eq(frames_heard(fixture), "text last; close 1001; ", "one close frame is enough");
    end(fixture);
}

Test(connection, who_goes_without_a_word_is_counted_as_1006)
{
    struct fixture *fixture = open_websocket();

    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    cr_assert_str_eq(fixture->log, "closed; ");
    cr_assert_eq(metric_read(&fixture->metrics, METRIC_CLOSES_1006), 1);
    end(fixture);
}

Test(connection, closes_for_what_breaks_the_protocol_with_the_code_that_says_so)
{
    const struct {
        const char *bytes;
        size_t len;
        const char *answer;
    } cases[] = {
#define CASE(bytes, answer) {bytes, sizeof(bytes) - 1, answer}
        CASE("\x81\x01x", "close 1002; "),                      /* not masked */
        CASE("\xc1\x80____", "close 1002; "),                   /* RSV1 */
        CASE("\x83\x80____", "close 1002; "),                   /* opcode 3 */
        CASE("\x09\x80____", "close 1002; "),                   /* fragmented ping */
        CASE("\x89\xfe", "close 1002; "),                       /* long ping */
        CASE("\x80\x80____", "close 1002; "),                   /* nothing to continue */
        CASE("\x88\x81\0\0\0\0x", "close 1002; "),              /* half a close code */
        CASE("\x88\x82\0\0\0\0\x03\xed", "close 1002; "),       /* 1005 on the wire */
        CASE("\x81\x81\0\0\0\0\xff", "close 1007; "),           /* no UTF-8 */
        CASE("\x01\x82\0\0\0\0\xed\xa0", "close 1007; "),       /* a surrogate, unfinished */
        CASE("\x88\x83\0\0\0\0\x03\xe8\xff", "close 1007; "),   /* a reason that is no UTF-8 */
        CASE("\x82\xff\0\0\0\0\0\x0f\x42\x41", "close 1009; "), /* MAX_MESSAGE + 1 */
#undef CASE
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_websocket();

        say_bytes(fixture, cases[i].bytes, cases[i].len);
        say_frame(fixture, FIN | WS_TEXT, "what follows is not looked at");
        turn(fixture);
        cr_assert_str_eq(frames_heard(fixture), cases[i].answer, "case %zu", i);
        cr_assert_str_eq(fixture->log, "ending; ");
        say_frame(fixture, FIN | WS_TEXT, "nor this");
        turn(fixture);
        cr_assert(hear(fixture));
        cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING);
        end(fixture);
    }
}

Test(connection, an_error_while_closing_sends_no_second_close_frame)
{
    struct fixture *fixture = open_websocket();

    connection_close(&fixture->connection, CLOSE_GOING_AWAY);
    turn(fixture);
    say_bytes(fixture, "\xff\xff", 2);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "close 1001; ");
    cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING);
    end(fixture);
}

Test(connection, lingers_until_all_is_sent)
{
    struct fixture *fixture = open_websocket();

    send_budget = 3;
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "a longer text", 13));
    turn(fixture);
    say_frame(fixture, FIN | WS_TEXT, "x"); /* nothing waits beside what was begun: it is read */
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text x; ");
    say_frame(fixture, FIN | WS_CLOSE, "\x03\xe8");
    turn(fixture);
    cr_assert_eq(fixture->connection.state, CONNECTION_LINGERING);
    cr_assert(!hear(fixture));
    send_budget = SIZE_MAX;
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text a longer text; close 1000; ");
    cr_assert(hear(fixture));
    end(fixture);
}

/* ── Frames of tasks ─────────────────────────────────────────────────────────────────────────── */

/* `count` frames "<letter><i>" are due. */
static void offer(struct fixture *fixture, char letter, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char payload[16];
        int len = snprintf(payload, sizeof(payload), "%c%zu", letter, i);

        fixture->frames[fixture->frame_count++] = ws_frame_new(WS_TEXT, payload, (uint32_t)len);
    }
    connection_wake(&fixture->connection);
    connection_wake(&fixture->connection);
}

static const char *texts(char *buffer, char letter, size_t from, size_t to)
{
    buffer[0] = '\0';
    for (size_t i = from; i < to; i++) {
        snprintf(buffer + strlen(buffer), 32, "text %c%zu; ", letter, i);
    }
    return buffer;
}

Test(connection, collects_all_frames_however_many_come_at_once)
{
    const size_t at_once[] = {1, 6, CONNECTION_BATCH - 5, CONNECTION_BATCH - 1, CONNECTION_BATCH};
    const size_t counts[] = {1, CONNECTION_BATCH - 1, CONNECTION_BATCH, CONNECTION_BATCH + 1, 200};
    char expected[4096];

    for (size_t i = 0; i < ARRAY_LEN(at_once) * ARRAY_LEN(counts); i++) {
        struct fixture *fixture = open_websocket();

        fixture->collect_max = at_once[i % ARRAY_LEN(at_once)];
        offer(fixture, 'f', counts[i / ARRAY_LEN(at_once)]);
        turn(fixture);
        cr_assert_str_eq(frames_heard(fixture),
                         texts(expected, 'f', 0, counts[i / ARRAY_LEN(at_once)]));
        end(fixture);
    }
}

Test(connection, what_is_for_this_client_alone_goes_first_however_much_it_is)
{
    struct fixture *fixture = open_websocket();
    char expected[8192];

    offer(fixture, 'f', 10);
    for (size_t i = 0; i < 200; i++) {
        char payload[16];
        int len = snprintf(payload, sizeof(payload), "q%zu", i);

        connection_send(&fixture->connection, ws_frame_new(WS_TEXT, payload, (uint32_t)len));
    }
    turn(fixture);
    texts(expected, 'q', 0, 200);
    texts(expected + strlen(expected), 'f', 0, 10);
    cr_assert_str_eq(frames_heard(fixture), expected);
    end(fixture);
}

Test(connection, a_write_may_end_at_any_byte)
{
    char expected[512], rest[256];

    for (size_t cut = 0; cut < 80; cut++) {
        struct fixture *fixture = open_websocket();

        connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "q0", 2));
        connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "q1", 2));
        offer(fixture, 'f', 10);
        for (size_t part = 0; part < 3; part++) { /* then in further parts of that size */
            send_budget = cut;
            turn(fixture);
            turn(fixture);
        }
        send_budget = SIZE_MAX;
        turn(fixture);
        texts(expected, 'q', 0, 2);
        strcat(expected, texts(rest, 'f', 0, 10));
        cr_assert_str_eq(frames_heard(fixture), expected, "cut after %zu", cut);
        cr_assert_null(fixture->connection.outbox.begun);
        end(fixture);
    }
}

Test(connection, finishes_the_frame_it_has_begun_then_sends_what_is_newest)
{
    struct fixture *fixture = open_websocket();

    offer(fixture, 'o', 3);
    send_budget = 6; /* o0 and half of o1 */
    turn(fixture);
    cr_assert_eq(fixture->frames_taken, 2);
    cr_assert(fixture->connection.blocked);
    for (size_t i = 0; i < 3; i++) { /* meanwhile newer ones take the place of all of them */
        bytes_unref(fixture->frames[i]);
        fixture->frames[i] = NULL;
    }
    fixture->frames[2] = ws_frame_new(WS_TEXT, "new", 3);
    connection_wake(&fixture->connection);
    cr_assert(!fixture->flush_due, "nothing to do before the socket drains");
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "queued", 6));
    send_budget = SIZE_MAX;
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text o0; text o1; text queued; text new; ");
    end(fixture);
}

Test(connection, collects_nothing_when_it_is_not_open)
{
    struct fixture *fixture = open_websocket();

    connection_close(&fixture->connection, CLOSE_GOING_AWAY);
    offer(fixture, 'f', 3);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "close 1001; ");
    cr_assert_eq(fixture->frames_taken, 0);
    end(fixture);
}

/* ── Closing from anywhere, in any state ─────────────────────────────────────────────────────── */

static const char *close_at;
static bool close_by_abort;

static void close_here(struct fixture *fixture, const char *event)
{
    if (strncmp(event, close_at, strlen(close_at)) == 0) {
        if (close_by_abort) {
            connection_abort(&fixture->connection);
        }
        connection_close(&fixture->connection, CLOSE_GOING_AWAY);
    }
}

Test(connection, can_be_closed_from_each_event)
{
    const char *const events_to_close_in[] = {"request", "text", "ending"};

    for (size_t i = 0; i < 2 * ARRAY_LEN(events_to_close_in); i++) {
        struct fixture *fixture = open_http();
        uint8_t bytes[1024];
        size_t len = strlen(UPGRADE);

        close_at = events_to_close_in[i / 2];
        close_by_abort = i % 2;
        fixture->on_event = close_here;
        memcpy(bytes, UPGRADE, len);
        len += put_frame(bytes + len, FIN | WS_TEXT, "a", 1);
        len += put_frame(bytes + len, FIN | WS_TEXT, "b", 1);
        len += put_frame(bytes + len, FIN | WS_CLOSE, "", 0);
        say_bytes(fixture, bytes, len);
        turn(fixture);
        turn(fixture);
        end(fixture);
    }
}

static void reach(struct fixture *fixture, enum connection_state state)
{
    if (state == CONNECTION_REQUEST) {
        return;
    }
    if (state == CONNECTION_ANSWERING) {
        fixture->later = true;
        say(fixture, GET("/a"));
        turn(fixture);
        return;
    }
    say(fixture, UPGRADE);
    turn(fixture);
    if (state == CONNECTION_CLOSING) {
        connection_close(&fixture->connection, CLOSE_GOING_AWAY);
    } else if (state == CONNECTION_LINGERING) {
        say_frame(fixture, FIN | WS_CLOSE, "");
        turn(fixture);
    } else if (state == CONNECTION_CLOSED) {
        connection_abort(&fixture->connection);
    }
}

static void peer_goes(struct fixture *fixture)
{
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
}

static void peer_says_garbage(struct fixture *fixture)
{
    (void)!send(fixture->peer, "\xff\xff\xff garbage \r\n\r\n", 16, MSG_NOSIGNAL);
    turn(fixture);
}

static void owner_closes(struct fixture *fixture)
{
    connection_close(&fixture->connection, CLOSE_GOING_AWAY);
}

static void owner_aborts(struct fixture *fixture)
{
    connection_abort(&fixture->connection);
}

static void owner_sends(struct fixture *fixture)
{
    connection_send(&fixture->connection, ws_frame_new(WS_TEXT, "x", 1));
}

static void owner_sends_what_no_memory_was_left_for(struct fixture *fixture)
{
    connection_send(&fixture->connection, NULL);
}

static void owner_wakes_and_flushes(struct fixture *fixture)
{
    connection_wake(&fixture->connection);
    connection_flush(&fixture->connection);
    fixture->flush_due = false;
}

Test(connection, stands_everything_in_every_state)
{
    void (*const doings[])(struct fixture *) = {
        peer_goes,
        peer_says_garbage,
        owner_closes,
        owner_aborts,
        owner_sends,
        owner_sends_what_no_memory_was_left_for,
        owner_wakes_and_flushes,
    };

    for (int state = CONNECTION_REQUEST; state <= CONNECTION_CLOSED; state++) {
        for (size_t i = 0; i < ARRAY_LEN(doings) * ARRAY_LEN(doings); i++) {
            struct fixture *fixture = open_http();

            reach(fixture, state);
            cr_assert_eq(fixture->connection.state, state);
            doings[i % ARRAY_LEN(doings)](fixture);
            turn(fixture);
            if (!fixture->closed && fixture->peer >= 0) {
                doings[i / ARRAY_LEN(doings)](fixture);
            }
            if (!fixture->closed) {
                turn(fixture);
            }
            end(fixture);
        }
    }
}

Test(connection, out_of_memory_closes_it_and_nothing_else)
{
    for (unsigned nth = 1; nth < 40; nth++) {
        struct fixture *fixture = open_http();
        uint8_t frame[64];
        size_t len = put_frame(frame, FIN | WS_TEXT, "in pieces", 9);

        shared_body = bytes_copy("x", 1);
        mem_fail_nth(nth);
        say(fixture, GET("/a") GET("/shared") GET("/shared"));
        turn(fixture);
        if (!fixture->closed) {
            say(fixture, UPGRADE);
            turn(fixture);
        }
        for (size_t i = 0; i < len && !fixture->closed; i += 8) {
            say_bytes(fixture, frame + i, len - i < 8 ? len - i : 8);
            turn(fixture);
        }
        if (!fixture->closed) {
            say_frame(fixture, FIN | WS_PING, "p");
            say_frame(fixture, FIN | WS_CLOSE, "");
            turn(fixture);
        }
        mem_fail_nth(0);
        end(fixture);
        cr_assert_eq(shared_body->refs, 1);
        bytes_unref(TAKE(shared_body));
    }
}
