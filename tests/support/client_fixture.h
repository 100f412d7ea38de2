/* A client's channel, with HTTP and WebSocket on it, its owner, and the client at the other end of
 * a socket pair that takes only so many bytes. Each test takes what it needs.
 *
 *     struct fixture *fixture = open_http();       or open_websocket()
 *     say(fixture, GET("/a"));
 *     turn(fixture);                               fixture->log: what the owner heard
 *     end(fixture);
 */
#ifndef PROGRESSD_TESTS_SUPPORT_CLIENT_FIXTURE_H
#define PROGRESSD_TESTS_SUPPORT_CLIENT_FIXTURE_H

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

#include "broker/net/http_connection.h"
#include "broker/net/ws_connection.h"
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

/* ── A client with its owner, and the client at the other end of a socket pair ───────────── */

#define FIN 0x80
#define MAX_MESSAGE 1000000
#define LOG_SIZE 16384

struct fixture {
    struct loop loop;
    struct metrics_slot metrics;
    struct channel_settings settings;
    union {
        struct channel channel;
        struct http_connection http;
        struct ws_connection ws;
    };
    bool is_websocket;
    int peer;
    char log[LOG_SIZE]; /* the events, "; " behind each */
    int closed;
    uint32_t requests;
    bool later;  /* later: requests are not answered by on_request */
    bool pauses; /* behind each message */
    /* Frames of tasks still to be collected, at most `collect_max` at once. */
    struct bytes *frames[256];
    size_t frame_count, frames_taken, collect_max;
    uint64_t taken_n;
    void (*on_event)(struct fixture *fixture, const char *event);
    size_t received_len;
    char received[1 << 17];
};

static inline struct fixture *fixture_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct fixture, channel);
}

static inline void note(struct fixture *fixture, const char *format, ...)
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

static inline struct bytes *response_of(const char *body)
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
static inline void answer(struct http_connection *http, const struct http_request *request)
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
        http_connection_upgrade(http, bytes);
        fixture_of(&http->channel)->is_websocket = true;
        ws_connection_begin(&fixture_of(&http->channel)->ws);
    } else if (strncmp(body, "/shared", strlen("/shared")) == 0) {
        http_connection_respond_shared(http, response_of(""), bytes_ref(shared_body), false);
    } else {
        http_connection_respond(http, response_of(body), strcmp(body, "/close") == 0);
    }
}

static inline void on_request(struct http_connection *http, const struct http_request *request)
{
    struct fixture *fixture = fixture_of(&http->channel);
    struct span path = http_request_path(request);

    fixture->requests++;
    note(fixture, "request %.*s", (int)path.len, path.at);
    if (!fixture->later) {
        answer(http, request);
    }
}

static inline void on_message(struct ws_connection *ws, enum ws_opcode opcode,
                              const uint8_t *payload, uint32_t len)
{
    if (len > 40) {
        note(fixture_of(&ws->channel), "%s [%u]", opcode == WS_TEXT ? "text" : "binary", len);
    } else {
        note(fixture_of(&ws->channel), "%s %.*s", opcode == WS_TEXT ? "text" : "binary", (int)len,
             payload);
    }
    if (fixture_of(&ws->channel)->pauses) {
        channel_pause(&ws->channel);
    }
}

static inline size_t on_collect(struct channel *channel, struct channel_frame *frames, size_t max)
{
    struct fixture *fixture = fixture_of(channel);
    size_t count = 0;

    if (max > fixture->collect_max) {
        max = fixture->collect_max;
    }
    while (count < max && fixture->frames_taken + count < fixture->frame_count) {
        size_t i = fixture->frames_taken + count;

        frames[count++] = (struct channel_frame){fixture->frames[i], fixture, 100 + i};
    }
    return count;
}

static inline void on_taken(struct channel *channel, const struct channel_frame *frame)
{
    struct fixture *fixture = fixture_of(channel);

    cr_assert_eq(frame->context, fixture);
    cr_assert_eq(frame->n, 100 + fixture->frames_taken, "in order, each once");
    fixture->frames_taken++;
}

static inline void on_ending(struct channel *channel)
{
    if (channel->state != CHANNEL_SHUT) {
        note(fixture_of(channel), "ending");
    }
}

static inline void on_closed(struct channel *channel)
{
    note(fixture_of(channel), "closed");
    fixture_of(channel)->closed++;
}

