#include "client/cli/poll_feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/http_client.h"
#include "common/secret_file.h"

#define WAIT_OTHERWISE_S 2
#define WAIT_MAX_S 60

/* ── The question ────────────────────────────────────────────────────────────────────────────── */

int poll_feed_get(const struct wire_address *address, const char *task_id, const char *token,
                  const char *rev, int64_t deadline, struct http_reply *ret_reply)
{
    CLEANUP(secret_text_deinit) struct text authorization = TEXT_EMPTY;
    char path[sizeof("/api/progress/") + TASK_ID_MAX], etag[32 + REV_TEXT_SIZE];

    snprintf(path, sizeof(path), "/api/progress/%s", task_id);
    text_printf(&authorization, "Authorization: Bearer %s", token);
    snprintf(etag, sizeof(etag), "If-None-Match: \"%s\"", rev);
    if (text_failed(&authorization)) {
        return -ENOMEM;
    }
    const char *const headers[] = {authorization.data, etag};
    return http_client_get(address, path, headers, rev[0] != '\0' ? 2 : 1, deadline, ret_reply);
}

static int poll_feed_request(struct feed *feed, struct http_reply *ret_reply)
{
    const struct task_view *view = &feed->display->view;
    CLEANUP(text_deinit) struct text token = TEXT_EMPTY;
    char rev[REV_TEXT_SIZE] = "";
    int rc = feed_token(feed, &token);

    if (rc) {
        return rc;
    }
    if (view->rev.n > 0) {
        rev_format(rev, &view->rev);
    }
    rc = poll_feed_get(feed->address, feed->task_id, token.data, rev,
                       wire_deadline(feed->patience_ms), ret_reply);
    return rc ? feed_fail_wire(feed, FEED_FAILED, rc) : 0;
}

/* ── The answer ──────────────────────────────────────────────────────────────────────────────── */

static bool poll_feed_find(struct json_value object, const char *name, enum json_kind kind,
                           struct json_value *ret_value)
{
    return json_find(object, name, ret_value) == 0 && ret_value->kind == kind;
}

static int poll_feed_take_messages(struct feed *feed, struct json_value messages)
{
    struct json_value message;
    size_t position = 0;

    while (json_next_element(messages, &position, &message) == 0) {
        int rc = message.kind == JSON_OBJECT ? watch_display_message(feed->display, message) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    return task_view_is_over(&feed->display->view) ? FEED_ENDED : 0;
}

static int take_state(struct feed *feed, struct json_value state)
{
    struct json_value rev, stages, messages;

    if (!poll_feed_find(state, "rev", JSON_STRING, &rev) ||
        !poll_feed_find(state, "stages", JSON_ARRAY, &stages) ||
        !poll_feed_find(state, "messages", JSON_ARRAY, &messages) ||
        watch_display_stages(feed->display, rev, stages) != 0) {
        return feed_fail(feed, FEED_FAILED, "the server's answer is no state of a task");
    }
    return poll_feed_take_messages(feed, messages);
}

/* An answer that is no state. Only what says so as a broker does comes from one, and not from
 * something in between. */
static int take_refusal(struct feed *feed, int status, struct json_value answer)
{
    struct json_value error;
    char code[FEED_CODE_SIZE];

    if (answer.kind != JSON_OBJECT || !poll_feed_find(answer, "error", JSON_OBJECT, &error)) {
        return feed_fail(feed, FEED_FAILED, "the server answers with HTTP status %d", status);
    }
    feed_read_error(feed, error, code);
    switch (status) {
    case 401:
        return FEED_UNAUTHORIZED;
    case 400:
    case 403:
        return FEED_REFUSED;
    case 404:
        if (strcmp(code, "TASK_NOT_FOUND") != 0) {
            return FEED_FAILED; /* there is no such path: perhaps it is no broker */
        }
        feed_in_contact(feed, FEED_HTTP);
        return 0;
    case 429:
    case 503:
        feed_in_contact(feed, FEED_HTTP);
        return 0;
    default:
        return FEED_FAILED;
    }
}

static int take_answer(struct feed *feed, const struct http_reply *reply)
{
    struct json_value answer = {JSON_NULL, {NULL, 0}};
    size_t offset;

    if (reply->status == 304) {
        feed_in_contact(feed, FEED_HTTP);
        return 0;
    }
    if (reply->body.len == 0 ||
        json_check((struct span){reply->body.data, reply->body.len}, &answer, &offset) != 0) {
        answer.kind = JSON_NULL;
    }
    if (reply->status != 200) {
        return take_refusal(feed, reply->status, answer);
    }
    if (answer.kind != JSON_OBJECT) {
        return feed_fail(feed, FEED_FAILED, "the server's answer is no state of a task");
    }
    feed_in_contact(feed, FEED_HTTP);
    return take_state(feed, answer);
}

static int64_t wait_ms(const struct http_reply *reply)
{
    const long seconds = reply->retry_after_s > 0 ? reply->retry_after_s : WAIT_OTHERWISE_S;

    return 1000 * (int64_t)(seconds < WAIT_MAX_S ? seconds : WAIT_MAX_S);
}

int poll_feed_ask(struct feed *feed, int64_t *ret_wait_ms)
{
    struct http_reply reply;
    int rc = poll_feed_request(feed, &reply);

    if (rc) {
        return rc;
    }
    rc = take_answer(feed, &reply);
    *ret_wait_ms = wait_ms(&reply);
    http_reply_deinit(&reply);
    return rc;
}
