#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/redis/redis_link.h"
#include "tests/support/scripted_redis.h"
#include "tests/support/state_pairs.h"
#include "tests/support/turned_clock.h"

/* ── A link to a scripted Redis; the test turns its clock ────────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct scripted_redis redis;
    struct config config;
    char prefix[16];
    struct metrics_slot *metrics;
    struct redis_link *link;
    char log[4096]; /* the events, "; " behind each */
};

static void note(struct fixture *fixture, const char *what)
{
    strncat(fixture->log, what, sizeof(fixture->log) - strlen(fixture->log) - 3);
    strcat(fixture->log, "; ");
}

static void on_up(void *owner, struct redis_link *link)
{
    note(owner, "up");
}

static void on_down(void *owner, struct redis_link *link)
{
    note(owner, "down");
}

static void on_message(void *owner, struct redis_link *link, struct span channel,
                       struct span message)
{
    char text[256];

    snprintf(text, sizeof(text), "%.*s: %.*s", (int)channel.len, channel.at, (int)message.len,
             message.at);
    note(owner, text);
}

static void on_closed(void *owner, struct redis_link *link)
{
    struct fixture *fixture = owner;

    cr_assert_eq(link, fixture->link);
    fixture->link = NULL;
}

static const struct redis_link_events events = {on_up, on_down, on_message, on_closed};

static void on_reply(void *context, const struct redis_answer *answer)
{
    char text[128];

    snprintf(text, sizeof(text), "%.*s", (int)answer->error.len, answer->error.at);
    note(context, answer->kind == REDIS_LOST    ? "lost"
                  : answer->kind == REDIS_VALUE ? "reply"
                                                : text);
}

static void settle(struct fixture *fixture)
{
    turned_clock_settle(&fixture->loop);
}

static void pass(struct fixture *fixture, uint64_t ms)
{
    turned_clock_pass(&fixture->loop, &fixture->wheel, ms);
}

static void look(struct fixture *fixture)
{
    pass(fixture, REDIS_LINK_LOOK_MS);
}

static void look_times(struct fixture *fixture, int times)
{
    for (int i = 0; i < times; i++) {
        look(fixture);
    }
}

/* Until a link that is down has tried again. */
static void try_again(struct fixture *fixture)
{
    pass(fixture, 3000);
}

static void expect(struct fixture *fixture, const char *log)
{
    cr_assert_str_eq(fixture->log, log);
    fixture->log[0] = '\0';
}

static uint64_t count(const struct fixture *fixture, enum metric metric)
{
    return metric_read(fixture->metrics, metric);
}

static void set_up_down(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    scripted_redis_open(&fixture->redis, &fixture->loop);
    fixture->config.resync_interval_ms = 15000;
    fixture->config.state_ttl_s = 86400;
    fixture->config.max_payload = 4096;
    strcpy(fixture->prefix, "progress:");
    fixture->config.redis_prefix = fixture->prefix;
    fixture->metrics = calloc(1, sizeof(*fixture->metrics));
    timer_wheel_init(&fixture->wheel, turned_clock_ms);
    fixture->link = redis_link_open(&(struct redis_link_settings){.loop = &fixture->loop,
                                                                  .wheel = &fixture->wheel,
                                                                  .config = &fixture->config,
                                                                  .server = &fixture->redis.url,
                                                                  .metrics = fixture->metrics,
                                                                  .events = &events,
                                                                  .owner = fixture});
    cr_assert_not_null(fixture->link);
}

static void set_up(struct fixture *fixture)
{
    set_up_down(fixture);
    pass(fixture, TIMER_WHEEL_TICK_MS);
    expect(fixture, "up; ");
    cr_assert_eq(count(fixture, METRIC_LINKS_UP), 1);
}

static void tear_down(struct fixture *fixture)
{
    redis_link_close(fixture->link);
    scripted_redis_close(&fixture->redis);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_null(fixture->link);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    free(fixture->metrics);
}

static void command(struct fixture *fixture)
{
    cr_assert_eq(redis_link_command(fixture->link, on_reply, fixture, 2,
                                    (struct span[]){SPAN_OF("GET"), SPAN_OF("progress:a")}),
                 0);
    settle(fixture);
}

static void subscribe(struct fixture *fixture, const char *channel)
{
    cr_assert_eq(
        redis_link_subscribe(fixture->link, "SSUBSCRIBE", SPAN_OF(channel), on_reply, fixture), 0);
    settle(fixture);
}

/* ── Coming up ───────────────────────────────────────────────────────────────────────────────── */

Test(redis_link, comes_up_hands_messages_on_and_answers_commands)
{
    struct fixture fixture;

    set_up(&fixture);
    subscribe(&fixture, "progress:a");
    scripted_redis_publish(&fixture.redis, "progress:a", "hello");
    settle(&fixture);
    command(&fixture);
    expect(&fixture, "reply; progress:a: hello; reply; ");
    tear_down(&fixture);
}

