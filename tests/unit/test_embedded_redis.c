#include "broker/process/embedded_redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/process/redis_server.h"
#include "common/mem.h"
#include "tests/support/scripted_redis.h"
#include "tests/support/state_pairs.h"
#include "tests/support/turned_clock.h"

/* ── One that finds a Redis in its state directory; to start one takes a real process ────────── */

struct fixture {
    uv_loop_t loop;
    struct scripted_redis server;
    struct embedded_redis *redis;
    char log[1024]; /* the events, "; " behind each */
};

static void note(struct fixture *fixture, const char *what)
{
    strncat(fixture->log, what, sizeof(fixture->log) - strlen(fixture->log) - 3);
    strcat(fixture->log, "; ");
}

static void on_ready(void *owner)
{
    note(owner, "ready");
}

static void on_failed(void *owner, const char *why)
{
    note(owner, why);
}

static void on_stopped(void *owner)
{
    struct fixture *fixture = owner;

    fixture->redis = NULL;
    note(fixture, "stopped");
}

static const struct embedded_redis_events events = {on_ready, on_failed, on_stopped};

/* Until an event has come. */
static void await(struct fixture *fixture, const char *event)
{
    const uint64_t end_ns = uv_hrtime() + 20000000000u;

    while (!strstr(fixture->log, event)) {
        cr_assert_lt(uv_hrtime(), end_ns, "no %s in %s", event, fixture->log);
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

static void set_up(struct fixture *fixture)
{
    char why[EMBEDDED_REDIS_WHY_SIZE];

    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    scripted_redis_open(&fixture->server, &fixture->loop);
    cr_assert_eq(embedded_redis_open(&fixture->loop, fixture->server.directory, &events, fixture,
                                     &fixture->redis, why),
                 0, "%s", why);
    cr_assert_str_eq(embedded_redis_socket(fixture->redis), fixture->server.path);
}

static void tear_down(struct fixture *fixture)
{
    char path[64];

    if (fixture->redis) {
        embedded_redis_stop(fixture->redis);
    }
    scripted_redis_hang_up(&fixture->server);
    await(fixture, "stopped; ");
    snprintf(path, sizeof(path), "%s/" REDIS_SERVER_LOCK, fixture->server.directory);
    unlink(path);
    scripted_redis_close(&fixture->server);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
}

static void say_info(struct fixture *fixture, const char *info)
{
    char answer[256];

    snprintf(answer, sizeof(answer), "$%zu\r\n%s\r\n", strlen(info), info);
    scripted_redis_say(&fixture->server, "INFO", answer);
}

Test(embedded_redis, takes_over_one_that_lives_and_ends_it)
{
    struct fixture fixture;

    set_up(&fixture);
    await(&fixture, "ready; ");
    embedded_redis_stop(fixture.redis);
    for (int i = 0; i < 20 && !strstr(fixture.server.log, "SHUTDOWN"); i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    cr_assert_not_null(strstr(fixture.server.log, "SHUTDOWN"));
    tear_down(&fixture);
    cr_assert_str_eq(fixture.log, "ready; stopped; ");
}

Test(embedded_redis, waits_for_one_that_loads_its_data)
{
    struct fixture fixture;

    set_up(&fixture);
    say_info(&fixture, "redis_version:7.0.15\r\nprocess_id:0\r\nloading:1\r\nrole:master\r\n");
    await(&fixture, "ready; ");
    tear_down(&fixture);
}

Test(embedded_redis, says_what_speaks_against_the_one_it_found)
{
    static const struct {
        const char *info, *why;
    } cases[] = {
        {"redis_version:6.2.14\r\nrole:master\r\n", "older than 7.0"},
        {"redis_version:7.0.15\r\nrole:slave\r\n", "replica"},
        {"redis_version:7.0.15\r\nredis_mode:cluster\r\nrole:master\r\n", "Cluster"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fixture;

        set_up(&fixture);
        say_info(&fixture, cases[i].info);
        await(&fixture, "; ");
        cr_assert_not_null(strstr(fixture.log, cases[i].why), "%s", fixture.log);
        cr_assert_null(strstr(fixture.log, "ready"));
        tear_down(&fixture);
    }
}

Test(embedded_redis, says_that_the_one_it_found_refuses)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.server, "INFO", "-NOAUTH Authentication required.\r\n");
    await(&fixture, "NOAUTH");
    tear_down(&fixture);
}

Test(embedded_redis, says_that_nobody_answers_on_a_socket_that_is_held)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.server.mute_commands = true;
    for (int i = 0; i < 3; i++) {
        uv_run(&fixture.loop, UV_RUN_ONCE);
    }
    cr_assert_str_eq(fixture.log, "");
    turned_clock_ms += 10000;
    await(&fixture, "does not answer; ");
    tear_down(&fixture);
}

Test(embedded_redis, stops_while_it_still_looks)
{
    struct fixture fixture;

    set_up(&fixture);
    embedded_redis_stop(fixture.redis);
    await(&fixture, "stopped; ");
    tear_down(&fixture);
    cr_assert_str_eq(fixture.log, "stopped; ");
}

Test(embedded_redis, leaves_a_directory_alone_that_another_uses)
{
    struct fixture fixture;
    struct embedded_redis *other = NULL;
    char why[EMBEDDED_REDIS_WHY_SIZE];

    set_up(&fixture);
    cr_assert_eq(embedded_redis_open(&fixture.loop, fixture.server.directory, &events, &fixture,
                                     &other, why),
                 EMBEDDED_REDIS_INVALID);
    cr_assert_not_null(strstr(why, "another progressd"));
    cr_assert_null(other);
    tear_down(&fixture);
}

Test(embedded_redis, moves_only_as_its_states_say)
{
    static const bool allowed[EMBEDDED_STOPPED + 1][EMBEDDED_STOPPED + 1] = {
        [EMBEDDED_PAUSING] = {[EMBEDDED_LOOKING] = true, [EMBEDDED_STOPPING] = true},
        [EMBEDDED_LOOKING] = {[EMBEDDED_TAKEN] = true,
                              [EMBEDDED_STARTING] = true,
                              [EMBEDDED_FAILED] = true,
                              [EMBEDDED_STOPPING] = true},
        [EMBEDDED_TAKEN] = {[EMBEDDED_LOOKING] = true, [EMBEDDED_STOPPING] = true},
        [EMBEDDED_STARTING] = {[EMBEDDED_RUNNING] = true,
                               [EMBEDDED_PAUSING] = true,
                               [EMBEDDED_FAILED] = true,
                               [EMBEDDED_STOPPING] = true},
        [EMBEDDED_RUNNING] = {[EMBEDDED_PAUSING] = true, [EMBEDDED_STOPPING] = true},
        [EMBEDDED_FAILED] = {[EMBEDDED_STOPPING] = true},
        [EMBEDDED_STOPPING] = {[EMBEDDED_STOPPED] = true},
    };

    EXPECT_STATE_PAIRS(&embedded_machine, allowed);
}
