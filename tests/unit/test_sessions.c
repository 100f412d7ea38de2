#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/loop/loop.h"
#include "broker/session/sessions.h"
#include "common/mem.h"

/* ── Sessions of a worker whose Redis is away ────────────────────────────────────────────────── */

struct fixture {
    struct loop loop;
    struct metrics_slot metrics;
    struct config config;
    struct front front;
    struct sessions *sessions;
    int room, empty, hub_closed;
};

static void on_room(void *owner)
{
    ((struct fixture *)owner)->room++;
}

static void on_empty(void *owner)
{
    ((struct fixture *)owner)->empty++;
}

static void on_hub_closed(void *owner)
{
    ((struct fixture *)owner)->hub_closed++;
}

static const struct sessions_events events = {on_room, on_empty};

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(loop_open(&fixture->loop, NULL), 0);
    fixture->config = (struct config){
        .redis = {.kind = REDIS_URL_UNIX, .path = "/nowhere/redis.sock"},
        .redis_prefix = "progress:",
        .workers = 1,
        .max_connections = 100,
        .max_handshakes = 100,
        .max_subscriptions = 10,
        .message_rate = 20,
        .handshake_timeout_ms = 10000,
        .subscribe_timeout_ms = 10000,
        .ping_interval_ms = 25000,
        .idle_timeout_ms = 60000,
        .resync_interval_ms = 15000,
        .linger_ms = 10000,
        .shutdown_timeout_ms = 5000,
    };
    fixture->front = (struct front){
        .loop = &fixture->loop.uv,
        .wheel = &fixture->loop.wheel,
        .config = &fixture->config,
        .metrics = &fixture->metrics,
        .auth = auth_new(&fixture->config, &fixture->loop),
        .hub = hub_open(&(struct hub_settings){
            .loop = &fixture->loop.uv,
            .wheel = &fixture->loop.wheel,
            .config = &fixture->config,
            .metrics = &fixture->metrics,
            .on_closed = on_hub_closed,
            .owner = fixture,
        }),
    };
    cr_assert(fixture->front.auth && fixture->front.hub);
    fixture->sessions = sessions_new(&fixture->front, &events, fixture);
    cr_assert_not_null(fixture->sessions);
}

static void turn(struct fixture *fixture)
{
    for (int i = 0; i < 3; i++) {
        uv_run(&fixture->loop.uv, UV_RUN_NOWAIT);
    }
}

/* Turns the wheel by hand. */
static void pass(struct fixture *fixture, uint64_t ms)
{
    timer_wheel_advance(&fixture->loop.wheel, loop_now(&fixture->loop) + ms);
    turn(fixture);
}

static uint64_t metric(const struct fixture *fixture, enum metric metric)
{
    return metric_read(&fixture->metrics, metric);
}

static void tear_down(struct fixture *fixture)
{
    sessions_close(fixture->sessions, CLOSE_GOING_AWAY);
    pass(fixture, 60000);
    cr_assert_eq(fixture->empty, 1);
    hub_close(fixture->front.hub);
    loop_close(&fixture->loop);
    loop_run(&fixture->loop);
    cr_assert_eq(fixture->hub_closed, 1);
    sessions_free(fixture->sessions);
    auth_free(fixture->front.auth);
    cr_assert_eq(metric(fixture, METRIC_CONNECTIONS), 0);
    cr_assert_eq(metric(fixture, METRIC_HANDSHAKES_IN_FLIGHT), 0);
    cr_assert_eq(fixture->loop.wheel.armed, 0);
}

/* ── Clients ─────────────────────────────────────────────────────────────────────────────────── */

static struct sockaddr_storage address_of(const char *ip)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *ip4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *ip6 = (struct sockaddr_in6 *)&storage;

    if (strchr(ip, ':')) {
        ip6->sin6_family = AF_INET6;
        cr_assert_eq(inet_pton(AF_INET6, ip, &ip6->sin6_addr), 1);
    } else {
        ip4->sin_family = AF_INET;
        cr_assert_eq(inet_pton(AF_INET, ip, &ip4->sin_addr), 1);
    }
    return storage;
}

