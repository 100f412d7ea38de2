#include "broker/session/poller.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/session/http_answer.h"
#include "broker/session/miss_limit.h"
#include "common/mem.h"

/* ── Scripted answers, hub and check of tokens ───────────────────────────────────────────────── */

static struct {
    int status; /* 0: no answer yet */
    char code[64], body[512], headers[256];
} said;

static struct task task;
static struct subscription *subscribed; /* who waits in the hub; NULL: nobody */
static int hub_gives;                   /* what hub_subscribe() gives */
static unsigned aborted, done;

void http_answer(const struct front *front, struct http_connection *http,
                 const struct http_request *request, const struct http_answer *answer)
{
    cr_assert_eq(said.status, 0, "answered once");
    said.status = answer->status;
    snprintf(said.body, sizeof(said.body), "%.*s", (int)answer->body.len,
             answer->body.at ? answer->body.at : "");
    snprintf(said.headers, sizeof(said.headers), "%s", answer->headers ? answer->headers : "");
}

void http_answer_error(const struct front *front, struct http_connection *http,
                       const struct http_request *request, const struct http_answer *answer,
                       const char *code, const char *message)
{
    http_answer(front, http, request, answer);
    snprintf(said.code, sizeof(said.code), "%s", code);
}

void http_answer_preflight(const struct front *front, struct http_connection *http,
                           const struct http_request *request)
{
    said.status = 204;
}

bool http_client_has(const struct http_request *request, const char *etag)
{
    struct span list = http_request_header(request, HTTP_HEADER_IF_NONE_MATCH);

    return list.len == strlen(etag) + 2 && memcmp(list.at + 1, etag, strlen(etag)) == 0;
}

void channel_abort(struct channel *channel)
{
    aborted++;
}

bool hub_knows(const struct hub *hub, const char *task_id, size_t task_id_len)
{
    return hub_gives == HUB_READY;
}

int hub_subscribe(struct hub *hub, struct subscription *subscription, const char *task_id,
                  size_t task_id_len)
{
    cr_assert_eq(strcmp(task_id, "a"), 0);
    if (hub_gives == 0 || hub_gives == HUB_READY) {
        cr_assert_null(subscribed);
        subscription->task = &task;
        subscribed = subscription;
    }
    return hub_gives;
}

void hub_unsubscribe(struct hub *hub, struct subscription *subscription)
{
    cr_assert(subscription == subscribed || !subscription->task);
    subscription->task = NULL;
    subscribed = NULL;
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
    snprintf(claims, sizeof(claims), "{\"exp\":99,\"tasks\":[\"%.*s\"]}", (int)token.len, token.at);
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
    return "refused";
}

/* ── A client ────────────────────────────────────────────────────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct metrics_slot metrics;
    struct front front;
    struct http_connection http;
    struct http_request *request;
    struct poll *poll;
};

static void poll_is_done(struct http_connection *http)
{
    cr_assert_eq(said.status, 0, "comes before the answer");
    done++;
}

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    fixture->front = (struct front){
        .loop = &fixture->loop, .metrics = &fixture->metrics, .misses = miss_limit_new()};
    task_init(&task, "a", 1);
}

static void tear_down(struct fixture *fixture)
{
    http_request_free(fixture->request);
    miss_limit_free(fixture->front.misses);
    task_deinit(&task);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    cr_assert_null(subscribed, "no subscription is left");
}

/* Asks for `id`. `lines` are the request's further headers. The status, 0 while it waits. */
static int ask(struct fixture *fixture, const char *method, const char *id, const char *lines)
{
    char text[512];
    size_t used;
    const int len = snprintf(text, sizeof(text), "%s " API_PATH "%s HTTP/1.1\r\nHost: h\r\n%s\r\n",
                             method, id, lines);

    memset(&said, 0, sizeof(said));
    http_request_free(fixture->request);
    fixture->request = http_request_new();
    cr_assert_eq(http_request_feed(fixture->request, text, (size_t)len, &used),
                 HTTP_REQUEST_COMPLETE);
    fixture->poll = poller_request(&fixture->front, &fixture->http, fixture->request,
                                   (struct span){id, strlen(id)}, poll_is_done);
    cr_assert(!fixture->poll || said.status == 0);
    return said.status;
}

#define TOKEN "Authorization: Bearer *\r\n"

