#include "broker/redis/redis_handshake.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scripted_redis.h"

/* ── A handshake over two connections to a scripted Redis ────────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct scripted_redis redis;
    struct redis_connection commands, subscriber;
    struct redis_handshake handshake;
    struct config config;
    struct metrics_slot *metrics;
    int opened, closed, dones;
    char why[256]; /* of the last on_done; "": all is well */
};

static void on_commands_open(struct redis_connection *connection)
{
    CONTAINER_OF(connection, struct fixture, commands)->opened++;
}

static void on_subscriber_open(struct redis_connection *connection)
{
    CONTAINER_OF(connection, struct fixture, subscriber)->opened++;
}

static void on_message(struct redis_connection *connection, struct span channel,
                       struct span message)
{
}

static void on_failed(struct redis_connection *connection, const char *why)
{
}

static void on_commands_closed(struct redis_connection *connection)
{
    CONTAINER_OF(connection, struct fixture, commands)->closed++;
}

static void on_subscriber_closed(struct redis_connection *connection)
{
    CONTAINER_OF(connection, struct fixture, subscriber)->closed++;
}

static const struct redis_connection_events commands_events = {
    .on_open = on_commands_open, .on_failed = on_failed, .on_closed = on_commands_closed};
static const struct redis_connection_events subscriber_events = {.on_open = on_subscriber_open,
                                                                 .on_message = on_message,
                                                                 .on_failed = on_failed,
                                                                 .on_closed = on_subscriber_closed};

static void on_done(struct redis_handshake *handshake, const char *why)
{
    struct fixture *fixture = CONTAINER_OF(handshake, struct fixture, handshake);

    fixture->dones++;
    snprintf(fixture->why, sizeof(fixture->why), "%s", why ? why : "");
}

static void settle(struct fixture *fixture)
{
    for (int i = 0; i < 100; i++) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

/* Two open connections, and nothing said. */
static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    scripted_redis_open(&fixture->redis, &fixture->loop);
    fixture->config.state_ttl_s = 86400;
    fixture->config.max_payload = 4096;
    cr_assert_eq(redis_connection_open(&fixture->commands, &fixture->loop, &fixture->redis.url,
                                       &commands_events),
                 0);
    cr_assert_eq(redis_connection_open(&fixture->subscriber, &fixture->loop, &fixture->redis.url,
                                       &subscriber_events),
                 0);
    settle(fixture);
    cr_assert_eq(fixture->opened, 2);
    fixture->handshake.commands = &fixture->commands;
    fixture->handshake.subscriber = &fixture->subscriber;
    fixture->handshake.config = &fixture->config;
    fixture->metrics = calloc(1, sizeof(*fixture->metrics));
    fixture->handshake.metrics = fixture->metrics;
    fixture->handshake.probe_channel = "progress:!probe:1";
    fixture->handshake.on_done = on_done;
}

static void tear_down(struct fixture *fixture)
{
    redis_handshake_stop(&fixture->handshake);
    redis_connection_close(&fixture->commands);
    redis_connection_close(&fixture->subscriber);
    scripted_redis_close(&fixture->redis);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(fixture->closed, 2);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    free(fixture->metrics);
}

static void start(struct fixture *fixture)
{
    redis_handshake_start(&fixture->handshake);
    settle(fixture);
}

static void expect_done(const struct fixture *fixture, const char *why)
{
    cr_assert_eq(fixture->dones, 1);
    if (*why == '\0') {
        cr_assert_str_empty(fixture->why);
    }
    cr_assert_not_null(strstr(fixture->why, why), "%s", fixture->why);
}

static void say_info(struct fixture *fixture, const char *info)
{
    char answer[256];

    snprintf(answer, sizeof(answer), "$%zu\r\n%s\r\n", strlen(info), info);
    scripted_redis_say(&fixture->redis, "INFO", answer);
}

/* FUNCTION LIST tells of a library with this head. */
static void say_library(struct fixture *fixture, const char *head)
{
    char answer[512];

    snprintf(answer, sizeof(answer), "*1\r\n*2\r\n$12\r\nlibrary_code\r\n$%zu\r\n%s\r\n",
             strlen(head), head);
    scripted_redis_say(&fixture->redis, "FUNCTION LIST", answer);
}

static bool has_loaded(const struct fixture *fixture)
{
    return strstr(fixture->redis.log, "FUNCTION LOAD; ");
}

/* ── What it finds ───────────────────────────────────────────────────────────────────────────── */

Test(redis_handshake, takes_a_server_that_has_all_it_needs)
{
    struct fixture fixture;

    set_up(&fixture);
    start(&fixture);
    expect_done(&fixture, "");
    cr_assert_str_eq(fixture.handshake.run_id, SCRIPTED_REDIS_RUN_ID);
    cr_assert_not(has_loaded(&fixture));
    tear_down(&fixture);
}