/* The client's end. */
static int enter(struct fixture *fixture, const char *ip)
{
    struct sockaddr_storage peer = address_of(ip);
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    sessions_accept(fixture->sessions, pair[0], (struct sockaddr *)&peer, false);
    return pair[1];
}

/* What is answered to `request`, up to the end of what there is. */
static const char *ask(struct fixture *fixture, int client, const char *request)
{
    static char answer[4096];
    ssize_t n;

    cr_assert_eq(write(client, request, strlen(request)), (ssize_t)strlen(request));
    turn(fixture);
    n = read(client, answer, sizeof(answer) - 1);
    answer[n > 0 ? n : 0] = '\0';
    return answer;
}

static bool has_ended(int client)
{
    char bytes[4096];
    ssize_t n;

    while ((n = read(client, bytes, sizeof(bytes))) > 0) {
    }
    return n == 0;
}

#define GET "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n"
#define UPGRADE                                                             \
    "GET /ws/progress HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"       \
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Version: 13\r\n\r\n"

static bool is_busy(const char *answer)
{
    const char *retry_after = strstr(answer, "Retry-After: ");
    int seconds = retry_after ? atoi(retry_after + strlen("Retry-After: ")) : 0;

    return strncmp(answer, "HTTP/1.1 503 ", 13) == 0 && seconds >= 2 && seconds <= 10 &&
           strstr(answer, "Connection: close") && strstr(answer, "\"BUSY\"");
}

static bool is_let_in(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 404 ", 13) == 0;
}

/* ── Limits ──────────────────────────────────────────────────────────────────────────────────── */

/* A client that was upgraded, so that it is never idle. */
static int watch(struct fixture *fixture, const char *ip)
{
    int client = enter(fixture, ip);

    cr_assert_eq(strncmp(ask(fixture, client, UPGRADE), "HTTP/1.1 101 ", 13), 0);
    return client;
}

Test(sessions, over_max_connections_a_client_is_told_when_to_come_back)
{
    struct fixture fixture;
    int first, second, third, fourth;

    set_up(&fixture);
    fixture.config.max_connections = 2;
    first = watch(&fixture, "10.0.0.1");
    second = watch(&fixture, "10.0.0.2");
    third = enter(&fixture, "10.0.0.3");
    cr_assert(is_busy(ask(&fixture, third, UPGRADE)));
    cr_assert(has_ended(third));
    cr_assert_eq(metric(&fixture, METRIC_REFUSED_LIMIT), 1);
    cr_assert(!has_ended(first) && !has_ended(second));
    close(third);
    close(second);
    turn(&fixture);
    fourth = enter(&fixture, "10.0.0.4");
    cr_assert(is_let_in(ask(&fixture, fourth, GET)), "there is room again");
    close(first);
    close(fourth);
    tear_down(&fixture);
}

Test(sessions, over_max_connections_who_is_idle_makes_room)
{
    struct fixture fixture;
    int watching, idle, ending, fourth, fifth;

    set_up(&fixture);
    fixture.config.max_connections = 3;
    idle = enter(&fixture, "10.0.0.1");
    watching = watch(&fixture, "10.0.0.2");
    ending = enter(&fixture, "10.0.0.3");
    ask(&fixture, idle, GET);
    ask(&fixture, ending, "GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    fourth = enter(&fixture, "10.0.0.4");
    cr_assert(is_let_in(ask(&fixture, fourth, GET)));
    cr_assert(!has_ended(idle), "who is about to end goes first");
    fifth = enter(&fixture, "10.0.0.5");
    cr_assert(is_let_in(ask(&fixture, fifth, GET)));
    cr_assert(has_ended(idle));
    cr_assert(!has_ended(watching) && !has_ended(fourth));
    cr_assert_eq(metric(&fixture, METRIC_CONNECTIONS), 3);
    close(idle);
    close(watching);
    close(ending);
    close(fourth);
    close(fifth);
    tear_down(&fixture);
}

Test(sessions, who_is_refused_holds_no_more_than_a_few_descriptors)
{
    struct fixture fixture;
    int clients[SESSIONS_REFUSED_MAX + 10], inside;

    set_up(&fixture);
    fixture.config.max_connections = 1;
    inside = watch(&fixture, "10.0.0.1");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = enter(&fixture, "10.0.0.2");
        /* Some over the limit, some with a request that is none. They don't leave. */
        ask(&fixture, clients[i], i % 2 ? GET : "nonsense\r\n\r\n");
    }
    cr_assert_eq(metric(&fixture, METRIC_CONNECTIONS), 1 + SESSIONS_REFUSED_MAX);
    cr_assert(!has_ended(inside));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        close(clients[i]);
    }
    close(inside);
    tear_down(&fixture);
}

