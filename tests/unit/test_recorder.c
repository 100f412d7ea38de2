#include "broker/process/recorder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scripted_redis.h"
#include "tests/support/state_pairs.h"
#include "tests/support/turned_clock.h"

#define MESSAGE "{\"type\":\"complete\",\"payload\":{\"resultUrl\":\"/1\",\"duration\":1}}"
#define LOOK_MS 1000 /* of the link */

/* ── A recorder on a scripted Redis; the test turns its clock ────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct scripted_redis redis;
    struct config config;
    char prefix[16];
    struct metrics_slot *metrics;
    struct recorder *recorder;
};

static void on_closed(void *owner)
{
    struct fixture *fixture = owner;

    fixture->recorder = NULL;
}

static void settle(struct fixture *fixture)
{
    turned_clock_settle(&fixture->loop);
}

static void pass(struct fixture *fixture, uint64_t ms)
{
    turned_clock_pass(&fixture->loop, &fixture->wheel, ms);
}

static uint64_t count(const struct fixture *fixture, enum metric metric)
{
    return metric_read(fixture->metrics, metric);
}

static void expect_state(const struct fixture *fixture, enum recorder_state state)
{
    cr_assert_str_eq(state_name(&recorder_machine, recorder_state(fixture->recorder)),
                     state_name(&recorder_machine, state));
    cr_assert_eq(count(fixture, METRIC_RECORDER_ACTIVE), state == RECORDER_RECORDING);
}

static void set_up_away(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    scripted_redis_open(&fixture->redis, &fixture->loop);
    strcpy(fixture->prefix, "progress:");
    fixture->config.redis_prefix = fixture->prefix;
    fixture->config.resync_interval_ms = 15000;
    fixture->config.state_ttl_s = 86400;
    fixture->config.max_payload = 4096;
    fixture->metrics = calloc(1, sizeof(*fixture->metrics));
    timer_wheel_init(&fixture->wheel, turned_clock_ms);
    fixture->recorder = recorder_open(&(struct recorder_settings){.loop = &fixture->loop,
                                                                  .wheel = &fixture->wheel,
                                                                  .config = &fixture->config,
                                                                  .server = &fixture->redis.url,
                                                                  .metrics = fixture->metrics,
                                                                  .on_closed = on_closed,
                                                                  .owner = fixture});
    cr_assert_not_null(fixture->recorder);
}

static void set_up(struct fixture *fixture)
{
    set_up_away(fixture);
    pass(fixture, TIMER_WHEEL_TICK_MS);
    expect_state(fixture, RECORDER_RECORDING);
}

static void tear_down(struct fixture *fixture)
{
    if (fixture->recorder) {
        recorder_stop(fixture->recorder);
        settle(fixture);
    }
    scripted_redis_close(&fixture->redis);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_null(fixture->recorder);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    free(fixture->metrics);
}

static void publish(struct fixture *fixture, const char *task, const char *message)
{
    char channel[64];

    snprintf(channel, sizeof(channel), "progress:%s", task);
    scripted_redis_publish(&fixture->redis, channel, message);
    settle(fixture);
}

/* ── The lease ───────────────────────────────────────────────────────────────────────────────── */

Test(recorder, subscribes_gets_the_lease_and_records)
{
    struct fixture fixture;

    set_up(&fixture);
    publish(&fixture, "a", MESSAGE);
    cr_assert_not_null(strstr(fixture.redis.log, "FCALL progress_publish; "));
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACCEPTED), 1);
    tear_down(&fixture);
}

Test(recorder, asks_for_no_lease_while_it_cannot_subscribe)
{
    struct fixture fixture;

    set_up_away(&fixture);
    scripted_redis_say(&fixture.redis, "PSUBSCRIBE", "-NOPERM no\r\n");
    pass(&fixture, 5000);
    expect_state(&fixture, RECORDER_AWAY);
    cr_assert_null(strstr(fixture.redis.log, "progress_lease"));
    scripted_redis_say(&fixture.redis, "PSUBSCRIBE", NULL);
    pass(&fixture, RECORDER_RENEW_MS);
    expect_state(&fixture, RECORDER_RECORDING);
    tear_down(&fixture);
}

