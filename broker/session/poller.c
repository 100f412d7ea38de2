#include "broker/session/poller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>

#include "broker/session/http_answer.h"
#include "broker/session/miss_limit.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/state.h"
#include "proto/message.h"
#include "proto/shared_text.h"

#define MODULE "poller"

/* The pace that pollers are asked to keep: the latter for a task that hasn't moved for long. */
#define RETRY_MIN_S 2
#define RETRY_MAX_S 30

/* Where a poll is: its token is being checked, or it waits for the task's state. */
#define POLL_STATES(X)                                    \
    X(POLL_CHECKED, "checked", STATE_TO(POLL_SUBSCRIBED)) \
    X(POLL_SUBSCRIBED, "subscribed", 0)
enum poll_state { POLL_STATES(STATE_ENUM) };
STATE_MACHINE(poll_machine, MODULE, POLL_STATES);

struct poll {
    struct subscription subscription;
    struct auth_check check;
    uint8_t state;              /* enum poll_state */
    struct miss_bucket *misses; /* NULL: Redis isn't asked */
    const struct front *front;
    struct http_connection *http;
    const struct http_request *request;
    void (*on_done)(struct http_connection *http);
    char task_id[TASK_ID_MAX + 1];
};

/* ── Refusals ────────────────────────────────────────────────────────────────────────────────── */

static void poll_refuse(const struct front *front, struct http_connection *http,
                        const struct http_request *request, int status, enum error_code code,
                        const char *message, const char *headers)
{
    http_answer_error(front, http, request,
                      &(struct http_answer){.status = status, .headers = headers},
                      error_code_name(code), message);
}

static void refuse_unavailable(const struct front *front, struct http_connection *http,
                               const struct http_request *request)
{
    char headers[40];

    snprintf(headers, sizeof(headers), "Retry-After: %u\r\n",
             RETRY_MIN_S + arc4random_uniform(RETRY_MIN_S + 1));
    poll_refuse(front, http, request, 503, ERROR_UNAVAILABLE,
                "the task's state is out of reach, try again", headers);
}

/* The token behind "Bearer " (RFC 6750, 2.1), or {NULL, 0}. */
static struct span bearer_token(const struct http_request *request)
{
    struct span value = http_request_header(request, HTTP_HEADER_AUTHORIZATION);
    const size_t scheme_len = strlen("Bearer ");

    if (!value.at || value.len <= scheme_len || strncasecmp(value.at, "Bearer ", scheme_len)) {
        return (struct span){NULL, 0};
    }
    value.at += scheme_len;
    value.len -= scheme_len;
    while (value.len > 0 && value.at[0] == ' ') {
        value.at++;
        value.len--;
    }
    return value;
}

static void refuse_for_misses(const struct front *front, struct http_connection *http,
                              const struct http_request *request)
{
    char headers[40];

    log_event(LOG_WARN, MODULE, "too many polls of unknown tasks with one token");
    snprintf(headers, sizeof(headers), "Retry-After: %u\r\n",
             RETRY_MIN_S + arc4random_uniform(RETRY_MIN_S + 1));
    poll_refuse(front, http, request, 429, ERROR_RATE_LIMITED,
                "too many polls of unknown tasks with this token, try again", headers);
}

/* Answers a poll whose token isn't good, or can't be checked (`rc`). */
static void refuse_token(const struct poll *poll, int rc, enum auth_failure why)
{
    const bool is_forbidden = why == AUTH_FORBIDDEN;

    poll->on_done(poll->http);
    if (rc < 0) {
        channel_abort(&poll->http->channel);
    } else if (rc == AUTH_BUSY) {
        refuse_unavailable(poll->front, poll->http, poll->request);
    } else {
        metric_add(poll->front->metrics, METRIC_AUTH_MISSING + why, 1);
        poll_refuse(poll->front, poll->http, poll->request, is_forbidden ? 403 : 401,
                    is_forbidden ? ERROR_FORBIDDEN : ERROR_UNAUTHORIZED, auth_failure_text(why),
                    is_forbidden ? NULL : "WWW-Authenticate: Bearer realm=\"progressd\"\r\n");
    }
}

/* ── The answer ──────────────────────────────────────────────────────────────────────────────── */

/* Follows the age of the state: what hasn't moved for a minute need not be asked for each 2 s. */
static unsigned retry_after_s(const struct task *task)
{
    struct timeval now;
    int64_t age_s;

    gettimeofday(&now, NULL);
    age_s = now.tv_sec - (int64_t)(task->rev.n / 1000000);
    if (age_s / 4 < RETRY_MIN_S) {
        return RETRY_MIN_S;
    }
    return age_s / 4 > RETRY_MAX_S ? RETRY_MAX_S : (unsigned)(age_s / 4);
}