Test(sessions, over_its_share_an_address_is_told_so_and_no_other)
{
    const struct {
        const char *first, *second;
        bool is_same;
    } cases[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"10.0.0.1", "::ffff:10.0.0.1", true},        /* the same, through an IPv6 socket */
        {"2001:db8:1:2::1", "2001:db8:1:2::9", true}, /* a client has a /64 */
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fixture;
        int first, second, again;

        set_up(&fixture);
        fixture.config.max_connections_per_address = 1;
        first = enter(&fixture, cases[i].first);
        second = enter(&fixture, cases[i].second);
        cr_assert(is_let_in(ask(&fixture, first, GET)));
        cr_assert_eq(is_busy(ask(&fixture, second, GET)), cases[i].is_same, "case %zu", i);
        cr_assert_eq(metric(&fixture, METRIC_REFUSED_ADDRESS_LIMIT), cases[i].is_same);
        close(first);
        close(second);
        turn(&fixture);
        again = enter(&fixture, cases[i].first);
        cr_assert(is_let_in(ask(&fixture, again, GET)));
        close(again);
        tear_down(&fixture);
    }
}

Test(sessions, over_max_handshakes_the_oldest_that_has_said_nothing_goes)
{
    struct fixture fixture;
    int begun, first, second, third;

    set_up(&fixture);
    fixture.config.max_handshakes = 3;
    begun = enter(&fixture, "10.0.0.1");
    first = enter(&fixture, "10.0.0.1");
    second = enter(&fixture, "10.0.0.1");
    ask(&fixture, begun, "GET /nowhere HT");
    third = enter(&fixture, "10.0.0.2");
    cr_assert_eq(metric(&fixture, METRIC_HANDSHAKES_IN_FLIGHT), 3);
    turn(&fixture);
    cr_assert(has_ended(first));
    cr_assert(!has_ended(second) && !has_ended(begun));
    cr_assert_eq(metric(&fixture, METRIC_REFUSED_HANDSHAKES), 1);
    cr_assert(is_let_in(ask(&fixture, third, GET)));
    cr_assert(is_let_in(ask(&fixture, begun, "TP/1.1\r\nHost: h\r\n\r\n")));
    cr_assert_eq(metric(&fixture, METRIC_HANDSHAKES_IN_FLIGHT), 1);
    close(begun);
    close(first);
    close(second);
    close(third);
    tear_down(&fixture);
}

Test(sessions, a_byte_does_not_shut_newcomers_out)
{
    struct fixture fixture;
    int clients[8], newcomer;

    set_up(&fixture);
    fixture.config.max_handshakes = 4;
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = enter(&fixture, "10.0.0.1");
        ask(&fixture, clients[i], "G");
    }
    newcomer = enter(&fixture, "10.0.0.2");
    for (size_t i = 0; i < 3; i++) {
        close(clients[i]);
        clients[i] = enter(&fixture, "10.0.0.1");
        ask(&fixture, clients[i], "G");
    }
    cr_assert(is_let_in(ask(&fixture, newcomer, GET)));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        close(clients[i]);
    }
    close(newcomer);
    tear_down(&fixture);
}

