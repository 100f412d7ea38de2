#include "broker/net/connection.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "proto/http_response.h"

/* With more waiting than this, pongs replace each other: well below what outbox_is_full() says. */
#define PONGS_MAX (CONNECTION_BATCH / 4)

/* ── States ──────────────────────────────────────────────────────────────────────────────────── */

/* The only writer of the state. */
static void set_state(struct connection *connection, enum connection_state state)
{
    static const bool allowed[][CONNECTION_CLOSED + 1] = {
        [CONNECTION_REQUEST] = {[CONNECTION_ANSWERING] = true,
                                [CONNECTION_LINGERING] = true,
                                [CONNECTION_CLOSED] = true},
        [CONNECTION_ANSWERING] = {[CONNECTION_REQUEST] = true,
                                  [CONNECTION_OPEN] = true,
                                  [CONNECTION_LINGERING] = true,
                                  [CONNECTION_CLOSED] = true},
        [CONNECTION_OPEN] = {[CONNECTION_CLOSING] = true,
                             [CONNECTION_LINGERING] = true,
                             [CONNECTION_CLOSED] = true},
        [CONNECTION_CLOSING] = {[CONNECTION_LINGERING] = true, [CONNECTION_CLOSED] = true},
        [CONNECTION_LINGERING] = {[CONNECTION_CLOSED] = true},
        [CONNECTION_CLOSED] = {false},
    };
    const bool ends = state == CONNECTION_CLOSING || state == CONNECTION_LINGERING;

    assert(allowed[connection->state][state]);
    connection->state = (uint8_t)state;
    if (ends) {
        connection->settings->events->on_ending(connection);
    }
}

/* Whether what the client says next has to wait. */
static bool must_wait(const struct connection *connection)
{
    switch ((enum connection_state)connection->state) {
    case CONNECTION_REQUEST:
    case CONNECTION_OPEN:
        return connection->is_paused || outbox_is_full(&connection->outbox);
    case CONNECTION_ANSWERING:
        return true;
    case CONNECTION_CLOSING:
    case CONNECTION_LINGERING:
    case CONNECTION_CLOSED:
        break;
    }
    return false;
}

/* Reading stops while what comes has to wait, and while a client that sends doesn't take what it is
 * answered: so that nothing piles up here. */
static void update_reading(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSED) {
        stream_want_read(&connection->stream,
                         !must_wait(connection) && !connection->input && !connection->peer_ended &&
                             !(connection->blocked && outbox_waiting(&connection->outbox) > 0));
    }
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────── */

void connection_wake(struct connection *connection)
{
    if (!connection->flush_due && !connection->blocked && connection->state != CONNECTION_CLOSED) {
        connection->flush_due = true;
        connection->settings->events->on_flush_due(connection);
    }
}

static bool is_pong(const struct bytes *bytes)
{
    return bytes && bytes->len > 0 && bytes->data[0] == (0x80 | WS_PONG);
}

/* Takes the reference over. Of pongs that a client lets pile up only the newest is kept (RFC 6455,
 * 5.5.3). What isn't a frame is never taken for one: a response's body stands behind its head, and
 * pongs behind the handshake's. */
static int enqueue(struct connection *connection, struct bytes *bytes)
{
    if (is_pong(bytes) &&
        (connection->blocked || outbox_waiting(&connection->outbox) >= PONGS_MAX) &&
        is_pong(outbox_last(&connection->outbox))) {
        outbox_replace_last(&connection->outbox, bytes);
        return 0;
    }
    if (outbox_put(&connection->outbox, bytes) < 0) {
        return -ENOMEM;
    }
    connection_wake(connection);
    return 0;
}

void connection_send(struct connection *connection, struct bytes *frame)
{
    if (connection->state != CONNECTION_OPEN) {
        bytes_unref(frame);
    } else if (!frame || enqueue(connection, frame) < 0) {
        connection->close_code = CLOSE_INTERNAL_ERROR;
        connection_abort(connection);
    }
}

/* All is sent. A peer that sends nothing more is through; of others the end is awaited. */
static void finish_lingering(struct connection *connection)
{
    if (connection->peer_ended) {
        connection_abort(connection);
    } else if (!connection->is_shut) {
        connection->is_shut = true;
        stream_shutdown(&connection->stream);
        connection->settings->events->on_ending(connection);
    }
}

static void go_on_reading(struct connection *connection);

