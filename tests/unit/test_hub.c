#include "broker/hub/hub.h"

#include "broker/hub/resync.h"
#include "common/text.h"
#include "proto/shared_text.h"
#include "tests/support/scripted_link.h"

/* ── A hub, its clock, and clients that note what they hear ──────────────────────────────────── */

static uv_loop_t loop;
static struct timer_wheel wheel;
static struct metrics_slot metrics;
static struct config config;
static struct hub *hub;
static bool is_closed;

static void on_closed(void *owner)
{
    is_closed = true;
}

static void begin(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    timer_wheel_init(&wheel, uv_now(&loop));
    config = (struct config){.resync_interval_ms = 1000, .linger_ms = 10000};
    static char prefix[] = "progress:";
    config.redis_prefix = prefix;
    hub = hub_open(&(struct hub_settings){
        .loop = &loop,
        .wheel = &wheel,
        .config = &config,
        .metrics = &metrics,
        .on_closed = on_closed,
    });
    cr_assert(hub);
}

static void end(void)
{
    hub_close(hub);
    cr_assert(is_closed);
    cr_assert_eq(wheel.armed, 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static void pass_ms(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += TIMER_WHEEL_TICK_MS) {
        loop.time += TIMER_WHEEL_TICK_MS;
        timer_wheel_advance(&wheel, uv_now(&loop));
    }
}

/* A test between begin() and end(): a failed assertion in Criterion's own .fini is no failure. */
#define HUB_TEST(name)                \
    static void body_of_##name(void); \
    Test(hub, name)                   \
    {                                 \
        begin();                      \
        body_of_##name();             \
        end();                        \
    }                                 \
    static void body_of_##name(void)

struct client {
    struct subscription subscription;
    char heard[2000];
};

/* "p@12": a letter a type, and n. */
static void client_collect(struct client *client)
{
    static const char letters[] = "pstcer";
    struct task_item items[TASK_RING];
    uint32_t left_out;
    size_t count = task_collect(client->subscription.task, client->subscription.position, items,
                                ARRAY_LEN(items), &left_out);

    for (size_t i = 0; i < count; i++) {
        const struct span text = shared_text(items[i].text);
        char *end = client->heard + strlen(client->heard);
        const size_t size = sizeof(client->heard) - strlen(client->heard);
        struct task_message message;

        if (task_message_parse(text, &message) == 0) {
            snprintf(end, size, " %c@%llu", letters[message.type],
                     (unsigned long long)(message.rev.n % 1000));
        } else {
            cr_assert(memmem(text.at, text.len, "\"rev\":null", 10), "%.*s", (int)text.len,
                      text.at);
            snprintf(end, size, " gone");
        }
        client->subscription.position = items[i].position;
    }
}

static void on_ready(struct subscription *subscription)
{
    struct client *client = CONTAINER_OF(subscription, struct client, subscription);

    strcat(client->heard, subscription->task->rev.n > 0 ? "ready" : "nothing");
    const struct rev nothing = {.n = 0};
    subscription->position = task_position(subscription->task, &nothing);
    client_collect(client);
}

static void on_news(struct subscription *subscription)
{
    client_collect(CONTAINER_OF(subscription, struct client, subscription));
}

static void on_failed(struct subscription *subscription)
{
    strcat(CONTAINER_OF(subscription, struct client, subscription)->heard, "failed");
    subscription->task = NULL;
}

static const struct subscription_events events = {on_ready, on_news, on_failed};

static int subscribe(struct client *client, const char *id)
{
    *client = (struct client){.subscription.events = &events};
    const int rc = hub_subscribe(hub, &client->subscription, id, strlen(id));

    if (rc == HUB_READY) {
        on_ready(&client->subscription);
    }
    return rc;
}

static void unsubscribe(struct client *client)
{
    hub_unsubscribe(hub, &client->subscription);
}

static void expect_heard(struct client *client, const char *heard)
{
    cr_assert_str_eq(client->heard, heard);
    client->heard[0] = '\0';
}

/* ── What Redis says ─────────────────────────────────────────────────────────────────────────── */

/* A time by Redis' clock, in seconds; revs are made of it and a few microseconds. */
#define NOW 1800000000
#define N(last) "1800000000000" last
#define REV(run, last) run "-" N(last)
#define AT(run, n)                                                        \
    "{\"type\":\"progress_update\",\"taskId\":\"a\",\"rev\":\"" run "-" n \
    "\",\"payload\":" PROGRESS "}"
#define PROGRESS "{\"percentage\":1,\"stage\":\"x\",\"timestamp\":\"2026-01-01T00:00:00Z\"}"
#define UPDATE(run, last) AT(run, N(last))
#define COMPLETE(run, last)                                   \
    "{\"type\":\"complete\",\"taskId\":\"a\",\"rev\":\"" REV( \
        run, last) "\",\"payload\":{"                         \
                   "\"resultUrl\":\"/r\",\"duration\":1}}"

#define READ "HGETALL progress:a"
#define COMPARE "HMGET progress:a run n _alive"

static void up(void)
{
    script_up();
    SCRIPT_ANSWER("TIME", "1800000000", "0");
}

/* Subscribes `client` to task a, whose hash has these fields. */
#define WATCH(client, ...)                                \
    do {                                                  \
        cr_assert_eq(subscribe(client, "a"), 0);          \
        script_answer("SSUBSCRIBE progress:a", "*0\r\n"); \
        SCRIPT_ANSWER(READ __VA_OPT__(, ) __VA_ARGS__);   \
    } while (0)

#define STATE(run, last) "run", run, "n", N(last), "progress_update", UPDATE(run, last)

/* Two looks that both show this. */
#define COMPARE_TWICE(...)                   \
    do {                                     \
        pass_ms(1100);                       \
        SCRIPT_ANSWER(COMPARE, __VA_ARGS__); \
        SCRIPT_ANSWER(COMPARE, __VA_ARGS__); \
    } while (0)

/* ── The way of a message ────────────────────────────────────────────────────────────────────── */

HUB_TEST(gives_the_state_and_then_what_comes)
{
    struct client first, second;

    up();
    WATCH(&first, STATE("r", "100"));
    expect_heard(&first, "ready p@100");
    script_publish("progress:a", UPDATE("r", "101"));
    expect_heard(&first, " p@101");
    cr_assert_eq(subscribe(&second, "a"), HUB_READY, "at no cost");
    expect_heard(&second, "ready p@101");
    script_publish("progress:b", UPDATE("r", "102"));
    script_publish("other:a", UPDATE("r", "102"));
    expect_heard(&first, "");
    unsubscribe(&first);
    unsubscribe(&second);
}

HUB_TEST(holds_messages_back_while_the_hash_is_read)
{
    struct client client;

    up();
    cr_assert_eq(subscribe(&client, "a"), 0);
    script_publish("progress:a", UPDATE("r", "099"));
    script_answer("SSUBSCRIBE progress:a", "*0\r\n");
    script_publish("progress:a", UPDATE("r", "100"));
    script_publish("progress:a", UPDATE("r", "101"));
    expect_heard(&client, "");
    SCRIPT_ANSWER(READ, STATE("r", "100"));
    expect_heard(&client, "ready p@101");
    unsubscribe(&client);
}

HUB_TEST(fails_who_waits_for_a_redis_that_is_away)
{
    struct client client;

    cr_assert_eq(subscribe(&client, "a"), 0);
    pass_ms(HUB_PATIENCE_MS + 200);
    expect_heard(&client, "failed");
    cr_assert_eq(subscribe(&client, "a"), HUB_UNAVAILABLE);
}

HUB_TEST(reads_again_after_a_reconnect)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "100"));
    expect_heard(&client, "ready p@100");
    script_down();
    up();
    script_answer("SSUBSCRIBE progress:a", "*0\r\n");
    SCRIPT_ANSWER(READ, STATE("r", "105"));
    expect_heard(&client, " p@105");
    unsubscribe(&client);
}

