#include "broker/hub/watch.h"

#include "tests/support/scripted_link.h"
#include "tests/support/state_pairs.h"

/* ── A watch in a room of its own, with one client ───────────────────────────────────────────── */

static struct {
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct metrics_slot metrics;
    struct watch_room room;
    struct redis_link *link;
    struct watch watch;
    struct subscription client;
    unsigned synced, unwanted, left, ready, news, failed;
} test;

static void on_synced(struct watch_room *room)
{
    test.synced++;
}

static void on_unwanted(struct watch *watch)
{
    test.unwanted++;
}

static void on_left(struct watch *watch)
{
    test.left++;
    watch_deinit(watch);
}

static void on_ready(struct subscription *subscription)
{
    test.ready++;
}

static void on_news(struct subscription *subscription)
{
    test.news++;
}

static void on_failed(struct subscription *subscription)
{
    test.failed++;
}

static const struct subscription_events client_events = {on_ready, on_news, on_failed};

static void on_up(void *owner, struct redis_link *link)
{
}

static void on_down(void *owner, struct redis_link *link)
{
    watch_lose(&test.watch);
}

static void on_message(void *owner, struct redis_link *link, struct span channel, struct span text)
{
    watch_take(&test.watch, text);
}

static const struct redis_link_events link_events = {on_up, on_down, on_message, on_up};

static void begin(void)
{
    memset(&test, 0, sizeof(test));
    cr_assert_eq(uv_loop_init(&test.loop), 0);
    timer_wheel_init(&test.wheel, uv_now(&test.loop));
    test.room = (struct watch_room){
        .wheel = &test.wheel,
        .border.metrics = &test.metrics,
        .on_synced = on_synced,
        .on_unwanted = on_unwanted,
        .on_left = on_left,
    };
    redis_clock_init(&test.room.border.clock, &test.loop);
    test.link = redis_link_open(&(struct redis_link_settings){.events = &link_events});
    watch_init(&test.watch, &test.room, test.link, "progress:", SPAN_OF("a"));
    test.client.events = &client_events;
    cr_assert_not(watch_subscribe(&test.watch, &test.client));
    script_up();
    watch_sync(&test.watch);
}

/* The client goes, if it is still there, and the watch with it. */
static void end(void)
{
    if (watch_is_wanted(&test.watch)) {
        watch_unsubscribe(&test.watch, &test.client);
    }
    cr_assert_geq(test.unwanted, 1);
    watch_leave(&test.watch);
    redis_link_close(test.link);
    cr_assert_eq(test.left, 1, "once, after its last answer");
    cr_assert_eq(test.room.syncing, 0);
    cr_assert_eq(test.room.leaving, 0);
    cr_assert_eq(test.room.without_state, 0);
    cr_assert_eq(test.wheel.armed, 0);
    cr_assert_eq(uv_loop_close(&test.loop), 0);
}

/* ── What Redis says ─────────────────────────────────────────────────────────────────────────── */

#define SUBSCRIBE "SSUBSCRIBE progress:a"
#define READ "HGETALL progress:a"
#define COMPARE "HMGET progress:a run n _alive"

static const char *update(unsigned n)
{
    static char text[200];

    snprintf(text, sizeof(text),
             "{\"type\":\"progress_update\",\"taskId\":\"a\",\"rev\":\"r-%u\",\"payload\":{"
             "\"percentage\":1,\"stage\":\"x\"}}",
             n);
    return text;
}

static void subscribed(void)
{
    script_answer(SUBSCRIBE, "*0\r\n");
}

/* ── States ──────────────────────────────────────────────────────────────────────────────────── */

