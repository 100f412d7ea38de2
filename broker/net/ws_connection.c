#include "broker/net/ws_connection.h"

#include "common/mem.h"

#define MODULE "ws_connection"

/* With so many waiting pongs replace each other: well below what outbox_is_full() says. */
#define PONGS_MAX (CHANNEL_BATCH / 4)

STATE_MACHINE(ws_connection_machine, MODULE, WS_CONNECTION_STATES);

static struct ws_connection *ws_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct ws_connection, channel);
}

/* The only writer of the state. */
static void ws_set_state(struct ws_connection *ws, enum ws_connection_state state)
{
    state_move(&ws_connection_machine, &ws->state, state, NULL, 0);
    ws->channel.takes_frames = false; /* nothing follows a close frame */
    if (state == WS_CONNECTION_CLOSING) {
        ws->channel.settings->events->on_ending(&ws->channel);
    } else if (state == WS_CONNECTION_OVER) {
        channel_end(&ws->channel);
    }
}

static bool reads_frames(const struct ws_connection *ws)
{
    return ws->channel.state == CHANNEL_OPEN && ws->state != WS_CONNECTION_OVER;
}

/* ── Sending ─────────────────────────────────────────────────────────────────────────────────── */

/* What isn't a frame is never taken for one: pongs stand behind the handshake's response. */
static bool is_pong(const struct bytes *bytes)
{
    return bytes->len > 0 && bytes->data[0] == (0x80 | WS_PONG);
}

/* Of pongs that a client lets pile up only the newest is kept (RFC 6455, 5.5.3). */
static int put_frame(struct ws_connection *ws, struct bytes *frame)
{
    return is_pong(frame) ? channel_put_newest(&ws->channel, frame, PONGS_MAX, is_pong)
                          : channel_put(&ws->channel, frame);
}

void ws_connection_send(struct ws_connection *ws, struct bytes *frame)
{
    if (ws->state != WS_CONNECTION_OPEN || ws->channel.state != CHANNEL_OPEN) {
        bytes_unref(frame);
    } else if (!frame || put_frame(ws, frame) < 0) {
        ws->close_code = CLOSE_INTERNAL_ERROR;
        channel_abort(&ws->channel);
    }
}

/* ── Closing ─────────────────────────────────────────────────────────────────────────────────── */

/* False: no memory, and the channel is over. */
static bool send_close(struct ws_connection *ws, uint16_t code, const char *reason)
{
    struct bytes *frame = ws_frame_new_close(code, reason);

    ws->close_code = code;
    if (!frame || channel_put(&ws->channel, frame) < 0) {
        channel_abort(&ws->channel);
        return false;
    }
    return true;
}

void ws_connection_close(struct ws_connection *ws, enum close_code code)
{
    if (ws->state == WS_CONNECTION_OPEN && ws->channel.state == CHANNEL_OPEN &&
        send_close(ws, (uint16_t)code, close_code_reason(code))) {
        ws_set_state(ws, WS_CONNECTION_CLOSING);
        channel_resume(&ws->channel); /* to hear the peer's close frame */
    }
}

/* The peer's frames can't be read any further. */
static void close_for_error(struct ws_connection *ws, enum close_code code)
{
    if (ws->state == WS_CONNECTION_CLOSING ||
        send_close(ws, (uint16_t)code, close_code_reason(code))) {
        ws_set_state(ws, WS_CONNECTION_OVER);
    }
}

/* The peer's close frame is answered with its own code, unless it answers ours. */
static void take_close(struct ws_connection *ws, uint16_t code)
{
    if (ws->state == WS_CONNECTION_OPEN) {
        const bool empty = code == 1005;

        if (!send_close(ws, empty ? CLOSE_NORMAL : code, "")) {
            return;
        }
        ws->close_code = code;
    }
    ws_set_state(ws, WS_CONNECTION_OVER);
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

static void take_event(struct ws_connection *ws, const struct ws_event *event)
{
    switch (event->opcode) {
    case WS_PING:
        ws_connection_send(ws, ws_frame_new(WS_PONG, event->payload, event->len));
        break;
    case WS_PONG:
        break; /* heard_ms says all that it says */
    case WS_CLOSE:
        take_close(ws, event->close_code);
        break;
    default:
        if (ws->state == WS_CONNECTION_OPEN) {
            ws->channel.settings->ws_events->on_message(ws, event->opcode, event->payload,
                                                        event->len);
        }
    }
}

static enum close_code close_code_of(int outcome)
{
    switch (outcome) {
    case WS_PROTOCOL_ERROR:
        return CLOSE_PROTOCOL_ERROR;
    case WS_INVALID_UTF8:
        return CLOSE_INVALID_DATA;
    case WS_TOO_BIG:
        return CLOSE_TOO_BIG;
    default:
        return CLOSE_INTERNAL_ERROR;
    }
}

/* Reads until what follows has to wait; else all there is, up to the last call with nothing left,
 * which frees what the last event lay in. */
static size_t ws_on_input(struct channel *channel, uint8_t *data, size_t len)
{
    struct ws_connection *ws = ws_of(channel);
    const size_t all = len;
    int rc = WS_EVENT;

    while (rc == WS_EVENT && reads_frames(ws) && !(len > 0 && channel_must_wait(channel))) {
        struct ws_event event;
        size_t used = 0;

        rc = ws_parser_feed(&ws->parser, data, len, &used, &event);
        if (rc == WS_EVENT) {
            data += used;
            len -= used;
            take_event(ws, &event);
        } else if (rc != 0) {
            close_for_error(ws, close_code_of(rc));
        }
    }
    return rc == WS_EVENT && reads_frames(ws) ? all - len : all;
}

/* ── Beginning and end ───────────────────────────────────────────────────────────────────────── */

static void ws_on_peer_ended(struct channel *channel)
{
    struct ws_connection *ws = ws_of(channel);

    if (ws->state == WS_CONNECTION_CLOSING && !channel_is_drained(channel)) {
        ws_set_state(ws, WS_CONNECTION_OVER);
    } else {
        channel_abort(channel);
    }
}

static void ws_on_closed(struct channel *channel)
{
    struct ws_connection *ws = ws_of(channel);

    ws_parser_deinit(&ws->parser);
    /* 1006: no close frame was exchanged (RFC 6455, 7.1.5) */
    metric_add(channel->settings->metrics,
               metric_of_close_code(ws->close_code ? ws->close_code : 1006), 1);
}

static const struct channel_protocol ws_protocol = {
    .on_input = ws_on_input,
    .on_peer_ended = ws_on_peer_ended,
    .on_closed = ws_on_closed,
};

void ws_connection_begin(struct ws_connection *ws)
{
    struct channel *channel = &ws->channel;

    ws_parser_init(&ws->parser, WS_PEER_CLIENT, channel->settings->max_message);
    ws->close_code = 0;
    ws->state = WS_CONNECTION_OPEN;
    channel->protocol = &ws_protocol;
    channel->takes_frames = true;
    channel_resume(channel);
}