/* ── Nobody is forgotten ─────────────────────────────────────────────────────────────────────── */

HUB_TEST(a_watch_that_is_left_while_it_syncs_makes_room_for_the_next)
{
    static struct client unknown[RESYNC_WINDOW + 50];
    struct client client;
    char id[20];

    up();
    WATCH(&client, STATE("r", "100"));
    script_down();
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        snprintf(id, sizeof(id), "unknown-%zu", i);
        cr_assert_eq(subscribe(&unknown[i], id), 0);
    }
    up(); /* and Redis answers nothing more */
    pass_ms(HUB_PATIENCE_MS + 500);
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        expect_heard(&unknown[i], "failed");
    }
    cr_assert(script_asks("SSUBSCRIBE progress:a"));
    script_answer("SSUBSCRIBE progress:a", "*0\r\n");
    client.heard[0] = '\0';
    SCRIPT_ANSWER(READ, "run", "r", "n", N("200"), "complete", COMPLETE("r", "200"));
    expect_heard(&client, " c@200");
    unsubscribe(&client);
}

HUB_TEST(newcomers_do_not_keep_a_lost_watch_waiting)
{
    static struct client unknown[2 * RESYNC_WINDOW];
    struct client client;
    char id[20];

    up();
    WATCH(&client, STATE("r", "100"));
    script_down();
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        snprintf(id, sizeof(id), "unknown-%zu", i);
        cr_assert_eq(subscribe(&unknown[i], id), 0);
    }
    up();
    cr_assert(script_asks("SSUBSCRIBE progress:a"));
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        unsubscribe(&unknown[i]);
    }
    unsubscribe(&client);
}

