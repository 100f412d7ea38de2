#include "broker/session/watcher.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "common/mem.h"
#include "tests/support/ws_payload.h"

/* ── A scripted connection, hub and check of tokens ──────────────────────────────────────────── */

#define TASKS 40

/* A task as the hub has it. */
struct scripted_task {
    struct task task;
    bool known;
    struct list subscriptions;
};

static struct scripted_task tasks[TASKS];
static uint32_t task_count;
static int token_valid_s = 3600;
static int hub_answer;   /* what hub_subscribe() gives for what isn't known */
static char heard[8192]; /* what the client was sent, "; " behind each */
static uint32_t closed;  /* with which code; 0: not */
static bool paused, awake;

static void hear(const char *format, ...)
{
    const size_t len = strlen(heard);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(heard + len, sizeof(heard) - len, format, arguments);
    va_end(arguments);
}

/* The value of a string member that stands first of its name in the text, or "". */
static const char *member_of(const char *text, const char *name, char value[64])
{
    char wanted[32];
    const char *at;

    snprintf(wanted, sizeof(wanted), "\"%s\":\"", name);
    at = strstr(text, wanted);
    value[0] = '\0';
    if (at) {
        at += strlen(wanted);
        snprintf(value, 64, "%.*s", (int)strcspn(at, "\""), at);
    }
    return value;
}

/* Writes down a frame: its type, task, and code or reason. */
static void hear_frame(const struct bytes *frame)
{
    char type[64], task[64], code[64], reason[64], text[1024];
    uint32_t len;
    const uint8_t *payload = ws_payload(frame, &len);

    if (frame->data[0] == (0x80 | WS_PING)) {
        hear("(ping); ");
        return;
    }
    snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)payload);
    hear("%s", member_of(text, "type", type));
    hear("%s%s", *member_of(text, "taskId", task) ? " " : "", task);
    hear("%s%s", *member_of(text, "code", code) ? " " : "", code);
    hear("%s%s; ", *member_of(text, "reason", reason) ? " " : "", reason);
}

void ws_connection_send(struct ws_connection *ws, struct bytes *frame)
{
    if (frame) {
        hear_frame(frame);
    } else {
        closed = CLOSE_INTERNAL_ERROR;
    }
    bytes_unref(frame);
}

void channel_wake(struct channel *channel)
{
    awake = true;
}

void channel_pause(struct channel *channel)
{
    paused = true;
}

void channel_resume(struct channel *channel)
{
    paused = false;
}

void ws_connection_close(struct ws_connection *ws, enum close_code code)
{
    closed = code;
}

static struct scripted_task *task_of(const char *id)
{
    for (uint32_t i = 0; i < task_count; i++) {
        if (strcmp(tasks[i].task.id, id) == 0) {
            return &tasks[i];
        }
    }
    cr_assert_lt(task_count, TASKS);
    task_init(&tasks[task_count].task, id, strlen(id));
    list_init(&tasks[task_count].subscriptions);
    return &tasks[task_count++];
}

int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len)
{
    struct scripted_task *task = task_of(task_id);

    if (!task->known && hub_answer != 0) {
        return hub_answer;
    }
    subscription->task = &task->task;
    subscription->ready = task->known;
    list_init(&subscription->link);
    list_append(&task->subscriptions, &subscription->link);
    return task->known ? HUB_READY : 0;
}

void hub_unsubscribe(struct hub *hub, struct subscription *subscription)
{
    list_remove(&subscription->link);
    subscription->task = NULL;
}

static struct auth_check *checking; /* whose token is being checked; NULL: nobody's */

/* A token's text is its tasks' name, or "bad", or "slow": then checked() says what it names. */
int auth_verify(struct auth *auth, struct span token, int64_t now_us, struct auth_check *check,
                struct token **ret_token, enum auth_failure *ret_why)
{
    char claims[128];

    if (token.len == 3 && memcmp(token.at, "bad", 3) == 0) {
        *ret_why = AUTH_SIGNATURE;
        return AUTH_REFUSED;
    }
    if (token.len == 4 && memcmp(token.at, "slow", 4) == 0) {
        cr_assert_null(checking);
        check->text = token;
        checking = check;
        return AUTH_LATER;
    }
    snprintf(claims, sizeof(claims), "{\"exp\":%lld,\"tasks\":[\"%.*s\"]}",
             (long long)(now_us / 1000000 + token_valid_s), (int)token.len, token.at);
    return token_from_claims((struct span){claims, strlen(claims)}, &(struct token_rules){0},
                             ret_token);
}