/* The queue is written: what was waiting for that goes on. */
static void after_writing(struct connection *connection)
{
    if (connection->input && !must_wait(connection)) {
        go_on_reading(connection);
    }
    if (connection->state == CONNECTION_LINGERING && outbox_is_empty(&connection->outbox)) {
        finish_lingering(connection);
    }
    update_reading(connection);
}

/* Writes once. Whether there may be more to write. */
static bool write_batch(struct connection *connection)
{
    const struct connection_events *events = connection->settings->events;
    struct connection_frame frames[CONNECTION_BATCH];
    struct outbox_batch batch;
    size_t offered = 0;
    uint32_t taken;
    ssize_t n;

    if (outbox_batch_begin(&batch, &connection->outbox) && connection->state == CONNECTION_OPEN) {
        offered = events->on_collect(connection, frames, CONNECTION_BATCH);
    }
    for (size_t i = 0; i < offered; i++) {
        outbox_batch_offer(&batch, frames[i].frame);
    }
    if (batch.count == 0) {
        return false;
    }
    n = stream_writev(&connection->stream, batch.vector, batch.count);
    if (n < 0) {
        connection_abort(connection);
        return false;
    }
    metric_add(connection->settings->metrics, METRIC_BYTES_SENT, (uint64_t)n);
    taken = outbox_settle(&connection->outbox, &batch, (size_t)n);
    for (uint32_t i = 0; i < taken; i++) {
        events->on_taken(connection, &frames[i]);
    }
    if ((size_t)n < batch.len) {
        connection->blocked = true;
        stream_want_write(&connection->stream);
    }
    return !connection->blocked;
}

void connection_flush(struct connection *connection)
{
    connection->flush_due = false;
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    while (!connection->blocked && write_batch(connection)) {
    }
    after_writing(connection);
}

static void on_writable(struct stream *stream)
{
    struct connection *connection = CONTAINER_OF(stream, struct connection, stream);

    connection->blocked = false;
    connection_flush(connection);
}

/* ── Closing ─────────────────────────────────────────────────────────────────────────────────── */

void connection_abort(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSED) {
        set_state(connection, CONNECTION_CLOSED);
        stream_close(&connection->stream);
    }
}

/* Sends what is queued, and reads no more. */
static void linger(struct connection *connection)
{
    set_state(connection, CONNECTION_LINGERING);
    connection_wake(connection);
}

static bool send_close(struct connection *connection, uint16_t code, const char *reason)
{
    struct bytes *frame = ws_frame_new_close(code, reason);

    connection->close_code = code;
    if (!frame || enqueue(connection, frame) < 0) {
        connection_abort(connection);
        return false;
    }
    return true;
}

void connection_close(struct connection *connection, enum close_code code)
{
    switch ((enum connection_state)connection->state) {
    case CONNECTION_OPEN:
        if (send_close(connection, (uint16_t)code, close_code_reason(code))) {
            set_state(connection, CONNECTION_CLOSING);
        }
        break;
    case CONNECTION_REQUEST:
        if (!outbox_is_empty(&connection->outbox)) {
            linger(connection);
        } else {
            connection_abort(connection);
        }
        break;
    case CONNECTION_ANSWERING:
        connection_abort(connection);
        break;
    case CONNECTION_CLOSING:
    case CONNECTION_LINGERING:
    case CONNECTION_CLOSED:
        break;
    }
}

/* The peer's frames can't be read any further. */
static void close_for_error(struct connection *connection, enum close_code code)
{
    if (connection->state == CONNECTION_CLOSING ||
        send_close(connection, (uint16_t)code, close_code_reason(code))) {
        linger(connection);
    }
}

