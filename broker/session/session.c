#include "broker/session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/loop/loop.h"
#include "broker/session/http_answer.h"
#include "broker/web/web_page.h"
#include "proto/task_key.h"
#include "proto/ws_handshake.h"

/* Longest message a client may send: a subscribe with the longest token fits. */
#define CLIENT_MESSAGE_MAX 32768

#define WS_PATH "/ws/progress"

/* When the broker stops: what a client that has just connected has to send its request. */
#define ARRIVAL_GRACE_MS 1000

static struct session *session_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct session, channel);
}

static const struct session_settings *settings_of(const struct session *session)
{
    return CONTAINER_OF(session->channel.settings, struct session_settings, channel);
}

static const struct front *front_of(const struct session *session)
{
    return settings_of(session)->front;
}

static const struct session_events *events_of(const struct session *session)
{
    return settings_of(session)->events;
}

/* The client has this long for what it has to do next. */
static void session_set_deadline(struct session *session, uint32_t in_ms)
{
    const struct front *front = front_of(session);

    timer_set(front->wheel, &session->timer, uv_now(front->loop) + in_ms);
}

/* The client has this long at the most. */
static void limit_deadline(struct session *session, uint32_t in_ms)
{
    if (session->timer.due_ms > uv_now(front_of(session)->loop) + in_ms) {
        session_set_deadline(session, in_ms);
    }
}

/* When the broker stops: half of the time is for answers, the rest for taking them. */
static uint32_t half_of_shutdown(const struct session *session)
{
    return front_of(session)->config->shutdown_timeout_ms / 2;
}

static bool is_arriving(const struct session *session)
{
    return session->place == SESSION_SILENT || session->place == SESSION_BEGUN;
}

/* ── WebSocket ───────────────────────────────────────────────────────────────────────────────── */

static void refuse_upgrade(struct session *session, const struct http_request *request, int status,
                           const char *code, const char *why)
{
    http_answer_error(front_of(session), &session->http, request,
                      &(struct http_answer){
                          .status = status,
                          .headers = status == 426 ? "Upgrade: websocket\r\n"
                                                     "Sec-WebSocket-Version: 13\r\n"
                                                   : NULL,
                          .close = true,
                      },
                      code, why);
}

static void upgrade(struct session *session, const struct http_request *request,
                    const char *task_id)
{
    const struct front *front = front_of(session);
    const bool is_stopping = session->http.is_last;
    struct text response = TEXT_EMPTY;
    struct bytes *bytes = NULL;

    if (ws_handshake_respond(&response, request) == 0) {
        bytes = text_to_bytes(&response);
    }
    text_deinit(&response);
    if (watcher_begin(&session->watcher, front, &session->ws, &session->timer, task_id) < 0) {
        bytes_unref(bytes);
        channel_abort(&session->channel);
        return;
    }
    http_connection_upgrade(&session->http, bytes);
    session->is_watching = true;
    events_of(session)->on_upgrade(session);
    metric_add(front->metrics, METRIC_WEBSOCKET_CONNECTIONS, 1);
    ws_connection_begin(&session->ws);
    if (is_stopping) { /* a page learns more from a close code than from a refused upgrade */
        ws_connection_close(&session->ws, CLOSE_SERVICE_RESTART);
        limit_deadline(session, half_of_shutdown(session));
    }
}

/* `encoded_task_id` {NULL, 0}: the path names none. */
static void request_upgrade(struct session *session, const struct http_request *request,
                            struct span encoded_task_id)
{
    char task_id[TASK_ID_MAX + 1];
    const char *why = NULL;
    size_t len = 0;

    switch (ws_handshake_check(request, &why)) {
    case 0:
        break;
    case WS_HANDSHAKE_NONE:
    case WS_HANDSHAKE_BAD_VERSION:
        refuse_upgrade(session, request, 426, "UPGRADE_REQUIRED", why);
        return;
    default:
        refuse_upgrade(session, request, 400, "BAD_REQUEST", why);
        return;
    }
    if (!http_origin_is_allowed(front_of(session), request)) {
        metric_add(front_of(session)->metrics, METRIC_REFUSED_ORIGIN, 1);
        refuse_upgrade(session, request, 403, "ORIGIN_NOT_ALLOWED",
                       "the page's origin is not on the list");
        return;
    }
    if (encoded_task_id.at &&
        (http_percent_decode(encoded_task_id, task_id, TASK_ID_MAX, &len) != 0 ||
         !task_id_is_valid(task_id, len))) {
        refuse_upgrade(session, request, 400, error_code_name(ERROR_INVALID_TASK_ID),
                       "a task id is " TASK_ID_FORM);
        return;
    }
    task_id[len] = '\0';
    upgrade(session, request, encoded_task_id.at ? task_id : NULL);
}