void auth_cancel(struct auth *auth, struct auth_check *check)
{
    checking = checking == check ? NULL : checking;
}

/* The check comes to that: the name of the token's task, or NULL: refused. */
static void checked(const char *task_id)
{
    struct auth_verdict verdict = {.rc = AUTH_REFUSED, .why = AUTH_SIGNATURE};
    struct auth_check *check = checking;
    char claims[128];

    cr_assert_not_null(check);
    cr_assert_eq(memcmp(check->text.at, "slow", 4), 0, "the token is kept");
    checking = NULL;
    if (task_id) {
        snprintf(claims, sizeof(claims), "{\"exp\":99999999999,\"tasks\":[\"%s\"]}", task_id);
        verdict.rc = token_from_claims((struct span){claims, strlen(claims)},
                                       &(struct token_rules){0}, &verdict.token);
    }
    check->on_checked(check, &verdict);
    token_unref(verdict.token);
}

const char *auth_failure_text(enum auth_failure failure)
{
    return failure == AUTH_MISSING ? "missing" : "refused";
}

/* The wall clock, which turns with the loop's. */
static int64_t turned_us;

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + turned_us;
    time->tv_sec = us / 1000000;
    time->tv_usec = us % 1000000;
    return 0;
}

/* ── A client ────────────────────────────────────────────────────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct metrics_slot metrics;
    struct config config;
    struct front front;
    struct ws_connection ws;
    struct timer timer;
    struct watcher watcher;
};

static struct fixture fixture;

static void on_timer(struct timer *timer)
{
    watcher_tick(&fixture.watcher);
}

static void set_up(void)
{
    cr_assert_eq(uv_loop_init(&fixture.loop), 0);
    timer_wheel_init(&fixture.wheel, uv_now(&fixture.loop));
    fixture.config = (struct config){
        .max_subscriptions = 30,
        .message_rate = 10,
        .subscribe_timeout_ms = 10000,
        .ping_interval_ms = 25000,
        .idle_timeout_ms = 60000,
    };
    fixture.front = (struct front){.loop = &fixture.loop,
                                   .wheel = &fixture.wheel,
                                   .config = &fixture.config,
                                   .metrics = &fixture.metrics};
    fixture.ws.channel.heard_ms = uv_now(&fixture.loop);
    timer_init(&fixture.timer, on_timer);
    cr_assert_eq(
        watcher_begin(&fixture.watcher, &fixture.front, &fixture.ws, &fixture.timer, "url"), 0);
}

static void tear_down(void)
{
    watcher_end(&fixture.watcher);
    cr_assert_eq(metric_read(&fixture.metrics, METRIC_SUBSCRIPTIONS), 0);
    for (uint32_t i = 0; i < task_count; i++) {
        cr_assert(list_is_empty(&tasks[i].subscriptions));
        task_deinit(&tasks[i].task);
    }
    timer_cancel(&fixture.wheel, &fixture.timer);
    cr_assert_eq(uv_loop_close(&fixture.loop), 0);
}

static void say(const char *text)
{
    watcher_message(&fixture.watcher, WS_TEXT, (const uint8_t *)text, (uint32_t)strlen(text));
}

/* Lets the socket take at most `max` frames. */
static void let_take(size_t max)
{
    size_t count = 1;

    awake = false;
    while (count > 0 && max > 0) {
        struct channel_frame frames[CHANNEL_BATCH];

        count = watcher_collect(&fixture.watcher, frames, CHANNEL_BATCH);
        for (size_t i = 0; i < count && max > 0; i++, max--) {
            hear_frame(frames[i].frame);
            watcher_taken(&fixture.watcher, &frames[i]);
        }
    }
}

/* What the client is sent, from the last time on. */
static const char *next(void)
{
    static char before[sizeof(heard)];

    let_take(SIZE_MAX);
    memcpy(before, heard, sizeof(heard));
    heard[0] = '\0';
    return before;
}