Test(sessions, out_of_memory_turns_one_client_away)
{
    struct fixture fixture;
    int client;

    set_up(&fixture);
    for (unsigned nth = 1; nth <= 3; nth++) {
        mem_fail_nth(nth);
        client = enter(&fixture, "10.0.0.1");
        mem_fail_nth(0);
        turn(&fixture);
        cr_assert(has_ended(client), "allocation %u", nth);
        cr_assert_eq(metric(&fixture, METRIC_CONNECTIONS), 0);
        close(client);
    }
    client = enter(&fixture, "10.0.0.1");
    cr_assert(is_let_in(ask(&fixture, client, GET)));
    close(client);
    tear_down(&fixture);
}

/* ── Time ────────────────────────────────────────────────────────────────────────────────────── */

Test(sessions, who_never_finishes_the_first_request_is_closed)
{
    struct fixture fixture;
    int silent, halfway;

    set_up(&fixture);
    silent = enter(&fixture, "10.0.0.1");
    halfway = enter(&fixture, "10.0.0.1");
    ask(&fixture, halfway, "GET / HTTP/1.1\r\n");
    pass(&fixture, 9000);
    cr_assert(!has_ended(silent));
    ask(&fixture, halfway, "Host: h\r\n"); /* a byte now and then gains no time */
    pass(&fixture, 10200);
    cr_assert(has_ended(silent));
    cr_assert(has_ended(halfway));
    cr_assert_eq(metric(&fixture, METRIC_CONNECTIONS), 0);
    close(silent);
    close(halfway);
    tear_down(&fixture);
}

