#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/cli/server.h"
#include "client/cli/ws_client.h"
#include "proto/json.h"

#define INTERVAL_MS 1000
#define COUNT_DEFAULT 3
#define COUNT_MAX 9 /* a connection without a subscription is closed after 10 s */

struct round_trips {
    unsigned count;
    double min_ms, max_ms, sum_ms;
};

static double clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static bool ping_is_pong(const struct ws_event *event)
{
    struct json_value message, type;
    size_t offset;

    return event->opcode == WS_TEXT &&
           json_check((struct span){(const char *)event->payload, event->len}, &message, &offset) ==
               0 &&
           message.kind == JSON_OBJECT && json_find(message, "type", &type) == 0 &&
           type.kind == JSON_STRING && json_string_is(type.raw, "pong");
}

/* Waits for the answer. 0; what ws_client_next() returns; -EPROTO when it is another. */
static int await_pong(struct ws_client *client, int64_t deadline)
{
    struct ws_event event;
    int rc = ws_client_next(client, deadline, &event);

    return rc == 0 && !ping_is_pong(&event) ? -EPROTO : rc;
}

static int ping_once(struct ws_client *client, unsigned number, struct round_trips *trips)
{
    const int64_t deadline = wire_deadline(SERVER_PATIENCE_MS);
    const double sent_ms = clock_ms();
    char text[64];
    int rc;

    snprintf(text, sizeof(text), "{\"type\":\"ping\",\"timestamp\":%u}", number);
    rc = ws_client_send(client, text, strlen(text), deadline);
    if (rc == 0) {
        rc = await_pong(client, deadline);
    }
    if (rc == 0) {
        const double ms = clock_ms() - sent_ms;

        printf("pong %u: %.2f ms\n", number, ms);
        fflush(stdout);
        trips->min_ms = trips->count == 0 || ms < trips->min_ms ? ms : trips->min_ms;
        trips->max_ms = ms > trips->max_ms ? ms : trips->max_ms;
        trips->sum_ms += ms;
        trips->count++;
    }
    return rc;
}

static int ping_broker(const struct command *command, const struct wire_address *address,
                       uint32_t count)
{
    struct round_trips trips = {0};
    struct ws_client *client;
    int http_status, rc;

    rc = ws_client_open(address, "/ws/progress", wire_deadline(SERVER_PATIENCE_MS), &client,
                        &http_status);
    if (rc == WIRE_REFUSED) {
        command_complain(command, "%s refuses WebSocket (HTTP status %d)", address->url,
                         http_status);
        return EXIT_NO_WAY;
    }
    if (rc) {
        server_complain(command, address, rc);
        return EXIT_NO_WAY;
    }
    for (uint32_t i = 1; i <= count && rc == 0; i++) {
        poll(NULL, 0, i > 1 ? INTERVAL_MS : 0);
        rc = ping_once(client, i, &trips);
    }
    ws_client_free(client);
    if (trips.count > 0) {
        printf("%u of %u answered; least %.2f, mean %.2f, most %.2f ms\n", trips.count, count,
               trips.min_ms, trips.sum_ms / trips.count, trips.max_ms);
    }
    if (rc) {
        command_complain(command, "%s", wire_outcome_text(rc));
    }
    return rc ? EXIT_NO_WAY : EXIT_DONE;
}

static int ping_run(const struct command *command, int argc, char **argv)
{
    struct server_options server = SERVER_OPTIONS_EMPTY;
    uint32_t pings = COUNT_DEFAULT;
    const struct option_def defs[] = {
        {"url", 0, OPTION_TEXT, &server.url, 0, 0},
        {"count", 'c', OPTION_NUMBER, &pings, 1, COUNT_MAX},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 0, 0};
    struct wire_address address;
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    if (server_address(command, &server, &address) != EXIT_DONE) {
        return EXIT_USAGE;
    }
    return ping_broker(command, &address, pings);
}

const struct command command_ping = {
    .name = "ping",
    .operands = "",
    .summary = "measure the round trip to a broker over WebSocket",
    .help =
        SERVER_URL_HELP "  -c, --count N            how many pings, a second apart; 3, at most 9\n"
                        "\n"
                        "Exit status: 0 all were answered; 3 not, or the server is out of reach.\n",
    .run = ping_run,
};