Test(redis_link, names_its_connections)
{
    struct fixture fixture;

    set_up(&fixture);
    cr_assert_not_null(strstr(fixture.redis.log, "CLIENT SETNAME; "));
    tear_down(&fixture);
}

Test(redis_link, comes_up_where_it_may_not_name_its_connections)
{
    struct fixture fixture;

    set_up_down(&fixture);
    scripted_redis_say(&fixture.redis, "CLIENT", "-NOPERM no\r\n");
    pass(&fixture, TIMER_WHEEL_TICK_MS);
    expect(&fixture, "up; ");
    tear_down(&fixture);
}

Test(redis_link, gives_up_a_server_that_never_answers)
{
    struct fixture fixture;

    set_up_down(&fixture);
    fixture.redis.mute_commands = true;
    pass(&fixture, TIMER_WHEEL_TICK_MS);
    cr_assert_eq(fixture.redis.connects, 2);
    pass(&fixture, REDIS_LINK_OPEN_TIMEOUT_MS);
    scripted_redis_unmute(&fixture.redis);
    try_again(&fixture);
    cr_assert_eq(fixture.redis.connects, 4);
    expect(&fixture, "up; ");
    tear_down(&fixture);
}

/* ── Deadlines ───────────────────────────────────────────────────────────────────────────────── */

/* Messages come all the while, as from a Redis of which only one socket fails. */
static void look_while_busy(struct fixture *fixture, int times)
{
    for (int i = 0; i < times; i++) {
        scripted_redis_publish(&fixture->redis, "progress:busy", "x");
        settle(fixture);
        look(fixture);
    }
}

Test(redis_link, gives_up_a_command_connection_that_is_silent_while_messages_come)
{
    struct fixture fixture;

    set_up(&fixture);
    subscribe(&fixture, "progress:busy");
    fixture.redis.mute_commands = true;
    command(&fixture);
    expect(&fixture, "reply; ");
    look_while_busy(&fixture, REDIS_LINK_TIMEOUT_LOOKS);
    cr_assert_null(strstr(fixture.log, "lost"), "it was given time");
    look_while_busy(&fixture, 1);
    cr_assert_not_null(strstr(fixture.log, "lost; down; "));
    cr_assert_eq(count(&fixture, METRIC_REPLIES_OVERDUE), 1);
    cr_assert_eq(count(&fixture, METRIC_LINKS_UP), 0);
    scripted_redis_unmute(&fixture.redis);
    fixture.log[0] = '\0';
    try_again(&fixture);
    expect(&fixture, "up; ");
    tear_down(&fixture);
}

Test(redis_link, finds_a_silent_command_connection_that_nobody_uses)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.config.resync_interval_ms = 1;
    subscribe(&fixture, "progress:busy");
    fixture.redis.mute_commands = true;
    look_while_busy(&fixture, REDIS_LINK_TIMEOUT_LOOKS + 3);
    cr_assert_not_null(strstr(fixture.log, "down; "));
    tear_down(&fixture);
}

Test(redis_link, gives_up_a_subscription_that_is_never_confirmed)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "SSUBSCRIBE", "");
    subscribe(&fixture, "progress:a");
    look_times(&fixture, REDIS_LINK_TIMEOUT_LOOKS + 1);
    expect(&fixture, "lost; down; ");
    cr_assert_eq(count(&fixture, METRIC_REPLIES_OVERDUE), 1);
    tear_down(&fixture);
}

Test(redis_link, keeps_a_server_that_answers_late_but_in_time)
{
    struct fixture fixture;

    set_up(&fixture);
    for (int i = 0; i < 20; i++) {
        fixture.redis.mute_commands = true;
        command(&fixture);
        look_times(&fixture, REDIS_LINK_TIMEOUT_LOOKS - 1);
        scripted_redis_unmute(&fixture.redis);
        settle(&fixture);
        expect(&fixture, "reply; ");
    }
    cr_assert_eq(count(&fixture, METRIC_LINK_LOSSES), 0);
    tear_down(&fixture);
}

Test(redis_link, blames_nobody_when_its_own_process_stood_still)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.redis.mute_commands = true;
    command(&fixture);
    turned_clock_jump(&fixture.loop, &fixture.wheel, 600000);
    expect(&fixture, "");
    scripted_redis_unmute(&fixture.redis);
    settle(&fixture);
    expect(&fixture, "reply; ");
    tear_down(&fixture);
}

Test(redis_link, probes_a_quiet_link_and_gives_it_up_when_the_probe_does_not_arrive)
{
    struct fixture fixture;

    set_up(&fixture);
    look_times(&fixture, 30);
    expect(&fixture, "");
    cr_assert_geq(count(&fixture, METRIC_PROBES_SENT), 4);
    scripted_redis_say(&fixture.redis, "SPUBLISH", ":0\r\n");
    look_times(&fixture, REDIS_LINK_PROBE_LOOKS + REDIS_LINK_TIMEOUT_LOOKS + 2);
    expect(&fixture, "down; ");
    cr_assert_eq(count(&fixture, METRIC_PROBES_FAILED), 1);
    tear_down(&fixture);
}

