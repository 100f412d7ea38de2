#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/redis/redis_link.h"
#include "tests/support/scripted_redis.h"

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

static void on_up(void *owner)
{
    note(owner, "up");
}

static void on_down(void *owner)
{
    note(owner, "down");
}

static void on_message(void *owner, struct span channel, struct span message)
{
    char text[256];

    snprintf(text, sizeof(text), "%.*s: %.*s", (int)channel.len, channel.at, (int)message.len,
             message.at);
    note(owner, text);
}

static void on_closed(void *owner)
{
    struct fixture *fixture = owner;

    fixture->link = NULL;
}

static const struct redis_link_events events = {on_up, on_down, on_message, on_closed};

static void on_reply(void *context, const redisReply *reply)
{
    note(context, !reply ? "lost" : reply->type == REDIS_REPLY_ERROR ? reply->str : "reply");
}

/* Everything that is under way comes to rest. */
static void settle(struct fixture *fixture)
{
    for (int i = 0; i < 100; i++) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

/* So much time passes at once. The loop's own clock is moved with the wheel: it is what the link
 * sets its timers by. */
static void pass(struct fixture *fixture, uint64_t ms)
{
    const uint64_t wheel_ms = fixture->wheel.now_tick * TIMER_WHEEL_TICK_MS;
    const uint64_t now_ms = uv_now(&fixture->loop);

    fixture->loop.time = (wheel_ms > now_ms ? wheel_ms : now_ms) + ms + TIMER_WHEEL_TICK_MS;
    timer_wheel_advance(&fixture->wheel, fixture->loop.time);
    settle(fixture);
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
    fixture->config.redis = fixture->redis.url;
    fixture->config.resync_interval_ms = 15000;
    fixture->config.state_ttl_s = 86400;
    fixture->config.max_payload = 4096;
    strcpy(fixture->prefix, "progress:");
    fixture->config.redis_prefix = fixture->prefix;
    fixture->metrics = calloc(1, sizeof(*fixture->metrics));
    timer_wheel_init(&fixture->wheel, uv_now(&fixture->loop));
    fixture->link = redis_link_open(&(struct redis_link_settings){.loop = &fixture->loop,
                                                                  .wheel = &fixture->wheel,
                                                                  .config = &fixture->config,
                                                                  .metrics = fixture->metrics,
                                                                  .events = &events,
                                                                  .owner = fixture});
    cr_assert_not_null(fixture->link);
}

static void set_up(struct fixture *fixture)
{
    set_up_down(fixture);
    pass(fixture, 0);
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
    pass(&fixture, 0);
    expect(&fixture, "up; ");
    tear_down(&fixture);
}

Test(redis_link, gives_up_a_server_that_never_answers)
{
    struct fixture fixture;

    set_up_down(&fixture);
    fixture.redis.mute_commands = true;
    pass(&fixture, 0);
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
    pass(&fixture, 600000);
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

/* How often the link comes up within three seconds, while the server hangs up as soon as it is up.
 * A slow machine counts fewer. */
static int count_ups_of_a_flapping_link(struct fixture *fixture)
{
    const uint64_t end_ns = uv_hrtime() + 3000000000u;
    int ups = 0;

    while (uv_hrtime() < end_ns) {
        usleep(10000);
        settle(fixture);
        timer_wheel_advance(&fixture->wheel, uv_now(&fixture->loop));
        settle(fixture);
        if (redis_link_is_up(fixture->link)) {
            ups++;
            scripted_redis_hang_up(&fixture->redis);
            settle(fixture);
        }
    }
    return ups;
}

Test(redis_link, backs_off_from_a_server_that_hangs_up_as_soon_as_the_link_is_up)
{
    struct fixture fixture;

    set_up_down(&fixture);
    cr_assert_leq(count_ups_of_a_flapping_link(&fixture), 14);
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
    pass(&fixture, 50);
    expect(&fixture, "down; up; ");
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