/* A job publishes. */
static void publish(const char *id, uint64_t n)
{
    struct scripted_task *task = task_of(id);
    struct task_message message;
    char text[256];
    struct span span = {text, 0};

    span.len =
        (size_t)snprintf(text, sizeof(text),
                         "{\"type\":\"progress_update\",\"taskId\":\"%s\",\"rev\":\"k1-%llu\","
                         "\"payload\":{\"percentage\":1,\"stage\":\"s\"}}",
                         id, (unsigned long long)n);
    cr_assert_eq(task_message_parse(span, &message), 0);
    cr_assert_eq(task_take(&task->task, &message, span), TASK_NEWS);
    LIST_EACH (link, &task->subscriptions) {
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        if (subscription->ready) {
            subscription->events->on_news(subscription);
        }
    }
}

/* The hub has read the task. */
static void become_known(const char *id)
{
    struct scripted_task *task = task_of(id);

    task->known = true;
    LIST_EACH (link, &task->subscriptions) {
        struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);

        subscription->ready = true;
        subscription->events->on_ready(subscription);
    }
}

#define SUBSCRIBE(task) "{\"type\":\"subscribe\",\"taskId\":\"" task "\",\"token\":\"*\"}"
#define GET_STATE(task) "{\"type\":\"get_state\",\"taskId\":\"" task "\"}"

/* ── Subscribing ─────────────────────────────────────────────────────────────────────────────── */

Test(watcher, answers_when_the_state_is_known)
{
    set_up();
    say(SUBSCRIBE("a"));
    cr_assert_str_eq(next(), "");
    publish("a", 100);
    become_known("a");
    cr_assert_str_eq(next(), "subscribed a; progress_update a; ");
    publish("a", 101);
    cr_assert(awake);
    cr_assert_str_eq(next(), "progress_update a; ");
    tear_down();
}

Test(watcher, answers_at_once_what_the_hub_knows)
{
    set_up();
    publish("a", 100);
    become_known("a");
    say(SUBSCRIBE("a"));
    cr_assert_str_eq(next(), "subscribed a; progress_update a; ");
    say("{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"*\",\"rev\":\"k1-100\"}");
    cr_assert_str_eq(next(), "subscribed a; ", "the client has it");
    tear_down();
}

Test(watcher, answers_each_request_about_one_task_also_those_that_came_before_its_state)
{
    set_up();
    say(SUBSCRIBE("a"));
    say(GET_STATE("a"));
    say("{\"type\":\"get_state\",\"taskId\":\"a\",\"rev\":\"k1-100\"}");
    publish("a", 100);
    become_known("a");
    cr_assert_str_eq(next(),
                     "subscribed a; progress_update a; subscribed a; progress_update a; "
                     "subscribed a; progress_update a; ",
                     "with the least that they asked for");
    say("{\"type\":\"get_state\",\"taskId\":\"a\",\"rev\":\"k1-100\"}");
    cr_assert_str_eq(next(), "subscribed a; ");
    tear_down();
}

Test(watcher, tells_of_another_run_whichever_runs_a_clients_requests_name)
{
    static const char *const requests[][2] = {
        {"\"rev\":\"k0-50\"", "\"rev\":\"k2-60\""},  /* two runs, neither the task's */
        {"\"rev\":\"k0-50\"", "\"rev\":\"k1-100\""}, /* one of them the task's */
        {"\"rev\":null", "\"rev\":\"k0-50\""},       /* nothing at first */
        {"\"rev\":\"k0-50\"", "\"rev\":null"},
    };

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char id[] = {(char)('a' + i), '\0'};
        char text[128], wanted[256];

        set_up();
        for (int k = 0; k < 2; k++) {
            snprintf(text, sizeof(text),
                     "{\"type\":\"subscribe\",\"taskId\":\"%s\",\"token\":\"*\",%s}", id,
                     requests[i][k]);
            say(text);
        }
        publish(id, 100);
        become_known(id);
        snprintf(wanted, sizeof(wanted),
                 "subscribed %s; reset %s; progress_update %s; "
                 "subscribed %s; reset %s; progress_update %s; ",
                 id, id, id, id, id, id);
        cr_expect_str_eq(next(), wanted, "requests %zu", i);
        tear_down();
        task_count = 0;
    }
}

