#include "client/cli/live_feed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/ws_client.h"
#include "proto/message_tables.h" /* generated: error and close codes */

#define PING_MS 30000
#define RESUBSCRIBE_MS 3000 /* after UNAVAILABLE and the like */
#define NEVER INT64_MAX

struct live {
    struct feed *feed;
    struct ws_client *client;
    bool subscribed;      /* was, at some time */
    int64_t answer_by;    /* to the subscribe that was sent; NEVER: none is awaited */
    int64_t subscribe_at; /* again; NEVER: all is well */
    int64_t ping_at;
    bool silent; /* nothing came since the last ping */
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int lost(const struct live *live)
{
    return live->subscribed ? FEED_LOST : FEED_FAILED;
}

/* ── Saying ──────────────────────────────────────────────────────────────────────────────────── */

static int live_send(struct live *live, const struct text *text)
{
    int rc;

    if (text_failed(text)) {
        return -ENOMEM;
    }
    rc =
        ws_client_send(live->client, text->data, text->len, wire_deadline(live->feed->patience_ms));
    return rc ? feed_fail_wire(live->feed, lost(live), rc) : 0;
}

/* With the rev that is held, so that only what is newer comes. */
static int live_subscribe(struct live *live)
{
    const struct task_view *view = &live->feed->display->view;
    CLEANUP(text_deinit) struct text token = TEXT_EMPTY, text = TEXT_EMPTY;
    char rev[REV_TEXT_SIZE];
    int rc = feed_token(live->feed, &token);

    if (rc) {
        return rc;
    }
    text_puts(&text, "{\"type\":\"subscribe\",\"taskId\":");
    text_json_string(&text, live->feed->task_id, strlen(live->feed->task_id));
    text_puts(&text, ",\"token\":");
    text_json_string(&text, token.data, token.len);
    if (view->rev.n > 0) {
        rev_format(rev, &view->rev);
        text_printf(&text, ",\"rev\":\"%s\"", rev);
    }
    text_puts(&text, "}");
    live->subscribe_at = NEVER;
    live->answer_by = wire_deadline(live->feed->patience_ms);
    return live_send(live, &text);
}

static int live_ping(struct live *live)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;

    if (live->silent) {
        return feed_fail(live->feed, lost(live), "the server has fallen silent");
    }
    live->silent = true;
    live->ping_at = wire_deadline(PING_MS);
    text_printf(&text, "{\"type\":\"ping\",\"timestamp\":%lld}", (long long)wire_clock());
    return live_send(live, &text);
}

/* ── Hearing ─────────────────────────────────────────────────────────────────────────────────── */

static int live_on_subscribed(struct live *live, struct json_value message)
{
    struct json_value payload, rev, stages;

    live->answer_by = NEVER;
    live->subscribed = true;
    feed_in_contact(live->feed, FEED_WEBSOCKET);
    watch_display_other(live->feed->display, message);
    if (json_find(message, "payload", &payload) != 0 || payload.kind != JSON_OBJECT ||
        json_find(payload, "rev", &rev) != 0 || json_find(payload, "stages", &stages) != 0) {
        return 0; /* a server that knows only the older protocol */
    }
    return watch_display_stages(live->feed->display, rev, stages)
               ? feed_fail(live->feed, FEED_LOST, "the server sent a strange rev")
               : 0;
}

/* The token ran out: a fresh one renews the subscription on the same connection. */
static int live_on_unsubscribed(struct live *live, struct json_value message)
{
    watch_display_other(live->feed->display, message);
    if (!token_source_renews(live->feed->tokens)) {
        return feed_fail(live->feed, FEED_UNAUTHORIZED, "the token has run out");
    }
    return live_subscribe(live);
}

/* The token runs out soon: a fresh one renews the subscription in place. */
static int live_on_token_expiring(struct live *live)
{
    return token_source_renews(live->feed->tokens) ? live_subscribe(live) : 0;
}

/* An answer to a request that was refused. */
static int on_refusal(struct live *live, struct json_value payload)
{
    char code[FEED_CODE_SIZE];

    live->answer_by = NEVER;
    feed_read_error(live->feed, payload, code);
    if (strcmp(code, error_code_name(ERROR_UNAUTHORIZED)) == 0) {
        return FEED_UNAUTHORIZED;
    }
    if (strcmp(code, error_code_name(ERROR_UNAVAILABLE)) != 0 &&
        strcmp(code, error_code_name(ERROR_RATE_LIMITED)) != 0) {
        return FEED_REFUSED;
    }
    live->feed->contact = wire_clock();
    live->subscribe_at = wire_deadline(RESUBSCRIBE_MS);
    watch_display_note(live->feed->display, "%s; trying again", live->feed->why);
    return 0;
}