/* ── What a task that nobody knows leaves behind ─────────────────────────────────────────────── */

HUB_TEST(a_task_without_state_does_not_linger)
{
    struct client client;

    up();
    WATCH(&client);
    expect_heard(&client, "nothing");
    unsubscribe(&client);
    pass_ms(200);
    script_answer("SUNSUBSCRIBE progress:a", "*0\r\n");
    cr_assert_eq(metrics.values[METRIC_TASKS_WATCHED], 0);
    cr_assert_eq(metrics.values[METRIC_TASKS_WITHOUT_STATE], 0);
}

HUB_TEST(a_task_with_state_lingers)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "100"));
    unsubscribe(&client);
    pass_ms(9000);
    cr_assert_not(script_asks("SUNSUBSCRIBE progress:a"));
    cr_assert_eq(subscribe(&client, "a"), HUB_READY);
    unsubscribe(&client);
    pass_ms(10200);
    cr_assert(script_asks("SUNSUBSCRIBE progress:a"));
}

HUB_TEST(tasks_without_state_are_no_more_than_so_many)
{
    struct client *unknown = mem_zalloc(HUB_WITHOUT_STATE_MAX, sizeof(*unknown));
    struct client client, late;
    char id[20];

    up();
    WATCH(&client, STATE("r", "100"));
    for (size_t i = 0; i < HUB_WITHOUT_STATE_MAX; i++) {
        snprintf(id, sizeof(id), "unknown-%zu", i);
        unknown[i].subscription.events = &events;
        cr_assert_eq(hub_subscribe(hub, &unknown[i].subscription, id, strlen(id)), 0);
    }
    cr_assert_eq(metrics.values[METRIC_TASKS_WITHOUT_STATE], HUB_WITHOUT_STATE_MAX);
    cr_assert_eq(subscribe(&late, "late"), HUB_UNAVAILABLE);
    cr_assert_eq(metrics.values[METRIC_TASKS_REFUSED], 1);
    cr_assert_eq(subscribe(&late, "a"), HUB_READY, "what has a state is served");
    unsubscribe(&late);
    for (size_t i = 0; i < HUB_WITHOUT_STATE_MAX; i++) {
        unsubscribe(&unknown[i]);
    }
    pass_ms(200);
    cr_assert_eq(metrics.values[METRIC_TASKS_WITHOUT_STATE], 0);
    cr_assert_eq(subscribe(&late, "late"), 0);
    unsubscribe(&late);
    unsubscribe(&client);
    mem_free(unknown);
}

/* ── What Redis has lost, or forgotten ───────────────────────────────────────────────────────── */

HUB_TEST(a_state_that_is_gone_is_told)
{
    struct client client, second;

    up();
    WATCH(&client, STATE("r", "100"));
    expect_heard(&client, "ready p@100");
    COMPARE_TWICE("-", "-", "-");
    SCRIPT_ANSWER(READ);
    expect_heard(&client, " gone");
    cr_assert_eq(subscribe(&second, "a"), HUB_READY);
    expect_heard(&second, "nothing");
    script_publish("progress:a", UPDATE("s", "050"));
    expect_heard(&client, " p@50");
    expect_heard(&second, " p@50");
    unsubscribe(&client);
    unsubscribe(&second);
}

HUB_TEST(a_look_that_was_overtaken_proves_nothing)
{
    struct client client;

    up();
    WATCH(&client);
    expect_heard(&client, "nothing");
    pass_ms(1100);
    script_publish("progress:a", UPDATE("r", "100"));
    expect_heard(&client, " p@100");
    SCRIPT_ANSWER(COMPARE, "-", "-", "-");
    cr_assert_not(script_asks(COMPARE));
    cr_assert_not(script_asks(READ));
    unsubscribe(&client);
}

HUB_TEST(another_run_with_a_smaller_n_is_found_by_comparing)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "500"));
    expect_heard(&client, "ready p@500");
    COMPARE_TWICE("s", N("050"), "-");
    SCRIPT_ANSWER(READ, STATE("s", "050"));
    expect_heard(&client, " r@49 p@50");
    script_publish("progress:a", UPDATE("s", "051"));
    expect_heard(&client, " p@51");
    unsubscribe(&client);
}

HUB_TEST(a_message_of_another_run_with_a_smaller_n_has_the_hash_read)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "500"));
    expect_heard(&client, "ready p@500");
    script_publish("progress:a", UPDATE("s", "050"));
    expect_heard(&client, "");
    SCRIPT_ANSWER(READ, STATE("s", "050"));
    expect_heard(&client, " r@49 p@50");
    unsubscribe(&client);
}