Test(redis_handshake, says_why_a_server_will_not_do)
{
    static const struct {
        const char *info, *why;
    } cases[] = {
        {"redis_version:6.2.14\r\nrun_id:1\r\nrole:master\r\n", "older than 7.0"},
        {"redis_version:7.0.15\r\nrun_id:1\r\nrole:slave\r\n", "replica"},
        {"redis_version:7.0.15\r\nrun_id:1\r\nloading:1\r\nrole:master\r\n", "loading"},
        {"redis_version:7.0.15\r\nredis_mode:cluster\r\nrun_id:1\r\nrole:master\r\n", "Cluster"},
        {"redis_version:7.0.15\r\nredis_mode:sentinel\r\nrun_id:1\r\n", "Sentinel"},
        {"redis_version:7.0.15\r\nrole:master\r\n", "another server"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fixture;

        set_up(&fixture);
        say_info(&fixture, cases[i].info);
        start(&fixture);
        expect_done(&fixture, cases[i].why);
        tear_down(&fixture);
    }
}

Test(redis_handshake, names_the_command_that_was_refused)
{
    static const char *const commands[] = {"INFO",    "FUNCTION LIST",         "FUNCTION LOAD",
                                           "HGETALL", "FCALL progress_rights", "SSUBSCRIBE"};

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct fixture fixture;
        char why[64];

        set_up(&fixture);
        if (strcmp(commands[i], "FUNCTION LOAD") == 0) {
            scripted_redis_say(&fixture.redis, "FUNCTION LIST", "*0\r\n");
        }
        scripted_redis_say(&fixture.redis, commands[i], "-NOPERM no right to it\r\n");
        snprintf(why, sizeof(why), "%s: NOPERM no right to it", commands[i]);
        start(&fixture);
        expect_done(&fixture, why);
        tear_down(&fixture);
    }
}

/* ── The function library ────────────────────────────────────────────────────────────────────── */

Test(redis_handshake, loads_the_library_where_it_is_missing)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "FUNCTION LIST", "*0\r\n");
    start(&fixture);
    expect_done(&fixture, "");
    cr_assert(has_loaded(&fixture));
    tear_down(&fixture);
}

Test(redis_handshake, replaces_an_older_library_and_leaves_a_newer_one)
{
    static const struct {
        const char *head;
        bool loads;
    } cases[] = {
        {"#!lua name=progress\n-- progressd library version=1 state_ttl=86400 max_payload=4096\n",
         true},
        {"#!lua name=progress\n-- progressd library version=9999 state_ttl=1 max_payload=256\n",
         false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fixture;

        set_up(&fixture);
        say_library(&fixture, cases[i].head);
        start(&fixture);
        expect_done(&fixture, "");
        cr_assert_eq(has_loaded(&fixture), cases[i].loads);
        tear_down(&fixture);
    }
}

Test(redis_handshake, leaves_a_foreign_library_alone)
{
    struct fixture fixture;

    set_up(&fixture);
    say_library(&fixture, "#!lua name=progress\nredis.register_function('x', print)\n");
    start(&fixture);
    expect_done(&fixture, "isn't progressd's");
    cr_assert_not(has_loaded(&fixture));
    tear_down(&fixture);
}

Test(redis_handshake, looks_again_when_another_was_faster_to_load_it)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "FUNCTION LIST", "*0\r\n");
    scripted_redis_say(&fixture.redis, "FUNCTION LOAD",
                       "-ERR Library 'progress' already exists\r\n");
    redis_handshake_start(&fixture.handshake);
    while (!has_loaded(&fixture)) {
        uv_run(&fixture.loop, UV_RUN_ONCE);
    }
    scripted_redis_say(&fixture.redis, "FUNCTION LIST", NULL);
    settle(&fixture);
    expect_done(&fixture, "");
    tear_down(&fixture);
}

/* ── Looking again ───────────────────────────────────────────────────────────────────────────── */

static void look_again(struct fixture *fixture)
{
    fixture->dones = 0;
    redis_handshake_check_again(&fixture->handshake);
    settle(fixture);
}

Test(redis_handshake, finds_that_the_server_is_another_one_or_was_demoted)
{
    static const struct {
        const char *info, *why;
    } cases[] = {
        {"redis_version:7.0.15\r\nrun_id:another\r\nrole:master\r\n", "another server"},
        {"redis_version:7.0.15\r\nrun_id:" SCRIPTED_REDIS_RUN_ID "\r\nrole:slave\r\n", "replica"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fixture;

        set_up(&fixture);
        start(&fixture);
        look_again(&fixture);
        expect_done(&fixture, "");
        say_info(&fixture, cases[i].info);
        look_again(&fixture);
        expect_done(&fixture, cases[i].why);
        tear_down(&fixture);
    }
}

Test(redis_handshake, tells_when_the_library_has_settings_of_another_broker)
{
    struct fixture fixture;
    char head[128];

    set_up(&fixture);
    start(&fixture);
    cr_assert_eq(metric_read(fixture.metrics, METRIC_LIBRARY_DISAGREES), 0);
    snprintf(head, sizeof(head),
             "#!lua name=progress\n-- progressd library version=%u state_ttl=60 max_payload=4096\n",
             (unsigned)progress_library_version);
    say_library(&fixture, head);
    look_again(&fixture);
    expect_done(&fixture, "");
    cr_assert_not(has_loaded(&fixture), "two brokers would replace it by turns");
    cr_assert_eq(metric_read(fixture.metrics, METRIC_LIBRARY_DISAGREES), 1);
    tear_down(&fixture);
}

Test(redis_handshake, tells_nothing_once_it_was_stopped)
{
    struct fixture fixture;

    set_up(&fixture);
    redis_handshake_start(&fixture.handshake);
    redis_handshake_stop(&fixture.handshake);
    settle(&fixture);
    cr_assert_eq(fixture.dones, 0);
    tear_down(&fixture);
}