static int on_task_message(struct live *live, struct json_value message)
{
    int rc = watch_display_message(live->feed->display, message);

    if (rc < 0) {
        return rc;
    }
    return task_view_is_over(&live->feed->display->view) ? FEED_ENDED : 0;
}

static int live_on_message(struct live *live, struct span text)
{
    struct json_value message, type, payload, scope;
    size_t offset;

    if (json_check(text, &message, &offset) != 0 || message.kind != JSON_OBJECT ||
        json_find(message, "type", &type) != 0 || type.kind != JSON_STRING) {
        return feed_fail(live->feed, lost(live), "the server sent something that is no message");
    }
    live->feed->contact = wire_clock();
    live->silent = false;
    if (json_string_is(type.raw, "subscribed")) {
        return live_on_subscribed(live, message);
    }
    if (json_string_is(type.raw, "token_expiring")) {
        return live_on_token_expiring(live);
    }
    if (json_string_is(type.raw, "unsubscribed")) {
        return live_on_unsubscribed(live, message);
    }
    if (json_string_is(type.raw, "error") && json_find(message, "payload", &payload) == 0 &&
        payload.kind == JSON_OBJECT && json_find(payload, "scope", &scope) == 0 &&
        scope.kind == JSON_STRING && json_string_is(scope.raw, "request")) {
        return on_refusal(live, payload);
    }
    return on_task_message(live, message);
}

static int on_close(struct live *live, const struct ws_event *event)
{
    struct feed *feed = live->feed;
    int reason_len = event->len > 2 ? (int)event->len - 2 : 0;

    snprintf(feed->why, sizeof(feed->why), "the server closed the connection (%u%s%.*s)",
             event->close_code, reason_len > 0 ? ": " : "", reason_len,
             reason_len > 0 ? (const char *)event->payload + 2 : "");
    switch (event->close_code) {
    case CLOSE_UNAUTHORIZED:
        return FEED_UNAUTHORIZED;
    case CLOSE_FORBIDDEN:
        return FEED_REFUSED;
    default:
        return lost(live);
    }
}

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

static int live_open(struct live *live)
{
    struct feed *feed = live->feed;
    char path[sizeof("/ws/progress/") + TASK_ID_MAX];
    int status, rc;

    snprintf(path, sizeof(path), "/ws/progress/%s", feed->task_id);
    rc = ws_client_open(feed->address, path, wire_deadline(feed->patience_ms), &live->client,
                        &status);
    if (rc == WIRE_REFUSED) {
        return feed_fail(feed, FEED_FAILED, "the server refuses WebSocket (HTTP status %d)",
                         status);
    }
    return rc ? feed_fail_wire(feed, FEED_FAILED, rc) : 0;
}

/* What is due now. */
static int keep_up(struct live *live)
{
    int64_t now = wire_clock();

    watch_display_tick(live->feed->display);
    if (now >= live->answer_by) {
        return feed_fail(live->feed, lost(live), "the server doesn't answer");
    }
    if (now >= live->subscribe_at) {
        return live_subscribe(live);
    }
    return now >= live->ping_at ? live_ping(live) : 0;
}

static int receive(struct live *live)
{
    int64_t due = earlier(earlier(live->answer_by, live->subscribe_at),
                          earlier(live->ping_at, watch_display_due(live->feed->display)));
    struct ws_event event;
    int rc = ws_client_next(live->client, due, &event);

    switch (rc) {
    case 0:
        return event.opcode == WS_CLOSE
                   ? on_close(live, &event)
                   : live_on_message(live, (struct span){(const char *)event.payload, event.len});
    case -ETIMEDOUT:
        return 0;
    case WIRE_BAD_PROTOCOL:
        return feed_fail(live->feed, lost(live), "the server breaks WebSocket's rules");
    default:
        return feed_fail_wire(live->feed, lost(live), rc);
    }
}

int live_feed_run(struct feed *feed)
{
    struct live live = {.feed = feed, .answer_by = NEVER, .subscribe_at = NEVER};
    int rc = live_open(&live);

    live.ping_at = wire_deadline(PING_MS);
    if (rc == 0) {
        rc = live_subscribe(&live);
    }
    while (rc == 0) {
        rc = keep_up(&live);
        if (rc == 0) {
            rc = receive(&live);
        }
    }
    ws_client_free(live.client);
    return rc;
}