/* ── Requests ────────────────────────────────────────────────────────────────────────────────── */

static void refuse_for_limit(struct session *session, const struct http_request *request,
                             enum session_admission admission)
{
    const struct front *front = front_of(session);
    const bool of_address = admission == SESSION_OVER_ADDRESS_LIMIT;
    char headers[40];

    metric_add(front->metrics, of_address ? METRIC_REFUSED_ADDRESS_LIMIT : METRIC_REFUSED_LIMIT, 1);
    snprintf(headers, sizeof(headers), "Retry-After: %u\r\n", 2 + arc4random_uniform(9));
    http_answer_error(front, &session->http, request,
                      &(struct http_answer){.status = 503, .headers = headers, .close = true},
                      "BUSY",
                      of_address ? "too many connections from this address"
                                 : "this server has as many connections as it may");
}

/* What follows `prefix` in the path; {NULL, 0} if it doesn't begin so. */
static struct span path_behind(struct span path, const char *prefix)
{
    const size_t len = strlen(prefix);

    if (path.len < len || memcmp(path.at, prefix, len) != 0) {
        return (struct span){NULL, 0};
    }
    return (struct span){path.at + len, path.len - len};
}

static void on_poll_done(struct http_connection *http)
{
    session_of(&http->channel)->poll = NULL;
}

static void session_on_begun(struct http_connection *http)
{
    struct session *session = session_of(&http->channel);

    if (session->place == SESSION_SILENT) {
        events_of(session)->on_begun(session);
    }
}

static enum session_admission admit(struct session *session)
{
    if (is_arriving(session)) {
        return events_of(session)->on_arrival(session);
    }
    events_of(session)->on_request(session);
    return SESSION_WELCOME;
}

static void session_on_request(struct http_connection *http, const struct http_request *request)
{
    struct session *session = session_of(&http->channel);
    const struct front *front = front_of(session);
    const enum session_admission admission = admit(session);
    struct span path = http_request_path(request);
    struct span rest;

    session_set_deadline(session, http->is_last ? half_of_shutdown(session)
                                                : front->config->idle_timeout_ms);
    if (admission != SESSION_WELCOME) {
        refuse_for_limit(session, request, admission);
        return;
    }
    rest = path_behind(path, API_PATH);
    if (rest.at) {
        session->poll = poller_request(front, http, request, rest, on_poll_done);
        return;
    }
    rest = path_behind(path, WS_PATH);
    if (rest.at && (rest.len == 0 || rest.at[0] == '/')) {
        request_upgrade(session, request,
                        rest.len <= 1 ? (struct span){NULL, 0}
                                      : (struct span){rest.at + 1, rest.len - 1});
        return;
    }
    if (front->web_cache) {
        web_page_answer(front, http, request);
        return;
    }
    http_answer_error(front, http, request, &(struct http_answer){.status = 404}, "NOT_FOUND",
                      "no such path; see " API_PATH "{taskId} and " WS_PATH);
}

static const struct http_connection_events http_events = {
    .on_begun = session_on_begun,
    .on_request = session_on_request,
};

/* ── The channel's other events ──────────────────────────────────────────────────────────────── */

static void session_on_message(struct ws_connection *ws, enum ws_opcode opcode,
                               const uint8_t *payload, uint32_t len)
{
    watcher_message(&session_of(&ws->channel)->watcher, opcode, payload, len);
}

static const struct ws_connection_events ws_events = {
    .on_message = session_on_message,
};

static size_t session_on_collect(struct channel *channel, struct channel_frame *frames, size_t max)
{
    return watcher_collect(&session_of(channel)->watcher, frames, max);
}

static void session_on_taken(struct channel *channel, const struct channel_frame *frame)
{
    watcher_taken(&session_of(channel)->watcher, frame);
}