static void poll_write_state(struct text *text, struct task *task, const char *rev)
{
    struct task_item items[TASK_MESSAGE_TYPES];
    uint32_t left_out;
    size_t count = task_collect(task, TASK_NOTHING, items, ARRAY_LEN(items), &left_out);
    struct span stages = task_stages(task);

    /* Neither task id nor rev has anything that JSON escapes. */
    text_printf(text, "{\"taskId\":\"%s\",\"rev\":\"%s\",\"done\":%s,\"stages\":", task->id, rev,
                task_is_done(task) ? "true" : "false");
    text_append(text, stages.at, stages.len);
    text_puts(text, ",\"messages\":[");
    for (size_t i = 0; i < count; i++) {
        const struct span message = shared_text(items[i].text);

        text_append(text, i > 0 ? "," : "", i > 0);
        text_append(text, message.at, message.len);
    }
    text_puts(text, "]}");
}

static void poll_answer(const struct front *front, struct http_connection *http,
                        const struct http_request *request, struct task *task)
{
    char rev[REV_TEXT_SIZE], headers[80 + REV_TEXT_SIZE];
    struct text body = TEXT_EMPTY;
    struct http_answer answer = {.status = 200, .headers = headers};
    int len;

    if (task->rev.n == 0) {
        snprintf(headers, sizeof(headers), "Retry-After: %u\r\n", RETRY_MIN_S);
        http_answer_error(front, http, request,
                          &(struct http_answer){.status = 404, .headers = headers},
                          "TASK_NOT_FOUND", "the task has no state yet, or none any more");
        return;
    }
    rev_format(rev, &task->rev);
    len = snprintf(headers, sizeof(headers), "ETag: \"%s\"\r\n", rev);
    if (!task_is_done(task)) {
        snprintf(headers + len, sizeof(headers) - (size_t)len, "Retry-After: %u\r\n",
                 retry_after_s(task));
    }
    if (http_client_has(request, rev)) {
        answer.status = 304;
    } else {
        poll_write_state(&body, task, rev);
        answer.body = (struct span){body.data, body.len};
    }
    if (text_failed(&body)) {
        channel_abort(&http->channel);
    } else {
        http_answer(front, http, request, &answer);
    }
    text_deinit(&body);
}

/* ── The subscription ────────────────────────────────────────────────────────────────────────── */

static void poll_on_ready(struct subscription *subscription)
{
    struct poll *poll = CONTAINER_OF(subscription, struct poll, subscription);
    struct task *task = subscription->task;

    if (poll->misses && task->rev.n > 0) {
        miss_bucket_give_back(poll->misses);
    }
    hub_unsubscribe(poll->front->hub, subscription);
    poll->on_done(poll->http);
    poll_answer(poll->front, poll->http, poll->request, task);
    mem_free(poll);
}

static void poll_on_failed(struct subscription *subscription)
{
    struct poll *poll = CONTAINER_OF(subscription, struct poll, subscription);

    poll->on_done(poll->http);
    refuse_unavailable(poll->front, poll->http, poll->request);
    mem_free(poll);
}

static void poll_on_news(struct subscription *subscription)
{
}

static const struct subscription_events subscription_events = {
    .on_ready = poll_on_ready,
    .on_news = poll_on_news,
    .on_failed = poll_on_failed,
};

/* Whether the poll may ask Redis, if it has to; if not it has been answered. */
static bool take_miss(struct poll *poll, size_t task_id_len)
{
    if (hub_knows(poll->front->hub, poll->task_id, task_id_len)) {
        return true;
    }
    poll->misses = miss_limit_find(poll->front->misses, bearer_token(poll->request));
    if (!miss_bucket_take(poll->misses, uv_now(poll->front->loop))) {
        poll->on_done(poll->http);
        refuse_for_misses(poll->front, poll->http, poll->request);
        return false;
    }
    return true;
}

/* Answers at once what is known; else the poll waits. Whether it does. */
static bool ask_hub(struct poll *poll)
{
    const struct front *front = poll->front;
    const size_t task_id_len = strlen(poll->task_id);

    if (!take_miss(poll, task_id_len)) {
        return false;
    }
    int rc = hub_subscribe(front->hub, &poll->subscription, poll->task_id, task_id_len);
    if (rc == 0) {
        return true;
    }
    poll->on_done(poll->http);
    if (rc == HUB_READY) {
        struct task *task = poll->subscription.task;

        hub_unsubscribe(front->hub, &poll->subscription);
        poll_answer(front, poll->http, poll->request, task);
    } else if (rc == HUB_UNAVAILABLE) {
        refuse_unavailable(front, poll->http, poll->request);
    } else {
        channel_abort(&poll->http->channel);
    }
    return false;
}