/* ── Coming back ─────────────────────────────────────────────────────────────────────────────── */

Test(redis_link, backs_off_from_a_server_that_hangs_up_as_soon_as_the_link_is_up)
{
    struct fixture fixture;
    int ups = 0;

    set_up_down(&fixture);
    for (int tick = 0; tick < 1000; tick++) {
        pass(&fixture, TIMER_WHEEL_TICK_MS);
        if (redis_link_is_up(fixture.link)) {
            ups++;
            scripted_redis_hang_up(&fixture.redis);
            settle(&fixture);
        }
    }
    /* 100 s, and 1.5 s between attempts on average. */
    cr_assert_leq(ups, 120);
    cr_assert_geq(ups, 40);
    tear_down(&fixture);
}

Test(redis_link, comes_back_at_once_after_it_has_held)
{
    struct fixture fixture;

    set_up(&fixture);
    for (int i = 0; i < 5; i++) {
        scripted_redis_hang_up(&fixture.redis);
        settle(&fixture);
        try_again(&fixture);
    }
    fixture.log[0] = '\0';
    while (!redis_link_is_up(fixture.link)) {
        try_again(&fixture);
    }
    look_times(&fixture, REDIS_LINK_STEADY_LOOKS);
    fixture.log[0] = '\0';
    scripted_redis_hang_up(&fixture.redis);
    settle(&fixture);
    pass(&fixture, 200);
    expect(&fixture, "down; up; ");
    tear_down(&fixture);
}

/* ── Refusals ────────────────────────────────────────────────────────────────────────────────── */

Test(redis_link, outlives_what_is_refused_for_one_key)
{
    static const char *const refusals[] = {"-NOPERM no\r\n", "-WRONGTYPE no\r\n", "-OOM no\r\n",
                                           "-MISCONF no\r\n", "-ERR no\r\n"};
    struct fixture fixture;

    set_up(&fixture);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        scripted_redis_say(&fixture.redis, "GET", refusals[i]);
        scripted_redis_say(&fixture.redis, "SSUBSCRIBE", refusals[i]);
        command(&fixture);
        subscribe(&fixture, "progress:a");
        cr_assert(redis_link_is_up(fixture.link), "%s", refusals[i]);
    }
    cr_assert_null(strstr(fixture.log, "down"));
    tear_down(&fixture);
}

Test(redis_link, gives_up_a_server_that_says_it_is_no_master_any_more)
{
    static const char *const refusals[] = {"-READONLY no\r\n", "-LOADING wait\r\n",
                                           "-MOVED 1 a:1\r\n"};

    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct fixture fixture;

        set_up(&fixture);
        scripted_redis_say(&fixture.redis, "GET", refusals[i]);
        command(&fixture);
        cr_assert_not_null(strstr(fixture.log, "; down; "), "%s", refusals[i]);
        tear_down(&fixture);
    }
}

Test(redis_link, looks_for_the_library_when_a_function_is_missing)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "GET", "-ERR Function not found\r\n");
    fixture.redis.log[0] = '\0';
    scripted_redis_say(&fixture.redis, "FUNCTION LIST", "*0\r\n");
    command(&fixture);
    settle(&fixture);
    cr_assert_not_null(strstr(fixture.redis.log, "FUNCTION LOAD; "));
    expect(&fixture, "ERR Function not found; ");
    tear_down(&fixture);
}

Test(redis_link, refuses_commands_while_it_is_down)
{
    struct fixture fixture;

    set_up_down(&fixture);
    cr_assert_eq(
        redis_link_command(fixture.link, on_reply, &fixture, 1, (struct span[]){SPAN_OF("PING")}),
        -ENOTCONN);
    cr_assert_eq(
        redis_link_subscribe(fixture.link, "SSUBSCRIBE", SPAN_OF("progress:a"), on_reply, &fixture),
        -ENOTCONN);
    tear_down(&fixture);
}

/* ── States ──────────────────────────────────────────────────────────────────────────────────── */

Test(redis_link, moves_only_as_its_states_say)
{
    static const bool allowed[LINK_CLOSED + 1][LINK_CLOSED + 1] = {
        [LINK_DOWN] = {[LINK_OPENING] = true, [LINK_CLOSED] = true},
        [LINK_OPENING] = {[LINK_UP] = true, [LINK_FAILING] = true, [LINK_CLOSING] = true},
        [LINK_UP] = {[LINK_FAILING] = true, [LINK_CLOSING] = true},
        [LINK_FAILING] = {[LINK_DOWN] = true, [LINK_CLOSING] = true},
        [LINK_CLOSING] = {[LINK_CLOSED] = true},
    };

    EXPECT_STATE_PAIRS(&link_machine, allowed);
}