static void publish(const char *type, const char *payload)
{
    struct task_message message;
    char text[256];
    struct span span = {text, 0};

    span.len = (size_t)snprintf(
        text, sizeof(text), "{\"type\":\"%s\",\"taskId\":\"a\",\"rev\":\"k1-%llu\",\"payload\":%s}",
        type, (unsigned long long)task.rev.n + 1, payload);
    cr_assert_eq(task_message_parse(span, &message), 0);
    cr_assert_eq(task_take(&task, &message, span), TASK_NEWS);
}

#define UPDATE "{\"percentage\":1,\"stage\":\"s\"}"

/* ── Refusals ────────────────────────────────────────────────────────────────────────────────── */

Test(poller, refuses_what_it_need_not_ask_the_hub_about)
{
    static const struct {
        const char *method, *id, *lines;
        int status;
        const char *code;
    } cases[] = {
        {"POST", "a", TOKEN, 405, "METHOD_NOT_ALLOWED"},
        {"GET", "", TOKEN, 400, "INVALID_TASK_ID"},
        {"GET", "a%20b", TOKEN, 400, "INVALID_TASK_ID"},
        {"GET", "%2e%2e", TOKEN, 400, "INVALID_TASK_ID"},
        {"GET", "a", "", 401, "UNAUTHORIZED"},
        {"GET", "a", "Authorization: Basic *\r\n", 401, "UNAUTHORIZED"},
        {"GET", "a", "Authorization: Bearer bad\r\n", 401, "UNAUTHORIZED"},
        {"GET", "a", "Authorization: Bearer b*\r\n", 403, "FORBIDDEN"},
    };
    struct fixture fixture;

    set_up(&fixture);
    hub_gives = -1;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(ask(&fixture, cases[i].method, cases[i].id, cases[i].lines), cases[i].status,
                     "case %zu", i);
        cr_expect_str_eq(said.code, cases[i].code, "case %zu", i);
        cr_expect_null(fixture.poll);
    }
    cr_assert_eq(ask(&fixture, "OPTIONS", "a", ""), 204, "a preflight has no token");
    tear_down(&fixture);
}

Test(poller, says_that_redis_is_away_and_when_to_come_again)
{
    struct fixture fixture;

    set_up(&fixture);
    hub_gives = HUB_UNAVAILABLE;
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 503);
    cr_assert_str_eq(said.code, "UNAVAILABLE");
    cr_assert_not_null(strstr(said.headers, "Retry-After: "));
    tear_down(&fixture);
}

Test(poller, running_out_of_memory_ends_the_connection)
{
    struct fixture fixture;

    set_up(&fixture);
    hub_gives = -12;
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 0);
    cr_assert_eq(aborted, 1);
    cr_assert_null(fixture.poll);
    tear_down(&fixture);
}

/* ── Answers ─────────────────────────────────────────────────────────────────────────────────── */

Test(poller, answers_at_once_what_the_hub_knows)
{
    struct fixture fixture;

    set_up(&fixture);
    hub_gives = HUB_READY;
    publish("progress_update", UPDATE);
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 200);
    cr_assert_str_eq(said.body, "{\"taskId\":\"a\",\"rev\":\"k1-1\",\"done\":false,\"stages\":[],"
                                "\"messages\":[{\"type\":\"progress_update\",\"taskId\":\"a\","
                                "\"rev\":\"k1-1\",\"payload\":" UPDATE "}]}");
    cr_assert_not_null(strstr(said.headers, "ETag: \"k1-1\"\r\n"));
    cr_assert_not_null(strstr(said.headers, "Retry-After: 30\r\n"), "it hasn't moved since 1970");
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN "If-None-Match: \"k1-1\"\r\n"), 304);
    cr_assert_str_eq(said.body, "");
    cr_assert_eq(done, 2, "before each answer");
    tear_down(&fixture);
}

Test(poller, asks_nobody_to_come_again_once_the_task_is_done)
{
    struct fixture fixture;

    set_up(&fixture);
    hub_gives = HUB_READY;
    publish("complete", "{\"resultUrl\":\"/x\",\"duration\":1}");
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 200);
    cr_assert_not_null(strstr(said.body, "\"done\":true"));
    cr_assert_null(strstr(said.headers, "Retry-After"));
    tear_down(&fixture);
}

