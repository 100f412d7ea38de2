#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "client/cli/ws_client.h"
#include "proto/ws_handshake.h"
#include "tests/support/peer.h"

/* What the peer got behind the handshake, unmasked by the broker's own parser. */
static struct {
    enum ws_opcode opcode;
    char payload[64];
    uint16_t close_code;
} got[8];
static size_t got_count;

/* Shakes hands as the broker does, with `more` sent in the same breath. */
static void shake_hands(int fd, const char *more, size_t len)
{
    struct http_request *request = http_request_new();
    struct text answer = TEXT_EMPTY;
    char head[1024];
    const char *why;
    size_t used;
    int failed;

    peer_read_head(fd, head, sizeof(head));
    failed = http_request_feed(request, head, strlen(head), &used) != HTTP_REQUEST_COMPLETE ||
             ws_handshake_check(request, &why) != 0 || ws_handshake_respond(&answer, request) != 0;
    assert(!failed);
    text_append(&answer, more, len);
    peer_send(fd, answer.data, answer.len);
    text_deinit(&answer);
    http_request_free(request);
}

/* Reads frames until the client ends the connection. */
static void read_frames(int fd)
{
    struct ws_parser parser;
    uint8_t buffer[1024];
    ssize_t len;

    ws_parser_init(&parser, WS_PEER_CLIENT, 1024);
    while ((len = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
        size_t at = 0, used = 0;
        struct ws_event event;
        while (ws_parser_feed(&parser, buffer + at, (size_t)len - at, &used, &event) == WS_EVENT) {
            got[got_count].opcode = event.opcode;
            got[got_count].close_code = event.close_code;
            memcpy(got[got_count++].payload, event.payload, event.len);
            at += used;
        }
    }
    ws_parser_deinit(&parser);
}

/* A text, a ping between the fragments of the next, and a close frame. */
static const char frames[] = "\x81\x03one\x01\x01t\x89\x02hi\x8a\x00\x80\x02wo\x88\x06\x03\xf4"
                             "soon";

static void serve_at_once(int fd)
{
    shake_hands(fd, frames, sizeof(frames) - 1);
    read_frames(fd);
}

static void serve_byte_by_byte(int fd)
{
    shake_hands(fd, "", 0);
    for (size_t i = 0; i < sizeof(frames) - 1; i++) {
        usleep(500);
        peer_send(fd, frames + i, 1);
    }
    read_frames(fd);
}

static struct ws_client *opened(struct peer *peer)
{
    struct ws_client *client = NULL;
    int status = 0;

    cr_assert_eq(
        ws_client_open(&peer->address, "/ws/progress", wire_deadline(5000), &client, &status), 0);
    return client;
}

static void check_event(struct ws_client *client, enum ws_opcode opcode, const char *payload)
{
    struct ws_event event;

    cr_assert_eq(ws_client_next(client, wire_deadline(5000), &event), 0);
    cr_assert_eq(event.opcode, opcode);
    cr_assert_eq(event.len, strlen(payload));
    cr_assert_arr_eq(event.payload, payload, event.len);
}

static void check_conversation(void (*serve)(int fd))
{
    struct peer peer;
    struct ws_client *client;

    got_count = 0;
    peer_start(&peer, serve);
    client = opened(&peer);
    check_event(client, WS_TEXT, "one");
    check_event(client, WS_TEXT, "two");
    check_event(client, WS_CLOSE, "\x03\xf4soon");
    cr_assert_eq(ws_client_send(client, "{}", 2, wire_deadline(5000)), 0);
    ws_client_free(client);
    peer_join(&peer);

    cr_assert_eq(got_count, 3);
    cr_assert_eq(got[0].opcode, WS_PONG);
    cr_assert_str_eq(got[0].payload, "hi");
    cr_assert_eq(got[1].opcode, WS_TEXT);
    cr_assert_str_eq(got[1].payload, "{}");
    cr_assert_eq(got[2].opcode, WS_CLOSE);
    cr_assert_eq(got[2].close_code, 1000);
}

Test(ws_client, frames_that_come_with_the_handshake_are_read)
{
    check_conversation(serve_at_once);
}

Test(ws_client, frames_that_come_byte_by_byte_are_read)
{
    check_conversation(serve_byte_by_byte);
}

static void serve_one_text_late(int fd)
{
    shake_hands(fd, "\x81", 1);
    usleep(50000);
    peer_send(fd, "\x01x", 2);
}

Test(ws_client, after_a_deadline_waiting_may_go_on)
{
    struct peer peer;
    struct ws_client *client;
    struct ws_event event;

    peer_start(&peer, serve_one_text_late);
    client = opened(&peer);
    cr_assert_eq(ws_client_next(client, wire_clock(), &event), -ETIMEDOUT);
    check_event(client, WS_TEXT, "x");
    cr_assert_eq(ws_client_next(client, wire_deadline(5000), &event), WIRE_ENDED);
    ws_client_free(client);
    peer_join(&peer);
}

static void serve_masked(int fd)
{
    shake_hands(fd, "\x81\x81\0\0\0\0x", 7);
    read_frames(fd);
}

static void serve_too_big(int fd)
{
    shake_hands(fd, "\x81\x7f\0\0\0\0\0\x10\0\x01", 10);
    read_frames(fd);
}

static void serve_bad_utf8(int fd)
{
    shake_hands(fd, "\x81\x01\xff", 3);
    read_frames(fd);
}

Test(ws_client, what_breaks_rfc_6455_is_told)
{
    void (*const servers[])(int fd) = {serve_masked, serve_too_big, serve_bad_utf8};

    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        struct ws_client *client;
        struct ws_event event;
        struct peer peer;
        peer_start(&peer, servers[i]);
        client = opened(&peer);
        cr_assert_eq(ws_client_next(client, wire_deadline(5000), &event), WIRE_BAD_PROTOCOL);
        ws_client_free(client);
        peer_join(&peer);
    }
}

static void answer(int fd, const char *text)
{
    char head[1024];

    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, text, strlen(text));
}

static void serve_503(int fd)
{
    answer(fd, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
}

static void serve_wrong_accept(int fd)
{
    answer(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
               "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

static void serve_no_http(int fd)
{
    answer(fd, "+PONG\r\n");
}

static void serve_end(int fd)
{
    char head[1024];

    peer_read_head(fd, head, sizeof(head));
}

Test(ws_client, a_handshake_that_fails_says_how)
{
    static const struct {
        void (*serve)(int fd);
        int outcome, status;
    } cases[] = {
        {serve_503, WIRE_REFUSED, 503},
        {serve_wrong_accept, WIRE_BAD_PROTOCOL, 0},
        {serve_no_http, WIRE_BAD_PROTOCOL, 0},
        {serve_end, WIRE_BAD_PROTOCOL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ws_client *client = NULL;
        struct peer peer;
        int status = 0;
        peer_start(&peer, cases[i].serve);
        cr_expect_eq(ws_client_open(&peer.address, "/", wire_deadline(5000), &client, &status),
                     cases[i].outcome, "case %zu", i);
        cr_expect_eq(status, cases[i].status);
        cr_expect_null(client);
        peer_join(&peer);
    }
}

Test(ws_client, an_unknown_host_is_told)
{
    struct wire_address address = {.url = "http://host.invalid"};
    struct ws_client *client;
    int status;

    cr_assert_eq(ws_client_open(&address, "/", wire_deadline(5000), &client, &status),
                 WIRE_UNKNOWN_HOST);
}

Test(ws_client, null_is_freed)
{
    ws_client_free(NULL);
}