static inline void on_begun(struct http_connection *http)
{
}

static const struct channel_events channel_events = {on_collect, on_taken, on_ending, on_closed};
static const struct http_connection_events http_events = {on_begun, on_request};
static const struct ws_connection_events ws_events = {on_message};

/* On the heap, so that memory it is used after closing is seen. */
static inline struct fixture *open_http(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int pair[2];

    fixture->collect_max = SIZE_MAX;
    cr_assert_eq(loop_open(&fixture->loop, NULL), 0);
    fixture->settings = (struct channel_settings){.loop = &fixture->loop,
                                                  .metrics = &fixture->metrics,
                                                  .events = &channel_events,
                                                  .http_events = &http_events,
                                                  .ws_events = &ws_events,
                                                  .max_message = MAX_MESSAGE};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    fixture->peer = pair[1];
    budgeted_fd = pair[0];
    cr_assert_eq(http_connection_open(&fixture->http, pair[0], &fixture->settings), 0);
    return fixture;
}

/* As at a turn's end. */
static inline void flush(struct fixture *fixture)
{
    struct list *link;

    while ((link = list_first(&fixture->loop.due)) != NULL) {
        struct loop_due *due = CONTAINER_OF(link, struct loop_due, link);

        list_remove(link);
        due->on_due(due);
    }
}

/* A turn of the loop: what was due before it is written first, as in a worker. */
static inline void turn(struct fixture *fixture)
{
    flush(fixture);
    uv_run(&fixture->loop.uv, UV_RUN_NOWAIT);
    flush(fixture);
}

static inline void end(struct fixture *fixture)
{
    if (!fixture->closed) {
        channel_abort(&fixture->channel);
        channel_abort(&fixture->channel);
    }
    loop_close(&fixture->loop);
    loop_run(&fixture->loop);
    cr_assert_eq(fixture->closed, 1);
    for (size_t i = 0; i < fixture->frame_count; i++) {
        bytes_unref(fixture->frames[i]);
    }
    if (fixture->peer >= 0) {
        close(fixture->peer);
    }
    free(fixture);
}

static inline void say_bytes(struct fixture *fixture, const void *data, size_t len)
{
    cr_assert_eq(write(fixture->peer, data, len), (ssize_t)len);
}

static inline void say(struct fixture *fixture, const char *text)
{
    say_bytes(fixture, text, strlen(text));
}

/* Reads what there is; whether the end came. */
static inline bool hear(struct fixture *fixture)
{
    ssize_t n;

    while ((n = read(fixture->peer, fixture->received + fixture->received_len,
                     sizeof(fixture->received) - 1 - fixture->received_len)) > 0) {
        fixture->received_len += (size_t)n;
    }
    fixture->received[fixture->received_len] = '\0';
    return n == 0;
}

static inline void forget_received(struct fixture *fixture)
{
    hear(fixture);
    fixture->received_len = 0;
}

static inline void close_client(struct fixture *fixture, enum close_code code)
{
    if (fixture->is_websocket) {
        ws_connection_close(&fixture->ws, code);
    } else {
        http_connection_close(&fixture->http);
    }
}

/* ── HTTP ────────────────────────────────────────────────────────────────────────────────────── */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define UPGRADE                                                             \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"                \
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Version: 13\r\n\r\n"

static inline unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;

    for (; (text = strstr(text, what)); text++) {
        count++;
    }
    return count;
}

/* ── WebSocket ───────────────────────────────────────────────────────────────────────────────── */

static inline size_t put_frame(uint8_t *at, uint8_t first, const void *payload, size_t len)
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

static inline void say_frame(struct fixture *fixture, uint8_t first, const char *payload)
{
    uint8_t frame[1024];

    say_bytes(fixture, frame, put_frame(frame, first, payload, strlen(payload)));
}

static inline struct fixture *open_websocket(void)
{
    struct fixture *fixture = open_http();

    say(fixture, UPGRADE);
    turn(fixture);
    hear(fixture);
    cr_assert_eq(strncmp(fixture->received, "HTTP/1.1 101", 12), 0);
    cr_assert(fixture->is_websocket);
    forget_received(fixture);
    fixture->log[0] = '\0';
    return fixture;
}

/* What was received, as "text hello; close 1000; ", all of it whole frames of a server. */
static inline const char *frames_heard(struct fixture *fixture)
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

#endif