/* The peer's close frame is answered with its own code, unless it answers ours. */
static void take_close(struct connection *connection, uint16_t code)
{
    if (connection->state == CONNECTION_OPEN) {
        const bool empty = code == 1005;

        if (!send_close(connection, empty ? CLOSE_NORMAL : code, "")) {
            return;
        }
        connection->close_code = code;
    }
    linger(connection);
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

static void refuse(struct connection *connection, int status, const char *why)
{
    struct text text = TEXT_EMPTY;

    http_response_write_error(
        &text, &(struct http_response){.status = status, .now = time(NULL), .close = true},
        "BAD_REQUEST", why);
    metric_add(connection->settings->metrics, metric_of_http_status((unsigned)status), 1);
    set_state(connection, CONNECTION_ANSWERING);
    connection_respond(connection, text_to_bytes(&text), true);
    text_deinit(&text);
}

/* How much was used. */
static size_t read_request(struct connection *connection, uint8_t *data, size_t len)
{
    size_t used = len;

    if (!connection->request) {
        connection->request = http_request_new();
        if (!connection->request) {
            connection_abort(connection);
            return len;
        }
        connection->settings->events->on_begun(connection);
    }
    switch (http_request_feed(connection->request, (const char *)data, len, &used)) {
    case 0:
        break;
    case HTTP_REQUEST_COMPLETE:
        set_state(connection, CONNECTION_ANSWERING);
        connection->settings->events->on_request(connection, connection->request);
        break;
    case HTTP_REQUEST_BAD:
        refuse(connection, 400, http_request_error(connection->request));
        break;
    case HTTP_REQUEST_TOO_LARGE:
        refuse(connection, 431, "the request line and headers are too long");
        break;
    case HTTP_REQUEST_BODY_TOO_LARGE:
        refuse(connection, 413, "the request's body is too long");
        break;
    default:
        connection_abort(connection);
    }
    return used;
}

static void take_event(struct connection *connection, const struct ws_event *event)
{
    switch (event->opcode) {
    case WS_PING:
        connection_send(connection, ws_frame_new(WS_PONG, event->payload, event->len));
        break;
    case WS_PONG:
        break; /* heard_ms says all that it says */
    case WS_CLOSE:
        take_close(connection, event->close_code);
        break;
    default:
        if (connection->state == CONNECTION_OPEN) {
            connection->settings->events->on_message(connection, event->opcode, event->payload,
                                                     event->len);
        }
    }
}

static void frames_failed(struct connection *connection, int result)
{
    switch (result) {
    case WS_PROTOCOL_ERROR:
        close_for_error(connection, CLOSE_PROTOCOL_ERROR);
        break;
    case WS_INVALID_UTF8:
        close_for_error(connection, CLOSE_INVALID_DATA);
        break;
    case WS_TOO_BIG:
        close_for_error(connection, CLOSE_TOO_BIG);
        break;
    default:
        close_for_error(connection, CLOSE_INTERNAL_ERROR);
    }
}

static bool reads_frames(const struct connection *connection)
{
    return connection->state == CONNECTION_OPEN || connection->state == CONNECTION_CLOSING;
}

/* Reads until what follows has to wait; else all there is, up to the last call with nothing left,
 * which frees what the last event lay in. How much was used. */
static size_t read_frames(struct connection *connection, uint8_t *data, size_t len)
{
    const size_t all = len;
    int r = WS_EVENT;

    while (r == WS_EVENT && reads_frames(connection) && !(len > 0 && must_wait(connection))) {
        struct ws_event event;
        size_t used = 0;

        r = ws_parser_feed(&connection->parser, data, len, &used, &event);
        if (r == WS_EVENT) {
            data += used;
            len -= used;
            take_event(connection, &event);
        } else if (r != 0) {
            frames_failed(connection, r);
        }
    }
    return r == WS_EVENT && reads_frames(connection) ? all - len : all;
}

/* Keeps what has to wait: all of it, since it came by one read. */
static void keep_input(struct connection *connection, const uint8_t *data, size_t len)
{
    connection->input = bytes_copy(data, (uint32_t)len);
    if (!connection->input) {
        connection_abort(connection);
    }
}

static void take_input(struct connection *connection, uint8_t *data, size_t len)
{
    connection->is_reading = true;
    while (len > 0) {
        size_t used = len; /* LINGERING, CLOSED: dropped */

        if (must_wait(connection)) {
            keep_input(connection, data, len);
        } else if (connection->state == CONNECTION_REQUEST) {
            used = read_request(connection, data, len);
        } else if (reads_frames(connection)) {
            used = read_frames(connection, data, len);
        }
        data += used;
        len -= used;
    }
    connection->is_reading = false;
    update_reading(connection);
}

/* The peer has sent all it will. What it asked for is still to be answered; half a request is none.
 */
static void take_end(struct connection *connection)
{
    const bool has_output = !outbox_is_empty(&connection->outbox);

    connection->peer_ended = true;
    if (connection->state == CONNECTION_REQUEST && !connection->request && has_output) {
        linger(connection);
    } else if (connection->state == CONNECTION_CLOSING && has_output) {
        linger(connection);
    } else if (connection->state != CONNECTION_LINGERING || !has_output) {
        connection_abort(connection);
    }
    update_reading(connection);
}

static void on_readable(struct stream *stream)
{
    struct connection *connection = CONTAINER_OF(stream, struct connection, stream);
    uint8_t *data;
    ssize_t n = stream_read(stream, &data);

    if (n == UV_EOF) {
        take_end(connection);
    } else if (n < 0) {
        connection_abort(connection);
    } else if (n > 0) {
        metric_add(connection->settings->metrics, METRIC_BYTES_RECEIVED, (uint64_t)n);
        connection->heard_ms = uv_now(connection->settings->loop);
        take_input(connection, data, (size_t)n);
    }
}

void connection_pause(struct connection *connection)
{
    connection->is_paused = true;
    update_reading(connection);
}

void connection_resume(struct connection *connection)
{
    connection->is_paused = false;
    connection->heard_ms = uv_now(connection->settings->loop);
    if (!must_wait(connection)) {
        go_on_reading(connection);
    }
}

/* ── Answering ───────────────────────────────────────────────────────────────────────────────── */

/* Goes on with what came behind the request, when the answer came later than the request's call. */
static void go_on_reading(struct connection *connection)
{
    struct bytes *input = TAKE(connection->input);

    if (!connection->is_reading) {
        if (input) {
            take_input(connection, input->data, input->len);
        }
        update_reading(connection);
    }
    bytes_unref(input);
}

/* The request is over; the response is queued. False when the connection is over, perhaps since
 * before the answer came. */
static bool answer(struct connection *connection, struct bytes *head, struct bytes *body)
{
    if (connection->state == CONNECTION_CLOSED) {
        bytes_unref(head);
        bytes_unref(body);
        return false;
    }
    assert(connection->state == CONNECTION_ANSWERING);
    http_request_free(TAKE(connection->request));
    if (!head || enqueue(connection, head) < 0) {
        bytes_unref(body);
        connection_abort(connection);
        return false;
    }
    if (body && body->len == 0) {
        bytes_unref(body); /* whatever is queued must come to be written */
    } else if (body && enqueue(connection, body) < 0) {
        connection_abort(connection);
        return false;
    }
    return true;
}

void connection_respond(struct connection *connection, struct bytes *response, bool close)
{
    connection_respond_shared(connection, response, NULL, close);
}

void connection_respond_shared(struct connection *connection, struct bytes *head,
                               struct bytes *body, bool close)
{
    if (!answer(connection, head, body)) {
        return;
    }
    if (close || connection->is_last) {
        linger(connection);
    } else {
        set_state(connection, CONNECTION_REQUEST);
    }
    go_on_reading(connection);
}

void connection_upgrade(struct connection *connection, struct bytes *response)
{
    if (!answer(connection, response, NULL)) {
        return;
    }
    ws_parser_init(&connection->parser, WS_PEER_CLIENT, connection->settings->max_message);
    connection->is_websocket = true;
    set_state(connection, CONNECTION_OPEN);
    go_on_reading(connection);
}

bool connection_is_idle(const struct connection *connection)
{
    return connection->state == CONNECTION_REQUEST && !connection->request && !connection->input &&
           outbox_is_empty(&connection->outbox);
}

void connection_finish(struct connection *connection, bool await_first)
{
    if (connection->state != CONNECTION_REQUEST && connection->state != CONNECTION_ANSWERING) {
        return;
    }
    connection->is_last = true;
    if (connection->state == CONNECTION_REQUEST && !connection->input) {
        on_readable(&connection->stream);
    }
    if (connection->state == CONNECTION_REQUEST && !connection->input && !connection->request &&
        !await_first) {
        connection_close(connection, CLOSE_GOING_AWAY);
    }
}

/* ── Opening, and the end ────────────────────────────────────────────────────────────────────── */

static void on_stream_closed(struct stream *stream)
{
    struct connection *connection = CONTAINER_OF(stream, struct connection, stream);

    if (connection->is_websocket) {
        ws_parser_deinit(&connection->parser);
        /* 1006: no close frame was exchanged (RFC 6455, 7.1.5) */
        metric_add(connection->settings->metrics,
                   metric_of_close_code(connection->close_code ? connection->close_code : 1006), 1);
    } else {
        http_request_free(connection->request);
    }
    outbox_deinit(&connection->outbox);
    bytes_unref(connection->input);
    connection->settings->events->on_closed(connection);
}

static const struct stream_events stream_events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_closed = on_stream_closed,
};

int connection_open(struct connection *connection, int fd,
                    const struct connection_settings *settings)
{
    int r;

    memset(connection, 0, sizeof(*connection));
    r = stream_open(&connection->stream, settings->loop, fd, &stream_events);
    if (r < 0) {
        return r;
    }
    connection->stream.read_max = CONNECTION_READ_MAX;
    connection->settings = settings;
    connection->heard_ms = uv_now(settings->loop);
    update_reading(connection);
    return 0;
}
