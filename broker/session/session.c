#include "broker/session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/session/http_answer.h"
#include "broker/web/web_page.h"
#include "proto/task_key.h"
#include "proto/ws_handshake.h"

/* Longest message a client may send: a subscribe with the longest token fits. */
#define CLIENT_MESSAGE_MAX 32768

#define WS_PATH "/ws/progress"

/* When the broker stops: what a client that has just connected has to send its request. */
#define ARRIVAL_GRACE_MS 1000

static struct session *session_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct session, connection);
}

/* The client has this long for what it has to do next. */
static void session_set_deadline(struct session *session, uint32_t in_ms)
{
    const struct front *front = session->settings->front;

    timer_set(front->wheel, &session->timer, uv_now(front->loop) + in_ms);
}

/* The client has this long at the most. */
static void limit_deadline(struct session *session, uint32_t in_ms)
{
    if (session->timer.due_ms > uv_now(session->settings->front->loop) + in_ms) {
        session_set_deadline(session, in_ms);
    }
}

/* When the broker stops: half of the time is for answers, the rest for taking them. */
static uint32_t half_of_shutdown(const struct session *session)
{
    return session->settings->front->config->shutdown_timeout_ms / 2;
}

static bool is_arriving(const struct session *session)
{
    return session->place == SESSION_SILENT || session->place == SESSION_BEGUN;
}

/* ── WebSocket ───────────────────────────────────────────────────────────────────────────────── */

static void refuse_upgrade(struct session *session, const struct http_request *request, int status,
                           const char *code, const char *why)
{
    http_answer_error(session->settings->front, &session->connection, request,
                      &(struct http_answer){
                          .status = status,
                          .headers = status == 426   ? "Upgrade: websocket\r\n"
                                                       "Sec-WebSocket-Version: 13\r\n"
                                     : status == 503 ? "Retry-After: 1\r\n"
                                                     : NULL,
                          .close = true,
                      },
                      code, why);
}

