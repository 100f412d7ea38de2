/* ws_echo: sends back each WebSocket message, text and binary, on the broker's own connection code.
 *
 *     ws_echo [--port N]        0, the default: any port that is free
 *
 * For running independent RFC 6455 suites against it. It listens on 127.0.0.1 alone, prints where,
 * and ends on SIGTERM or SIGINT with exit status 0.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/loop/signals.h"
#include "broker/net/http_connection.h"
#include "broker/net/listen_socket.h"
#include "broker/net/listener.h"
#include "broker/net/ws_connection.h"
#include "common/mem.h"
#include "proto/http_response.h"
#include "proto/ws_handshake.h"

#define MESSAGE_MAX (16 << 20)
#define ENDING_MS 5000

/* One client. */
struct echo {
    union { /* one after the other */
        struct channel channel;
        struct http_connection http;
        struct ws_connection ws;
    };
    struct timer timer; /* runs while it is ending */
    struct list link;
};

static struct loop loop;
static struct signals signals;
static struct metrics_slot metrics;
static struct listener listener;
static struct list clients;

static struct echo *echo_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct echo, channel);
}

/* ── A client's connection ───────────────────────────────────────────────────────────────────── */

static void refuse(struct http_connection *http, const char *why)
{
    struct text text = TEXT_EMPTY;

    http_response_write_error(&text, &(struct http_response){.status = 400, .close = true},
                              "BAD_REQUEST", why);
    http_connection_respond(http, text_to_bytes(&text), true);
    text_deinit(&text);
}

static void on_begun(struct http_connection *http)
{
}

static void on_request(struct http_connection *http, const struct http_request *request)
{
    const char *why = "no WebSocket handshake";
    struct text text = TEXT_EMPTY;

    if (ws_handshake_check(request, &why) != 0 || ws_handshake_respond(&text, request) != 0) {
        refuse(http, why);
    } else {
        http_connection_upgrade(http, text_to_bytes(&text));
        ws_connection_begin(&echo_of(&http->channel)->ws);
    }
    text_deinit(&text);
}

static void on_message(struct ws_connection *ws, enum ws_opcode opcode, const uint8_t *payload,
                       uint32_t len)
{
    ws_connection_send(ws, ws_frame_new(opcode, payload, len));
}

static size_t on_collect(struct channel *channel, struct channel_frame *frames, size_t max)
{
    return 0;
}

static void on_taken(struct channel *channel, const struct channel_frame *frame)
{
}

static void on_ending(struct channel *channel)
{
    timer_set(&loop.wheel, &echo_of(channel)->timer, loop_now(&loop) + ENDING_MS);
}

static void on_ended_too_late(struct timer *timer)
{
    channel_abort(&CONTAINER_OF(timer, struct echo, timer)->channel);
}

static void on_closed(struct channel *channel)
{
    struct echo *echo = echo_of(channel);

    timer_cancel(&loop.wheel, &echo->timer);
    list_remove(&echo->link);
    mem_free(echo);
    listener_resume(&listener);
}

static const struct channel_settings settings = {
    .loop = &loop,
    .metrics = &metrics,
    .max_message = MESSAGE_MAX,
    .events =
        &(const struct channel_events){
            .on_collect = on_collect,
            .on_taken = on_taken,
            .on_ending = on_ending,
            .on_closed = on_closed,
        },
    .http_events = &(const struct http_connection_events){on_begun, on_request},
    .ws_events = &(const struct ws_connection_events){on_message},
};

/* ── Accepting ───────────────────────────────────────────────────────────────────────────────── */

static bool is_over_share(void *owner)
{
    return false;
}

static void on_accept(void *owner, int fd, const struct sockaddr *peer)
{
    struct echo *echo = mem_alloc(sizeof(*echo));

    if (!echo) {
        fputs("ws_echo: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    if (http_connection_open(&echo->http, fd, &settings) < 0) {
        mem_free(echo);
        return;
    }
    timer_init(&echo->timer, on_ended_too_late);
    list_init(&echo->link);
    list_append(&clients, &echo->link);
}

static void on_listener_closed(void *owner)
{
}

static const struct listener_events listener_events = {
    .is_over_share = is_over_share,
    .on_accept = on_accept,
    .on_closed = on_listener_closed,
};

/* ── The loop ────────────────────────────────────────────────────────────────────────────────── */

static void on_signal(struct signals *handle, int number)
{
    LIST_EACH (link, &clients) {
        channel_abort(&CONTAINER_OF(link, struct echo, link)->channel);
    }
    listener_close(&listener, true);
    signals_close(&signals);
    loop_close(&loop);
}

static int start(uint16_t port)
{
    struct config_address address = {.kind = CONFIG_ADDRESS_IP4, .ip = "127.0.0.1", .port = port};
    int fd = listen_socket_open(&address, &address);

    if (fd < 0) {
        return fd;
    }
    int rc = loop_open(&loop, NULL);
    if (rc < 0) {
        return rc;
    }
    list_init(&clients);
    signals_open(&signals, &loop, (const int[]){SIGTERM, SIGINT, 0}, on_signal);
    printf("listening on 127.0.0.1:%u\n", (unsigned)address.port);
    fflush(stdout);
    return listener_open(&listener, &loop.uv, fd, &loop.wheel, &metrics, &listener_events, NULL);
}

/* The port of the command line, or -1. */
static long port_of(int argc, char **argv)
{
    char *end;
    long port;

    if (argc == 1) {
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "--port") != 0) {
        return -1;
    }
    port = strtol(argv[2], &end, 10);
    return *argv[2] != '\0' && *end == '\0' && port >= 0 && port <= UINT16_MAX ? port : -1;
}

int main(int argc, char **argv)
{
    const long port = port_of(argc, argv);
    int r;

    if (port < 0) {
        fputs("usage: ws_echo [--port N]\n", stderr);
        return 2;
    }
    r = start((uint16_t)port);
    if (r < 0) {
        fprintf(stderr, "ws_echo: cannot listen: %s\n", uv_strerror(r));
        return EXIT_FAILURE;
    }
    loop_run(&loop);
    return EXIT_SUCCESS;
}
