#include "broker/net/http_connection.h"

#include <errno.h>
#include <time.h>

#include "common/mem.h"
#include "proto/http_response.h"

#define MODULE "http_connection"

STATE_MACHINE(http_connection_machine, MODULE, HTTP_CONNECTION_STATES);

static struct http_connection *http_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct http_connection, channel);
}

static const struct http_connection_events *events_of(const struct http_connection *http)
{
    return http->channel.settings->http_events;
}

/* The only writer of the state. While a request is answered nothing else is read. */
static void http_set_state(struct http_connection *http, enum http_connection_state state)
{
    state_move(&http_connection_machine, &http->state, state, NULL, 0);
    if (state == HTTP_CONNECTION_ANSWERING) {
        channel_pause(&http->channel);
    }
}

/* Sends what is queued, and reads no more. */
static void http_end(struct http_connection *http)
{
    http_set_state(http, HTTP_CONNECTION_OVER);
    channel_end(&http->channel);
}

/* ── Answering ───────────────────────────────────────────────────────────────────────────────── */

/* Puts the response's parts, taking both references over. 0 or -ENOMEM. */
static int put_response(struct http_connection *http, struct bytes *head, struct bytes *body)
{
    int rc = head ? channel_put(&http->channel, head) : -ENOMEM;

    if (rc < 0 || !body || body->len == 0) {
        bytes_unref(body); /* whatever is queued must come to be written */
        return rc;
    }
    return channel_put(&http->channel, body);
}

/* The request is over; the response is queued. False when the channel is over, perhaps since before
 * the answer came. */
static bool answer(struct http_connection *http, struct bytes *head, struct bytes *body)
{
    if (http->channel.state == CHANNEL_CLOSED) {
        bytes_unref(head);
        bytes_unref(body);
        return false;
    }
    assert(http->state == HTTP_CONNECTION_ANSWERING);
    http_request_free(TAKE(http->request));
    if (put_response(http, head, body) < 0) {
        channel_abort(&http->channel);
        return false;
    }
    return true;
}

void http_connection_respond(struct http_connection *http, struct bytes *response, bool close)
{
    http_connection_respond_shared(http, response, NULL, close);
}

void http_connection_respond_shared(struct http_connection *http, struct bytes *head,
                                    struct bytes *body, bool close)
{
    if (!answer(http, head, body)) {
        return;
    }
    if (close || http->is_last) {
        http_end(http);
    } else {
        http_set_state(http, HTTP_CONNECTION_READING);
        channel_resume(&http->channel);
    }
}

void http_connection_upgrade(struct http_connection *http, struct bytes *response)
{
    if (answer(http, response, NULL)) {
        http_set_state(http, HTTP_CONNECTION_OVER);
    } else {
        http_request_free(TAKE(http->request));
    }
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

static void http_refuse(struct http_connection *http, int status, const char *why)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;

    http_response_write_error(
        &text, &(struct http_response){.status = status, .now = time(NULL), .close = true},
        "BAD_REQUEST", why);
    metric_add(http->channel.settings->metrics, metric_of_http_status((unsigned)status), 1);
    http_set_state(http, HTTP_CONNECTION_ANSWERING);
    http_connection_respond(http, text_to_bytes(&text), true);
}

/* There is memory for a request from here on. False: there is none, and the channel is over. */
static bool begin_request(struct http_connection *http)
{
    if (!http->request) {
        http->request = http_request_new();
        if (!http->request) {
            channel_abort(&http->channel);
            return false;
        }
        events_of(http)->on_begun(http);
    }
    return true;
}

static size_t http_on_input(struct channel *channel, uint8_t *data, size_t len)
{
    struct http_connection *http = http_of(channel);
    size_t used = len;

    if (!begin_request(http)) {
        return len;
    }
    switch (http_request_feed(http->request, (const char *)data, len, &used)) {
    case 0:
        break;
    case HTTP_REQUEST_COMPLETE:
        http_set_state(http, HTTP_CONNECTION_ANSWERING);
        events_of(http)->on_request(http, http->request);
        break;
    case HTTP_REQUEST_BAD:
        http_refuse(http, 400, http_request_error(http->request));
        break;
    case HTTP_REQUEST_TOO_LARGE:
        http_refuse(http, 431, "the request line and headers are too long");
        break;
    case HTTP_REQUEST_BODY_TOO_LARGE:
        http_refuse(http, 413, "the request's body is too long");
        break;
    default:
        channel_abort(channel);
    }
    return used;
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

/* Half a request is none. (While one is answered nothing is read, not even the end.) */
static void http_on_peer_ended(struct channel *channel)
{
    struct http_connection *http = http_of(channel);

    if (http->request || channel_is_drained(channel)) {
        channel_abort(channel);
    } else {
        http_end(http);
    }
}

static void http_on_closed(struct channel *channel)
{
    http_request_free(TAKE(http_of(channel)->request));
}

static const struct channel_protocol http_protocol = {
    .on_input = http_on_input,
    .on_peer_ended = http_on_peer_ended,
    .on_closed = http_on_closed,
};

bool http_connection_is_idle(const struct http_connection *http)
{
    return http->channel.state == CHANNEL_OPEN && http->state == HTTP_CONNECTION_READING &&
           !http->request && !http->channel.input && channel_is_drained(&http->channel);
}

/* Nothing of a request has come. */
static bool awaits_request(const struct http_connection *http)
{
    return http->channel.state == CHANNEL_OPEN && http->state == HTTP_CONNECTION_READING &&
           !http->request && !http->channel.input;
}

void http_connection_finish(struct http_connection *http, bool await_first)
{
    http->is_last = true;
    if (awaits_request(http)) {
        channel_read(&http->channel);
    }
    if (awaits_request(http) && !await_first) {
        http_connection_close(http);
    }
}

void http_connection_close(struct http_connection *http)
{
    if (http->channel.state != CHANNEL_OPEN) {
        return;
    }
    if (http->state == HTTP_CONNECTION_READING && !channel_is_drained(&http->channel)) {
        http_end(http);
    } else {
        channel_abort(&http->channel);
    }
}

int http_connection_open(struct http_connection *http, int fd,
                         const struct channel_settings *settings)
{
    http->request = NULL;
    http->state = HTTP_CONNECTION_READING;
    http->is_last = false;
    return channel_open(&http->channel, fd, settings, &http_protocol);
}