static void upgrade(struct session *session, const struct http_request *request,
                    const char *task_id)
{
    const struct front *front = session->settings->front;
    struct text response = TEXT_EMPTY;
    struct bytes *bytes = NULL;

    if (ws_handshake_respond(&response, request) == 0) {
        bytes = text_to_bytes(&response);
    }
    text_deinit(&response);
    if (watcher_begin(&session->watcher, front, &session->connection, &session->timer, task_id) <
        0) {
        bytes_unref(bytes);
        connection_abort(&session->connection);
        return;
    }
    session->is_watching = true;
    session->settings->events->on_upgrade(session);
    metric_add(front->metrics, METRIC_WEBSOCKET_CONNECTIONS, 1);
    connection_upgrade(&session->connection, bytes);
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
    if (session->connection.is_last) {
        refuse_upgrade(session, request, 503, error_code_name(ERROR_UNAVAILABLE),
                       "this server is stopping");
        return;
    }
    if (!http_origin_is_allowed(session->settings->front, request)) {
        metric_add(session->settings->front->metrics, METRIC_REFUSED_ORIGIN, 1);
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
    const struct front *front = session->settings->front;
    const bool of_address = admission == SESSION_OVER_ADDRESS_LIMIT;
    char headers[40];

    metric_add(front->metrics, of_address ? METRIC_REFUSED_ADDRESS_LIMIT : METRIC_REFUSED_LIMIT, 1);
    snprintf(headers, sizeof(headers), "Retry-After: %u\r\n", 2 + arc4random_uniform(9));
    http_answer_error(front, &session->connection, request,
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

static void on_poll_done(struct connection *connection)
{
    session_of(connection)->poll = NULL;
}

static void session_on_begun(struct connection *connection)
{
    struct session *session = session_of(connection);

    if (session->place == SESSION_SILENT) {
        session->settings->events->on_begun(session);
    }
}

static enum session_admission admit(struct session *session)
{
    if (is_arriving(session)) {
        return session->settings->events->on_arrival(session);
    }
    session->settings->events->on_request(session);
    return SESSION_WELCOME;
}

static void session_on_request(struct connection *connection, const struct http_request *request)
{
    struct session *session = session_of(connection);
    const struct front *front = session->settings->front;
    const enum session_admission admission = admit(session);
    struct span path = http_request_path(request);
    struct span rest;

    session_set_deadline(session, connection->is_last ? half_of_shutdown(session)
                                                      : front->config->idle_timeout_ms);
    if (admission != SESSION_WELCOME) {
        refuse_for_limit(session, request, admission);
        return;
    }
    rest = path_behind(path, API_PATH);
    if (rest.at) {
        session->poll = poller_request(front, connection, request, rest, on_poll_done);
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
        web_page_answer(front, connection, request);
        return;
    }
    http_answer_error(front, connection, request, &(struct http_answer){.status = 404}, "NOT_FOUND",
                      "no such path; see " API_PATH "{taskId} and " WS_PATH);
}

/* ── The connection's other events ───────────────────────────────────────────────────────────── */

static void session_on_message(struct connection *connection, enum ws_opcode opcode,
                               const uint8_t *payload, uint32_t len)
{
    watcher_message(&session_of(connection)->watcher, opcode, payload, len);
}

static size_t session_on_collect(struct connection *connection, struct connection_frame *frames,
                                 size_t max)
{
    return watcher_collect(&session_of(connection)->watcher, frames, max);
}

static void session_on_taken(struct connection *connection, const struct connection_frame *frame)
{
    watcher_taken(&session_of(connection)->watcher, frame);
}

static void session_on_flush_due(struct connection *connection)
{
    struct session *session = session_of(connection);

    session->settings->events->on_flush_due(session);
}

static void session_on_ending(struct connection *connection)
{
    struct session *session = session_of(connection);
    const struct config *config = session->settings->front->config;
    const bool takes_answer = session->place == SESSION_HTTP && !connection->is_shut;

    session_set_deadline(session, connection->is_last ? half_of_shutdown(session)
                                  : takes_answer      ? config->idle_timeout_ms
                                                      : config->shutdown_timeout_ms);
    session->settings->events->on_ending(session);
}

static void session_on_connection_closed(struct connection *connection)
{
    struct session *session = session_of(connection);
    const struct front *front = session->settings->front;

    if (session->is_watching) {
        watcher_end(&session->watcher);
        metric_sub(front->metrics, METRIC_WEBSOCKET_CONNECTIONS, 1);
    } else {
        poller_cancel(session->poll);
    }
    timer_cancel(front->wheel, &session->timer);
    session->settings->events->on_closed(session);
}

static const struct connection_events connection_events = {
    .on_begun = session_on_begun,
    .on_request = session_on_request,
    .on_message = session_on_message,
    .on_collect = session_on_collect,
    .on_taken = session_on_taken,
    .on_flush_due = session_on_flush_due,
    .on_ending = session_on_ending,
    .on_closed = session_on_connection_closed,
};

/* While HTTP: the client took too long for its first request, or sent none for a while; or the
 * broker stops, and can't wait any longer for the answer. While closing: it took too long to go. */
static void session_on_timer(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);

    if (session->connection.state == CONNECTION_OPEN) {
        watcher_tick(&session->watcher);
    } else if (session->connection.state == CONNECTION_REQUEST) {
        connection_close(&session->connection, CLOSE_TIMEOUT);
    } else if (session->connection.state == CONNECTION_ANSWERING && session->poll) {
        poller_give_up(session->poll);
    } else {
        connection_abort(&session->connection);
    }
}

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

void session_settings_init(struct session_settings *settings, const struct front *front,
                           const struct session_events *events)
{
    *settings = (struct session_settings){
        .front = front,
        .events = events,
        .connection = {.loop = front->loop,
                       .metrics = front->metrics,
                       .max_message = CLIENT_MESSAGE_MAX,
                       .events = &connection_events},
    };
}

int session_open(struct session *session, int fd, const struct session_settings *settings)
{
    int r;

    session->settings = settings;
    session->poll = NULL;
    session->place = SESSION_SILENT;
    session->is_watching = false;
    r = connection_open(&session->connection, fd, &settings->connection);
    if (r < 0) {
        return r;
    }
    timer_init(&session->timer, session_on_timer);
    session_set_deadline(session, settings->front->config->handshake_timeout_ms);
    return 0;
}

void session_flush(struct session *session)
{
    connection_flush(&session->connection);
}

bool session_is_idle(const struct session *session)
{
    return connection_is_idle(&session->connection);
}

void session_close(struct session *session, enum close_code code)
{
    struct connection *connection = &session->connection;
    const uint32_t half_ms = half_of_shutdown(session);

    if (connection->state == CONNECTION_OPEN) {
        connection_close(connection, code);
        return;
    }
    connection_finish(connection, is_arriving(session));
    if (connection->state == CONNECTION_REQUEST) {
        limit_deadline(session, half_ms < ARRIVAL_GRACE_MS ? half_ms : ARRIVAL_GRACE_MS);
    } else if (connection->state != CONNECTION_CLOSED) {
        limit_deadline(session, half_ms);
    }
}

void session_abort(struct session *session)
{
    connection_abort(&session->connection);
}