Test(watcher, answers_each_of_several_tasks_as_if_it_was_asked_for_alone)
{
    set_up();
    become_known("a");
    say("{\"type\":\"subscribe\",\"taskIds\":[\"a\",\"x y\",\"b\",\"ac\"],\"token\":\"a*\"}");
    cr_assert_str_eq(next(), "error url INVALID_TASK_ID; error b FORBIDDEN; subscribed a; ");
    become_known("ac");
    cr_assert_str_eq(next(), "subscribed ac; ");
    say("{\"type\":\"unsubscribe\",\"taskIds\":[\"ac\",\"b\"]}");
    cr_assert_str_eq(next(), "unsubscribed ac CLIENT_REQUEST; error b NOT_SUBSCRIBED; ");
    say("{\"type\":\"subscribe\",\"taskIds\":[\"a\",\"b\"],\"token\":\"bad\"}");
    say("{\"type\":\"subscribe\",\"taskIds\":[\"a\",\"b\"]}");
    cr_assert_str_eq(next(), "error a UNAUTHORIZED; error b UNAUTHORIZED; "
                             "error a UNAUTHORIZED; error b UNAUTHORIZED; ");
    tear_down();
}

Test(watcher, tells_each_request_when_redis_is_away)
{
    struct subscription *waiting;

    set_up();
    say(SUBSCRIBE("a"));
    say(GET_STATE("a"));
    waiting = CONTAINER_OF(list_first(&task_of("a")->subscriptions), struct subscription, link);
    list_remove(&waiting->link);
    waiting->events->on_failed(waiting);
    cr_assert_str_eq(next(), "error a UNAVAILABLE; error a UNAVAILABLE; ");
    hub_answer = HUB_UNAVAILABLE;
    say(SUBSCRIBE("b"));
    say(GET_STATE("a"));
    cr_assert_str_eq(next(), "error b UNAVAILABLE; error a NOT_SUBSCRIBED; ");
    tear_down();
}

Test(watcher, finds_its_subscriptions_however_many_there_are)
{
    char text[128];

    set_up();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 30; i++) {
            snprintf(text, sizeof(text),
                     "{\"type\":\"subscribe\",\"taskId\":\"t%d\",\"token\":\"*\"}", i);
            say(text);
            snprintf(text, sizeof(text), "t%d", i);
            become_known(text);
        }
        say(SUBSCRIBE("t30"));
        cr_assert_not_null(strstr(next(), "error t30 TOO_MANY_SUBSCRIPTIONS; "));
        for (int i = 29; i >= 0; i--) {
            char expected[64];

            snprintf(text, sizeof(text), "{\"type\":\"unsubscribe\",\"taskId\":\"t%d\"}", i);
            snprintf(expected, sizeof(expected), "unsubscribed t%d CLIENT_REQUEST; ", i);
            say(text);
            cr_assert_str_eq(next(), expected);
        }
    }
    tear_down();
}

Test(watcher, running_out_of_memory_closes_the_connection_and_keeps_nothing)
{
    set_up();
    for (unsigned nth = 1; nth <= 3; nth++) {
        closed = 0;
        mem_fail_nth(nth);
        say(SUBSCRIBE("a"));
        mem_fail_nth(0);
        cr_assert(closed == CLOSE_INTERNAL_ERROR || nth == 3, "allocation %u", nth);
    }
    tear_down();
}

/* ── A client that doesn't read ──────────────────────────────────────────────────────────────── */

Test(watcher, makes_an_answer_only_when_it_can_be_written)
{
    set_up();
    become_known("a");
    say(SUBSCRIBE("a"));
    say(GET_STATE("a"));
    cr_assert_str_eq(heard, "", "nothing is queued");
    publish("a", 100);
    cr_assert_str_eq(next(), "subscribed a; progress_update a; subscribed a; progress_update a; ",
                     "and it says what is so then");
    tear_down();
}

Test(watcher, goes_on_where_the_socket_was_full)
{
    set_up();
    publish("a", 100);
    become_known("a");
    publish("b", 200);
    become_known("b");
    say("{\"type\":\"subscribe\",\"taskIds\":[\"a\",\"b\"],\"token\":\"*\"}");
    let_take(1);
    cr_assert_str_eq(heard, "subscribed a; ");
    let_take(1);
    cr_assert_str_eq(heard, "subscribed a; progress_update a; ");
    let_take(1);
    cr_assert_str_eq(next(), "subscribed a; progress_update a; subscribed b; progress_update b; ");
    tear_down();
}