Test(recorder, leaves_messages_to_the_one_who_holds_the_lease)
{
    struct fixture fixture;

    set_up_away(&fixture);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", ":0\r\n");
    pass(&fixture, TIMER_WHEEL_TICK_MS);
    expect_state(&fixture, RECORDER_STANDING_BY);
    publish(&fixture, "a", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACCEPTED), 0);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 0);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", NULL);
    pass(&fixture, RECORDER_RENEW_MS);
    expect_state(&fixture, RECORDER_RECORDING);
    tear_down(&fixture);
}

Test(recorder, counts_what_nobody_is_known_to_have_recorded_in_time)
{
    struct fixture fixture;

    set_up_away(&fixture);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", "-MISCONF no\r\n");
    pass(&fixture, TIMER_WHEEL_TICK_MS);
    expect_state(&fixture, RECORDER_ASKING);
    publish(&fixture, "a", MESSAGE);
    publish(&fixture, "b", MESSAGE);
    pass(&fixture, RECORDER_KEPT_MS - RECORDER_RENEW_MS);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 0);
    pass(&fixture, 2 * RECORDER_RENEW_MS);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 2);
    tear_down(&fixture);
}

/* How often a function was called so far. */
static int calls(const struct fixture *fixture, const char *function)
{
    int n = 0;

    for (const char *at = fixture->redis.log; (at = strstr(at, function)); at++) {
        n++;
    }
    return n;
}

Test(recorder, takes_over_what_another_left)
{
    struct fixture fixture;

    set_up_away(&fixture);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", ":0\r\n");
    scripted_redis_say(&fixture.redis, "FCALL progress_take_over", "$3\r\n1 0\r\n");
    pass(&fixture, TIMER_WHEEL_TICK_MS);
    publish(&fixture, "old", MESSAGE);
    pass(&fixture, RECORDER_KEPT_MS + RECORDER_RENEW_MS);
    publish(&fixture, "a", MESSAGE);
    publish(&fixture, "a", MESSAGE);
    publish(&fixture, "b", MESSAGE);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", NULL);
    pass(&fixture, RECORDER_RENEW_MS);
    expect_state(&fixture, RECORDER_RECORDING);
    cr_assert_eq(calls(&fixture, "progress_take_over"), 2);
    cr_assert_eq(calls(&fixture, "progress_publish"), 0);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_TAKEN_OVER), 2);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACCEPTED), 2);
    pass(&fixture, 2 * RECORDER_KEPT_MS);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 0);
    tear_down(&fixture);
}

Test(recorder, takes_over_nothing_that_it_recorded_itself)
{
    struct fixture fixture;

    set_up(&fixture);
    publish(&fixture, "a", MESSAGE);
    scripted_redis_hang_up(&fixture.redis);
    pass(&fixture, 500);
    expect_state(&fixture, RECORDER_RECORDING);
    cr_assert_eq(calls(&fixture, "progress_take_over"), 0);
    tear_down(&fixture);
}

Test(recorder, gets_the_lease_again_from_a_redis_that_left_its_commands_without_an_answer)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "FCALL progress_take_over", "$3\r\n1 0\r\n");
    fixture.redis.mute_commands = true;
    for (int i = 0; i < 4; i++) {
        publish(&fixture, "a", MESSAGE); /* so that the subscription is busy */
        pass(&fixture, LOOK_MS);
    }
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACTIVE), 0);
    cr_assert_eq(count(&fixture, METRIC_LINK_LOSSES), 1);
    scripted_redis_hang_up(&fixture.redis); /* the attempt under way, which would take its time */
    fixture.redis.mute_commands = false;
    pass(&fixture, 600);
    expect_state(&fixture, RECORDER_RECORDING);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_TAKEN_OVER), 1, "what was under way is not lost");
    publish(&fixture, "a", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACCEPTED), 2);
    tear_down(&fixture);
}

Test(recorder, counts_what_it_left_under_way_for_too_long)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.redis.mute_commands = true;
    publish(&fixture, "a", MESSAGE);
    pass(&fixture, RECORDER_KEPT_MS + 2 * RECORDER_RENEW_MS);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 1);
    tear_down(&fixture);
}

Test(recorder, gives_the_link_up_when_the_lease_could_not_be_renewed_in_time)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.redis.mute_commands = true;
    pass(&fixture, RECORDER_LEASE_MS + 500);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACTIVE), 0);
    cr_assert_eq(count(&fixture, METRIC_LINK_LOSSES), 1);
    tear_down(&fixture);
}