/* ── The token ───────────────────────────────────────────────────────────────────────────────── */

/* The token has been checked. Whether the poll waits for the task's state; else it has been
 * answered. */
static bool take_verdict(struct poll *poll, const struct auth_verdict *verdict)
{
    if (verdict->rc != 0) {
        refuse_token(poll, verdict->rc, verdict->why);
        return false;
    }
    if (!token_names(verdict->token, poll->task_id)) {
        refuse_token(poll, AUTH_REFUSED, AUTH_FORBIDDEN);
        return false;
    }
    state_move(&poll_machine, &poll->state, POLL_SUBSCRIBED, NULL, 0);
    return ask_hub(poll);
}

static void poll_on_checked(struct auth_check *check, const struct auth_verdict *verdict)
{
    struct poll *poll = CONTAINER_OF(check, struct poll, check);
    struct http_connection *http = poll->http;

    if (http->channel.state == CHANNEL_CLOSED) {
        return; /* poller_cancel() comes */
    }
    if (!take_verdict(poll, verdict)) {
        mem_free(poll);
    }
}

/* As take_verdict(). */
static bool check_token(struct poll *poll)
{
    struct span text = bearer_token(poll->request);
    struct auth_verdict verdict = {.rc = AUTH_REFUSED, .why = AUTH_MISSING};
    struct timeval now;

    auth_check_init(&poll->check, poll_on_checked);
    if (text.at) {
        gettimeofday(&now, NULL);
        verdict.rc =
            auth_verify(poll->front->auth, text, (int64_t)now.tv_sec * 1000000 + now.tv_usec,
                        &poll->check, &verdict.token, &verdict.why);
    }
    if (verdict.rc == AUTH_LATER) {
        return true;
    }
    const bool waits = take_verdict(poll, &verdict);
    token_unref(verdict.token);
    return waits;
}

static struct poll *poll_begin(const struct front *front, struct http_connection *http,
                               const struct http_request *request, const char *task_id,
                               void (*on_done)(struct http_connection *))
{
    struct poll *poll = mem_zalloc(1, sizeof(*poll));

    if (!poll) {
        channel_abort(&http->channel);
        return NULL;
    }
    poll->subscription.events = &subscription_events;
    poll->front = front;
    poll->http = http;
    poll->request = request;
    poll->on_done = on_done;
    strcpy(poll->task_id, task_id);
    if (!check_token(poll)) {
        mem_free(poll);
        return NULL;
    }
    return poll;
}

struct poll *poller_request(const struct front *front, struct http_connection *http,
                            const struct http_request *request, struct span encoded_task_id,
                            void (*on_done)(struct http_connection *http))
{
    char task_id[TASK_ID_MAX + 1];
    size_t len;

    switch (http_request_method(request)) {
    case HTTP_METHOD_OPTIONS:
        http_answer_preflight(front, http, request);
        return NULL;
    case HTTP_METHOD_OTHER:
        http_answer_error(
            front, http, request,
            &(struct http_answer){.status = 405, .headers = "Allow: GET, HEAD, OPTIONS\r\n"},
            "METHOD_NOT_ALLOWED", "use GET, HEAD or OPTIONS");
        return NULL;
    case HTTP_METHOD_GET:
    case HTTP_METHOD_HEAD:
        break;
    }
    if (http_percent_decode(encoded_task_id, task_id, TASK_ID_MAX, &len) != 0 ||
        !task_id_is_valid(task_id, len)) {
        poll_refuse(front, http, request, 400, ERROR_INVALID_TASK_ID, "a task id is " TASK_ID_FORM,
                    NULL);
        return NULL;
    }
    task_id[len] = '\0';
    return poll_begin(front, http, request, task_id, on_done);
}

/* Whatever it waits for doesn't come any more. */
static void poll_stop(struct poll *poll)
{
    if (poll->state == POLL_SUBSCRIBED) {
        hub_unsubscribe(poll->front->hub, &poll->subscription);
    } else {
        auth_cancel(poll->front->auth, &poll->check);
    }
}

void poller_give_up(struct poll *poll)
{
    poll_stop(poll);
    poll_on_failed(&poll->subscription);
}

void poller_cancel(struct poll *poll)
{
    if (poll) {
        poll_stop(poll);
        mem_free(poll);
    }
}