Test(watch, knows_every_pair_of_states)
{
    static const bool allowed[WATCH_GONE + 1][WATCH_GONE + 1] = {
        [WATCH_AWAY] = {[WATCH_SUBSCRIBING] = true, [WATCH_GONE] = true},
        [WATCH_SUBSCRIBING] = {[WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
        [WATCH_READING] =
            {[WATCH_LIVE] = true, [WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
        [WATCH_LIVE] = {[WATCH_READING] = true, [WATCH_AWAY] = true, [WATCH_GONE] = true},
    };

    EXPECT_STATE_PAIRS(&watch_machine, allowed);
}

Test(watch, can_be_left_in_any_state)
{
    for (int state = WATCH_AWAY; state < WATCH_GONE; state++) {
        begin();
        if (state == WATCH_AWAY) {
            script_down();
        }
        if (state >= WATCH_READING) {
            subscribed();
        }
        if (state == WATCH_LIVE) {
            SCRIPT_ANSWER(READ);
        }
        cr_assert_eq(test.watch.state, state);
        end();
        cr_assert_eq(test.synced, 1, "whoever waits for its place is told, once");
    }
}

Test(watch, can_lose_the_link_in_any_state_and_come_back)
{
    for (int state = WATCH_SUBSCRIBING; state < WATCH_GONE; state++) {
        begin();
        if (state >= WATCH_READING) {
            subscribed();
        }
        if (state == WATCH_LIVE) {
            SCRIPT_ANSWER(READ);
        }
        script_down();
        cr_assert_eq(test.watch.state, WATCH_AWAY);
        cr_assert_eq(test.synced, 1, "its place is free for another");
        script_up();
        watch_sync(&test.watch);
        subscribed();
        SCRIPT_ANSWER(READ);
        cr_assert_eq(test.watch.state, WATCH_LIVE);
        cr_assert_eq(test.ready, 1);
        end();
    }
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

Test(watch, reads_once_more_when_too_much_came_meanwhile)
{
    begin();
    subscribed();
    for (unsigned n = 1; n <= INTAKE_HELD_MAX + 1; n++) {
        script_publish("progress:a", update(n));
    }
    SCRIPT_ANSWER(READ, "run", "r", "n", "1", "progress_update", update(1));
    cr_assert_eq(test.watch.state, WATCH_READING);
    cr_assert_eq(test.watch.task.rev.n, 1);
    SCRIPT_ANSWER(READ, "run", "r", "n", "65", "progress_update", update(65));
    cr_assert_eq(test.watch.task.rev.n, 65);
    cr_assert_eq(test.watch.state, WATCH_LIVE);
    end();
}

Test(watch, reads_what_it_lost_for_want_of_memory)
{
    begin();
    subscribed();
    SCRIPT_ANSWER(READ, "run", "r", "n", "1", "progress_update", update(1));
    mem_fail_nth(1);
    watch_take(&test.watch, SPAN_OF(update(2)));
    mem_fail_nth(0);
    cr_assert_eq(test.watch.task.rev.n, 1);
    cr_assert_eq(test.watch.state, WATCH_READING, "at once");
    SCRIPT_ANSWER(READ, "run", "r", "n", "2", "progress_update", update(2));
    cr_assert_eq(test.watch.task.rev.n, 2);
    end();
}

Test(watch, a_key_that_is_no_hash_has_no_state)
{
    begin();
    subscribed();
    script_answer(READ, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    cr_assert_eq(test.ready, 1);
    cr_assert_eq(test.watch.task.rev.n, 0);
    watch_compare(&test.watch);
    script_answer(COMPARE, "-WRONGTYPE Operation against a key\r\n");
    cr_assert_not(script_asks(COMPARE));
    cr_assert_not(script_asks(READ));
    end();
}

Test(watch, a_task_that_redis_refuses_fails_its_own_clients_alone)
{
    begin();
    script_answer(SUBSCRIBE, "-NOPERM no permissions to access a channel\r\n");
    cr_assert_eq(test.failed, 1);
    cr_assert_eq(test.watch.state, WATCH_AWAY);
    cr_assert(redis_link_is_up(test.link));
    cr_assert(script_asks("SUNSUBSCRIBE progress:a"));
    script_answer("SUNSUBSCRIBE progress:a", "*0\r\n");
    cr_assert_eq(test.left, 0, "it lives on, and is tried again");
    end();
}

/* ── Signs of life ───────────────────────────────────────────────────────────────────────────── */

Test(watch, tells_redis_of_a_job_whose_sign_of_life_is_overdue)
{
    const char *lost = "FCALL progress_lost 1 progress:a";

    begin();
    subscribed();
    SCRIPT_ANSWER(READ, "run", "r", "n", "1", "_alive", "99");
    cr_assert(script_asks(lost), "it is overdue since 1970");
    script_answer(lost, "$3\r\nr-2\r\n");
    cr_assert_eq(metric_read(&test.metrics, METRIC_JOBS_LOST), 1);
    watch_compare(&test.watch);
    SCRIPT_ANSWER(COMPARE, "r", "1", "9007199254740991");
    cr_assert_not(script_asks(lost), "its time has not come");
    end();
}