Test(recorder, keeps_the_lease_over_a_link_that_comes_back_in_time)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_hang_up(&fixture.redis);
    settle(&fixture);
    cr_assert_eq(recorder_state(fixture.recorder), RECORDER_AWAY);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACTIVE), 1);
    scripted_redis_say(&fixture.redis, "FCALL progress_lease", "-MISCONF no\r\n");
    pass(&fixture, 500);
    expect_state(&fixture, RECORDER_RECORDING);
    pass(&fixture, RECORDER_LEASE_MS);
    expect_state(&fixture, RECORDER_ASKING);
    tear_down(&fixture);
}

Test(recorder, gives_the_lease_back_behind_what_is_under_way)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.redis.mute_commands = true;
    publish(&fixture, "a", MESSAGE);
    recorder_stop(fixture.recorder);
    recorder_stop(fixture.recorder);
    settle(&fixture);
    cr_assert_eq(recorder_state(fixture.recorder), RECORDER_STOPPING);
    scripted_redis_unmute(&fixture.redis);
    settle(&fixture);
    cr_assert_null(fixture.recorder);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_ACCEPTED), 1);
    tear_down(&fixture);
}

Test(recorder, stops_without_an_answer_too)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.redis.mute_commands = true;
    recorder_stop(fixture.recorder);
    pass(&fixture, RECORDER_FAREWELL_MS);
    cr_assert_null(fixture.recorder);
    tear_down(&fixture);
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

Test(recorder, counts_what_it_drops_by_who_is_at_fault)
{
    struct fixture fixture;

    set_up(&fixture);
    publish(&fixture, "a", "nonsense");
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_INVALID), 1);
    publish(&fixture, "jobs/2026/42", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_INVALID), 2);
    scripted_redis_say(&fixture.redis, "FCALL progress_publish", "-PROGRESS_INVALID no\r\n");
    publish(&fixture, "a", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_INVALID), 3);
    scripted_redis_say(&fixture.redis, "FCALL progress_publish", "-OOM no\r\n");
    publish(&fixture, "a", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 1);
    expect_state(&fixture, RECORDER_RECORDING);
    tear_down(&fixture);
}

Test(recorder, gives_up_a_master_that_was_demoted)
{
    struct fixture fixture;

    set_up(&fixture);
    scripted_redis_say(&fixture.redis, "FCALL progress_publish", "-READONLY no\r\n");
    publish(&fixture, "a", MESSAGE);
    cr_assert_eq(count(&fixture, METRIC_RECORDER_DROPPED_OTHER), 1);
    cr_assert_eq(count(&fixture, METRIC_LINK_LOSSES), 1);
    tear_down(&fixture);
}

/* ── States ──────────────────────────────────────────────────────────────────────────────────── */

Test(recorder, moves_only_as_its_states_say)
{
    static const bool allowed[RECORDER_CLOSING + 1][RECORDER_CLOSING + 1] = {
        [RECORDER_AWAY] =
            {[RECORDER_SUBSCRIBING] = true, [RECORDER_STOPPING] = true, [RECORDER_CLOSING] = true},
        [RECORDER_SUBSCRIBING] = {[RECORDER_ASKING] = true,
                                  [RECORDER_RECORDING] = true,
                                  [RECORDER_AWAY] = true,
                                  [RECORDER_STOPPING] = true,
                                  [RECORDER_CLOSING] = true},
        [RECORDER_ASKING] = {[RECORDER_STANDING_BY] = true,
                             [RECORDER_RECORDING] = true,
                             [RECORDER_AWAY] = true,
                             [RECORDER_STOPPING] = true,
                             [RECORDER_CLOSING] = true},
        [RECORDER_STANDING_BY] = {[RECORDER_ASKING] = true,
                                  [RECORDER_RECORDING] = true,
                                  [RECORDER_AWAY] = true,
                                  [RECORDER_STOPPING] = true,
                                  [RECORDER_CLOSING] = true},
        [RECORDER_RECORDING] = {[RECORDER_ASKING] = true,
                                [RECORDER_STANDING_BY] = true,
                                [RECORDER_AWAY] = true,
                                [RECORDER_STOPPING] = true,
                                [RECORDER_CLOSING] = true},
        [RECORDER_STOPPING] = {[RECORDER_CLOSING] = true},
    };

    EXPECT_STATE_PAIRS(&recorder_machine, allowed);
}