Test(watcher, makes_few_answers_at_once_however_many_are_due)
{
    struct channel_frame frames[CHANNEL_BATCH];
    char id[8], text[128], stages[8000];
    size_t bytes = 0, count;

    set_up();
    memset(stages, ' ', sizeof(stages));
    stages[0] = '[';
    stages[sizeof(stages) - 1] = ']';
    for (int i = 0; i < 20; i++) {
        struct task_hash hash = {.stages = {stages, sizeof(stages)}};

        snprintf(id, sizeof(id), "t%d", i);
        snprintf(text, sizeof(text), "{\"type\":\"subscribe\",\"taskId\":\"%s\",\"token\":\"*\"}",
                 id);
        publish(id, 100);
        cr_assert_eq(rev_parse((struct span){"k1-101", 6}, &hash.rev), 0);
        cr_assert_geq(task_take_hash(&task_of(id)->task, &hash), 0);
        become_known(id);
        say(text);
    }
    count = watcher_collect(&fixture.watcher, frames, CHANNEL_BATCH);
    for (size_t i = 0; i < count; i++) {
        bytes += frames[i].frame->len;
    }
    cr_assert_lt(bytes, 3 * sizeof(stages) + 1000);
    let_take(SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "subscribed t%d; ", i);
        cr_assert_not_null(strstr(heard, text), "%s", text);
    }
    tear_down();
}

Test(watcher, answers_what_is_due_before_it_ends_a_subscription)
{
    set_up();
    become_known("a");
    say(SUBSCRIBE("a"));
    say("{\"type\":\"unsubscribe\",\"taskId\":\"a\"}");
    cr_assert_str_eq(next(), "subscribed a; unsubscribed a CLIENT_REQUEST; ");
    tear_down();
}

/* ── Limits and time ─────────────────────────────────────────────────────────────────────────── */

/* `ms` later. */
static void pass(uint64_t ms)
{
    fixture.loop.time += ms;
    timer_wheel_advance(&fixture.wheel, uv_now(&fixture.loop));
}

Test(watcher, lets_a_client_wait_that_asks_for_too_much)
{
    set_up();
    for (int i = 0; i < 39; i++) {
        say("{\"type\":\"ping\"}");
        cr_assert(!paused, "request %d", i);
    }
    say("{\"type\":\"ping\"}");
    cr_assert(paused);
    cr_assert_null(strstr(next(), "error"), "and refuses nothing");
    pass(50);
    cr_assert(paused);
    pass(400);
    cr_assert(!paused);
    cr_assert_eq(closed, 0);
    tear_down();
}

Test(watcher, charges_for_each_task_of_a_message)
{
    set_up();
    say("{\"type\":\"get_state\",\"taskIds\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\","
        "\"9\",\"10\"]}");
    for (int i = 0; i < 29; i++) {
        cr_assert(!paused, "request %d", i);
        say("{\"type\":\"ping\"}");
    }
    say("{\"type\":\"ping\"}");
    cr_assert(paused);
    tear_down();
}

Test(watcher, closes_who_floods_for_a_minute_without_a_pause)
{
    set_up();
    const uint64_t began = uv_now(&fixture.loop);

    while (!closed) {
        while (!paused && !closed) {
            say("{\"type\":\"ping\"}");
        }
        fixture.ws.channel.heard_ms = uv_now(&fixture.loop);
        heard[0] = '\0';
        pass(100);
        say(SUBSCRIBE("a"));
        cr_assert_leq(uv_now(&fixture.loop) - began, ALLOWANCE_ABUSE_MS + 1000);
    }
    cr_assert_eq(closed, CLOSE_TOO_MANY_REQUESTS);
    cr_assert_geq(uv_now(&fixture.loop) - began, ALLOWANCE_ABUSE_MS);
    tear_down();
}

Test(watcher, does_not_take_a_client_it_keeps_waiting_for_a_silent_one)
{
    set_up();
    fixture.config.message_rate = 1;
    say(SUBSCRIBE("a"));
    for (int i = 0; i < 4; i++) {
        say("{\"type\":\"get_state\",\"taskIds\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
            "\"a\",\"a\","
            "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
            "\"a\",\"a\"]}");
    }
    cr_assert(paused);
    pass(61000);
    cr_assert_eq(closed, 0, "it is silent because nobody listens");
    tear_down();
}