HUB_TEST(a_late_message_of_an_older_run_changes_nothing)
{
    struct client client;

    up();
    WATCH(&client, STATE("s", "500"));
    expect_heard(&client, "ready p@500");
    for (int i = 0; i < 5; i++) {
        script_publish("progress:a", UPDATE("r", "050"));
    }
    SCRIPT_ANSWER(READ, STATE("s", "500"));
    script_publish("progress:a", UPDATE("r", "051"));
    cr_assert_not(script_asks(READ), "once a second at the most");
    expect_heard(&client, "");
    unsubscribe(&client);
}

HUB_TEST(less_of_the_same_run_was_lost_in_a_failover_and_stays)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "500"));
    expect_heard(&client, "ready p@500");
    pass_ms(1100);
    SCRIPT_ANSWER(COMPARE, "r", N("400"), "-");
    cr_assert_not(script_asks(COMPARE));
    script_down();
    up();
    script_answer("SSUBSCRIBE progress:a", "*0\r\n");
    SCRIPT_ANSWER(READ, STATE("r", "400"));
    expect_heard(&client, "");
    cr_assert_eq(client.subscription.task->rev.n % 1000, 500);
    unsubscribe(&client);
}

HUB_TEST(a_message_that_nobody_heard_is_found_by_comparing)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "100"));
    COMPARE_TWICE("r", N("200"), "-");
    SCRIPT_ANSWER(READ, STATE("r", "200"));
    expect_heard(&client, "ready p@100 p@200");
    pass_ms(1100);
    SCRIPT_ANSWER(COMPARE, "r", N("201"), "-");
    script_publish("progress:a", UPDATE("r", "201")); /* it was only late */
    SCRIPT_ANSWER(COMPARE, "r", N("201"), "-");
    cr_assert_not(script_asks(READ));
    unsubscribe(&client);
}

/* ── The border ──────────────────────────────────────────────────────────────────────────────── */

HUB_TEST(drops_and_counts_what_progress_publish_would_not_make)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"type\":\"complete\",\"taskId\":\"a\",\"rev\":\"" REV("r",
                                                                 "200") "\",\"payload\":{oops}}",
        "{\"type\":\"complete\",\"taskId\":\"a\",\"rev\":\"" REV(
            "r", "200") "\",\"payload\":{"
                        "\"resultUrl\":\"\xff\",\"duration\":1}}",
        "{\"type\":\"complete\",\"taskId\":\"b\",\"rev\":\"" REV(
            "r", "200") "\",\"payload\":{"
                        "\"resultUrl\":\"/r\",\"duration\":1}}",
        "{\"taskId\":\"a\",\"type\":\"complete\",\"rev\":\"" REV(
            "r", "200") "\",\"payload\":{"
                        "\"resultUrl\":\"/r\",\"duration\":1}}",
    };
    struct client client;

    up();
    WATCH(&client, STATE("r", "100"));
    expect_heard(&client, "ready p@100");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        script_publish("progress:a", bad[i]);
        expect_heard(&client, "");
        cr_assert_eq(metrics.values[METRIC_DROPPED_INVALID], i + 1);
    }
    script_publish("progress:a", COMPLETE("r", "101"));
    expect_heard(&client, " c@101");
    unsubscribe(&client);
}

HUB_TEST(a_rev_from_the_future_is_dropped_and_the_hash_read)
{
    struct client client;

    up();
    WATCH(&client, STATE("r", "100"));
    expect_heard(&client, "ready p@100");
    script_publish("progress:a", AT("r", "9007199254740991"));
    cr_assert_eq(metrics.values[METRIC_DROPPED_FUTURE], 1);
    SCRIPT_ANSWER(READ, STATE("r", "100"));
    script_publish("progress:a", COMPLETE("r", "101"));
    expect_heard(&client, " c@101");
    script_publish("progress:a", AT("r", "1800090000000000"));
    cr_assert_eq(metrics.values[METRIC_DROPPED_FUTURE], 2);
    expect_heard(&client, "");
    unsubscribe(&client);
}

HUB_TEST(a_hash_with_a_bad_field_shows_the_others)
{
    struct client client;

    up();
    WATCH(&client, "run", "r", "n", "9007199254740991", "complete",
          "{\"type\":\"complete\",\"taskId\":\"a\",\"rev\":\"r-5\",\"payload\":{oops}}",
          "progress_update", UPDATE("r", "100"), "stages", "{");
    expect_heard(&client, "ready p@100");
    cr_assert_eq(task_stages(client.subscription.task).len, 2);
    cr_assert_eq(metrics.values[METRIC_DROPPED_INVALID], 2);
    cr_assert_eq(metrics.values[METRIC_DROPPED_FUTURE], 1);
    script_publish("progress:a", COMPLETE("r", "101"));
    expect_heard(&client, " c@101");
    unsubscribe(&client);
}