Test(poller, waits_for_what_the_hub_does_not_know)
{
    struct fixture fixture;

    set_up(&fixture);
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 0);
    cr_assert_not_null(fixture.poll);
    publish("progress_update", UPDATE);
    subscribed->events->on_ready(subscribed);
    cr_assert_eq(said.status, 200);
    cr_assert_eq(done, 1);
    tear_down(&fixture);
}

Test(poller, tells_a_task_without_state_from_one_that_is_out_of_reach)
{
    struct fixture fixture;

    set_up(&fixture);
    ask(&fixture, "GET", "a", TOKEN);
    subscribed->events->on_ready(subscribed);
    cr_assert_eq(said.status, 404);
    cr_assert_str_eq(said.code, "TASK_NOT_FOUND");
    cr_assert_not_null(strstr(said.headers, "Retry-After: 2\r\n"));
    ask(&fixture, "GET", "a", TOKEN);
    subscribed->events->on_failed(TAKE(subscribed));
    cr_assert_eq(said.status, 503);
    cr_assert_str_eq(said.code, "UNAVAILABLE");
    cr_assert_eq(done, 2);
    tear_down(&fixture);
}

Test(poller, a_poll_that_waits_can_be_given_up_or_cancelled)
{
    struct fixture fixture;

    set_up(&fixture);
    ask(&fixture, "GET", "a", TOKEN);
    poller_give_up(fixture.poll);
    cr_assert_eq(said.status, 503, "with an answer");
    ask(&fixture, "GET", "a", TOKEN);
    poller_cancel(fixture.poll);
    cr_assert_eq(said.status, 0, "without one");
    poller_cancel(NULL);
    tear_down(&fixture);
}

/* ── A token whose check takes time ──────────────────────────────────────────────────────────── */

#define SLOW_TOKEN "Authorization: Bearer slow\r\n"

Test(poller, waits_for_its_tokens_check)
{
    struct fixture fixture;

    set_up(&fixture);
    cr_assert_eq(ask(&fixture, "GET", "a", SLOW_TOKEN), 0);
    cr_assert_null(subscribed);
    checked("a");
    cr_assert_not_null(subscribed, "now the state is waited for");
    publish("progress_update", UPDATE);
    subscribed->events->on_ready(subscribed);
    cr_assert_eq(said.status, 200);
    ask(&fixture, "GET", "a", SLOW_TOKEN);
    checked(NULL);
    cr_assert_eq(said.status, 401);
    ask(&fixture, "GET", "a", SLOW_TOKEN);
    checked("b");
    cr_assert_eq(said.status, 403);
    cr_assert_eq(done, 3);
    tear_down(&fixture);
}

Test(poller, a_poll_whose_token_is_checked_can_be_given_up_or_cancelled)
{
    struct fixture fixture;

    set_up(&fixture);
    ask(&fixture, "GET", "a", SLOW_TOKEN);
    poller_give_up(fixture.poll);
    cr_assert_eq(said.status, 503);
    cr_assert_null(checking);
    ask(&fixture, "GET", "a", SLOW_TOKEN);
    poller_cancel(fixture.poll);
    cr_assert_null(checking);
    tear_down(&fixture);
}

/* ── Unknown tasks ───────────────────────────────────────────────────────────────────────────── */

Test(poller, limits_polls_that_find_nothing)
{
    struct fixture fixture;

    set_up(&fixture);
    for (int i = 0; i < MISS_BURST; i++) {
        cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 0, "poll %d", i);
        subscribed->events->on_ready(subscribed);
        cr_assert_eq(said.status, 404);
    }
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 429);
    cr_assert_str_eq(said.code, "RATE_LIMITED");
    cr_assert_not_null(strstr(said.headers, "Retry-After: "));
    hub_gives = HUB_READY;
    publish("progress_update", UPDATE);
    cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 200, "what is known costs nothing");
    tear_down(&fixture);
}

Test(poller, limits_no_polls_that_find_a_state)
{
    struct fixture fixture;

    set_up(&fixture);
    publish("progress_update", UPDATE);
    for (int i = 0; i < MISS_BURST + 10; i++) {
        cr_assert_eq(ask(&fixture, "GET", "a", TOKEN), 0, "poll %d", i);
        subscribed->events->on_ready(subscribed);
        cr_assert_eq(said.status, 200);
    }
    tear_down(&fixture);
}