static void session_on_ending(struct channel *channel)
{
    struct session *session = session_of(channel);
    const struct config *config = front_of(session)->config;
    const bool is_last = !session->is_watching && session->http.is_last;
    const bool takes_answer = session->place == SESSION_HTTP && channel->state != CHANNEL_SHUT;

    session_set_deadline(session, is_last        ? half_of_shutdown(session)
                                  : takes_answer ? config->idle_timeout_ms
                                                 : config->shutdown_timeout_ms);
    events_of(session)->on_ending(session);
}

static void session_on_closed(struct channel *channel)
{
    struct session *session = session_of(channel);
    const struct front *front = front_of(session);

    if (session->is_watching) {
        watcher_end(&session->watcher);
        metric_sub(front->metrics, METRIC_WEBSOCKET_CONNECTIONS, 1);
    } else {
        poller_cancel(session->poll);
    }
    timer_cancel(front->wheel, &session->timer);
    events_of(session)->on_closed(session);
}

static const struct channel_events channel_events = {
    .on_collect = session_on_collect,
    .on_taken = session_on_taken,
    .on_ending = session_on_ending,
    .on_closed = session_on_closed,
};

/* While HTTP: the client took too long for its first request, or sent none for a while; or the
 * broker stops, and can't wait any longer for the answer. While closing: it took too long to go. */
static void session_on_timer(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);

    if (session->channel.state != CHANNEL_OPEN) {
        channel_abort(&session->channel);
    } else if (session->is_watching && session->ws.state == WS_CONNECTION_OPEN) {
        watcher_tick(&session->watcher);
    } else if (session->is_watching) {
        channel_abort(&session->channel);
    } else if (session->http.state == HTTP_CONNECTION_ANSWERING && session->poll) {
        poller_give_up(session->poll);
    } else {
        http_connection_close(&session->http);
    }
}

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

void session_settings_init(struct session_settings *settings, const struct front *front,
                           const struct session_events *events)
{
    *settings = (struct session_settings){
        .front = front,
        .events = events,
        .channel = {.loop = loop_of(front->loop),
                    .metrics = front->metrics,
                    .events = &channel_events,
                    .http_events = &http_events,
                    .ws_events = &ws_events,
                    .max_message = CLIENT_MESSAGE_MAX},
    };
}

int session_open(struct session *session, int fd, const struct session_settings *settings)
{
    session->poll = NULL;
    session->place = SESSION_SILENT;
    session->is_watching = false;
    int rc = http_connection_open(&session->http, fd, &settings->channel);
    if (rc < 0) {
        return rc;
    }
    timer_init(&session->timer, session_on_timer);
    session_set_deadline(session, settings->front->config->handshake_timeout_ms);
    return 0;
}

static void session_on_proxy_header(struct stream *stream, const struct proxy_header *header)
{
    struct session *session = session_of(CONTAINER_OF(stream, struct channel, stream));

    events_of(session)->on_proxy_header(session, header);
}

int session_begin_proxy(struct session *session)
{
    return proxy_stream_begin(&session->channel.stream, session_on_proxy_header);
}

int session_begin_tls(struct session *session)
{
    /* All sessions of a worker share the front's room, which they don't otherwise change. */
    struct front *front = (struct front *)front_of(session);

    return tls_stream_accept(&session->channel.stream, front->tls, &front->tls_room);
}

bool session_is_idle(const struct session *session)
{
    return !session->is_watching && http_connection_is_idle(&session->http);
}

void session_close(struct session *session, enum close_code code)
{
    const uint32_t half_ms = half_of_shutdown(session);

    if (session->is_watching) {
        ws_connection_close(&session->ws, code);
        return;
    }
    http_connection_finish(&session->http, is_arriving(session));
    if (session->is_watching || session->channel.state == CHANNEL_CLOSED) {
        return;
    }
    if (session->http.state == HTTP_CONNECTION_READING) {
        limit_deadline(session, half_ms < ARRIVAL_GRACE_MS ? half_ms : ARRIVAL_GRACE_MS);
    } else {
        limit_deadline(session, half_ms);
    }
}

void session_leave(struct session *session, uint32_t after_ms)
{
    if (!session->is_watching) {
        session_close(session, CLOSE_SERVICE_RESTART);
    } else if (session->channel.state == CHANNEL_OPEN && session->ws.state == WS_CONNECTION_OPEN) {
        watcher_leave(&session->watcher, after_ms);
    }
}

void session_abort(struct session *session)
{
    channel_abort(&session->channel);
}