Test(watcher, closes_who_watches_nothing)
{
    set_up();
    pass(9000);
    cr_assert_eq(closed, 0);
    pass(1200);
    cr_assert_eq(closed, CLOSE_UNAUTHORIZED);
    tear_down();
}

Test(watcher, pings_and_closes_who_is_silent)
{
    set_up();
    say(SUBSCRIBE("a"));
    pass(28000);
    cr_assert_not_null(strstr(next(), "(ping); "));
    cr_assert_eq(closed, 0);
    pass(32200);
    cr_assert_eq(closed, CLOSE_TIMEOUT);
    tear_down();
}

Test(watcher, ends_a_subscription_when_its_token_runs_out)
{
    set_up();
    become_known("a");
    say(SUBSCRIBE("a"));
    cr_assert_str_eq(next(), "subscribed a; ");
    token_valid_s = 0;
    say(SUBSCRIBE("a"));
    pass(200);
    cr_assert_str_eq(next(), "subscribed a; unsubscribed a TOKEN_EXPIRED; ");
    cr_assert(list_is_empty(&task_of("a")->subscriptions));
    tear_down();
}

Test(watcher, warns_once_before_a_token_expires_and_a_fresh_one_renews)
{
    set_up();
    become_known("a");
    token_valid_s = 90;
    say(SUBSCRIBE("a"));
    cr_assert_str_eq(next(), "subscribed a; ");
    turned_us += 20 * 1000000;
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "", "70 s are left");
    turned_us += 15 * 1000000;
    watcher_tick(&fixture.watcher);
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "token_expiring a; ");
    say(SUBSCRIBE("a"));
    turned_us += 50 * 1000000;
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "token_expiring a; subscribed a; ", "the fresh one is warned of too");
    turned_us += 60 * 1000000;
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "unsubscribed a TOKEN_EXPIRED; ");
    tear_down();
}

Test(watcher, does_not_warn_of_a_token_that_came_late)
{
    set_up();
    become_known("a");
    token_valid_s = 50;
    say(SUBSCRIBE("a"));
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "subscribed a; ");
    turned_us += 30 * 1000000;
    watcher_tick(&fixture.watcher);
    cr_assert_str_eq(next(), "");
    tear_down();
}

Test(watcher, closes_who_sends_binary_data)
{
    set_up();
    watcher_message(&fixture.watcher, WS_BINARY, (const uint8_t *)"{}", 2);
    cr_assert_eq(closed, CLOSE_UNSUPPORTED_DATA);
    tear_down();
}

/* ── A token whose check takes time ──────────────────────────────────────────────────────────── */

#define SUBSCRIBE_SLOWLY(task) "{\"type\":\"subscribe\",\"taskId\":\"" task "\",\"token\":\"slow\"}"

Test(watcher, a_client_waits_for_its_tokens_check)
{
    set_up();
    task_of("a")->known = true;
    say(SUBSCRIBE_SLOWLY("a"));
    cr_assert(paused, "what it says next is read once this is answered");
    cr_assert_str_eq(next(), "");
    checked("a");
    cr_assert_not(paused);
    cr_assert_str_eq(next(), "subscribed a; ");
    say(SUBSCRIBE_SLOWLY("a"));
    checked(NULL);
    cr_assert_not(paused);
    cr_assert_str_eq(next(), "error a UNAUTHORIZED; ");
    say(SUBSCRIBE_SLOWLY("b"));
    checked("a");
    cr_assert_str_eq(next(), "error b FORBIDDEN; ");
    tear_down();
}

Test(watcher, a_client_that_goes_takes_its_check_along)
{
    set_up();
    say(SUBSCRIBE_SLOWLY("a"));
    cr_assert_not_null(checking);
    tear_down();
    cr_assert_null(checking);
}

Test(watcher, a_check_that_comes_when_the_connection_closes_is_not_answered)
{
    set_up();
    say(SUBSCRIBE_SLOWLY("a"));
    fixture.ws.state = WS_CONNECTION_CLOSING;
    checked("a");
    cr_assert_str_eq(next(), "");
    cr_assert_eq(fixture.watcher.count, 0);
    tear_down();
}