Test(sessions, who_does_not_answer_the_closing_handshake_is_cut_off)
{
    struct fixture fixture;
    int client;

    set_up(&fixture);
    client = enter(&fixture, "10.0.0.1");
    cr_assert_eq(strncmp(ask(&fixture, client, UPGRADE), "HTTP/1.1 101 ", 13), 0);
    sessions_close(fixture.sessions, CLOSE_SERVICE_RESTART);
    turn(&fixture);
    pass(&fixture, 4500);
    cr_assert(!has_ended(client));
    cr_assert_eq(fixture.empty, 0);
    pass(&fixture, 5200);
    cr_assert(has_ended(client));
    cr_assert_eq(fixture.empty, 1);
    close(client);
    tear_down(&fixture);
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

Test(sessions, closing_sends_everybody_away_and_says_when_all_have_gone)
{
    struct fixture fixture;
    char frame[256];
    int idle, watching;

    set_up(&fixture);
    idle = enter(&fixture, "10.0.0.1");
    ask(&fixture, idle, GET);
    watching = watch(&fixture, "10.0.0.2");
    sessions_close(fixture.sessions, CLOSE_SERVICE_RESTART);
    turn(&fixture);
    cr_assert(has_ended(idle));
    cr_assert_geq(read(watching, frame, sizeof(frame)), 4);
    cr_assert_eq((uint8_t)frame[2] << 8 | (uint8_t)frame[3], 1012);
    cr_assert_eq(fixture.empty, 0);
    cr_assert_eq(write(watching, "\x88\x82\0\0\0\0\x03\xf4", 8), 8);
    turn(&fixture);
    cr_assert(has_ended(watching));
    close(watching);
    turn(&fixture);
    cr_assert_eq(fixture.empty, 1);
    close(idle);
    tear_down(&fixture);
}

Test(sessions, closing_answers_what_has_come_and_who_has_just_come)
{
    struct fixture fixture;
    int unread, newcomer, silent;
    char answer[4096];
    ssize_t n;

    set_up(&fixture);
    unread = enter(&fixture, "10.0.0.1");
    newcomer = enter(&fixture, "10.0.0.2");
    silent = enter(&fixture, "10.0.0.3");
    cr_assert_eq(write(unread, GET, strlen(GET)), (ssize_t)strlen(GET));
    sessions_close(fixture.sessions, CLOSE_SERVICE_RESTART);
    turn(&fixture);
    n = read(unread, answer, sizeof(answer) - 1);
    cr_assert_gt(n, 0, "what was sent before is answered");
    answer[n] = '\0';
    cr_assert(is_let_in(answer) && strstr(answer, "Connection: close"));
    cr_assert(has_ended(unread));
    cr_assert(!has_ended(newcomer) && !has_ended(silent));
    cr_assert(strstr(ask(&fixture, newcomer, UPGRADE), "HTTP/1.1 101 "));
    pass(&fixture, 1200);
    cr_assert(has_ended(silent));
    cr_assert(!has_ended(newcomer));
    pass(&fixture, 2700); /* it doesn't answer the close frame, and has half of shutdown-timeout */
    cr_assert(has_ended(newcomer));
    close(unread);
    close(newcomer);
    turn(&fixture);
    cr_assert_eq(fixture.empty, 1);
    close(silent);
    tear_down(&fixture);
}

Test(sessions, draining_sends_everybody_away_one_after_the_other)
{
    struct fixture fixture;
    unsigned after_ms[5];
    int clients[5], idle;

    set_up(&fixture);
    idle = enter(&fixture, "10.0.0.9");
    cr_assert(is_let_in(ask(&fixture, idle, GET)));
    for (unsigned i = 0; i < 5; i++) {
        clients[i] = enter(&fixture, "10.0.0.1");
        cr_assert(strstr(ask(&fixture, clients[i], UPGRADE), "HTTP/1.1 101 "));
    }
    const uint64_t began_ms = loop_now(&fixture.loop);
    sessions_drain(fixture.sessions, 5000);
    turn(&fixture);
    cr_assert(has_ended(idle), "who asks nothing goes at once");
    for (unsigned i = 0; i < 5; i++) {
        char told[200];
        ssize_t n = read(clients[i], told, sizeof(told) - 1);

        cr_assert_gt(n, 2);
        told[n] = '\0';
        cr_assert_eq(
            sscanf(told + 2, "{\"type\":\"reconnect\",\"payload\":{\"afterMs\":%u}}", &after_ms[i]),
            1);
        cr_assert(after_ms[i] >= i * 1000 && after_ms[i] <= (i + 1) * 1000);
    }
    for (unsigned i = 0; i < 5; i++) {
        char frame[4];

        if (i == 0 || after_ms[i] > after_ms[i - 1] + 300) {
            cr_assert_lt(read(clients[i], frame, 4), 0, "it stays until its turn");
        }
        fixture.loop.uv.time = began_ms + after_ms[i] + 200;
        pass(&fixture, 0);
        cr_assert_eq(read(clients[i], frame, 4), 4);
        cr_assert_eq(memcmp(frame + 2, "\x03\xf4", 2), 0);
    }
    cr_assert_eq(fixture.empty, 0);
    for (unsigned i = 0; i < 5; i++) {
        close(clients[i]);
    }
    close(idle);
    turn(&fixture);
    cr_assert_eq(fixture.empty, 1);
    tear_down(&fixture);
}

Test(sessions, closing_ends_a_drain)
{
    struct fixture fixture;
    int client;

    set_up(&fixture);
    client = enter(&fixture, "10.0.0.1");
    cr_assert(strstr(ask(&fixture, client, UPGRADE), "HTTP/1.1 101 "));
    sessions_drain(fixture.sessions, 3600000);
    sessions_close(fixture.sessions, CLOSE_GOING_AWAY);
    pass(&fixture, 5200);
    cr_assert_eq(fixture.empty, 1);
    close(client);
    tear_down(&fixture);
}

Test(sessions, closing_with_nobody_there_is_through_at_once)
{
    struct fixture fixture;

    set_up(&fixture);
    sessions_close(fixture.sessions, CLOSE_GOING_AWAY);
    cr_assert_eq(fixture.empty, 1);
    tear_down(&fixture);
}
