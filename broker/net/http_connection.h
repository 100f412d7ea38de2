/* A client that speaks HTTP/1.1: one request after the other, until it ends or becomes a WebSocket.
 *
 * Receives   an accepted socket; input, from its channel; answers
 * Hands on   whole requests to the owner; responses to the channel
 * Owns       the channel, and the request that is being read or answered
 *
 * States
 *   HTTP_CONNECTION_READING    reads a request, or waits for one     -> ANSWERING, OVER
 *   HTTP_CONNECTION_ANSWERING  on_request came; the channel is paused -> READING, OVER
 *   HTTP_CONNECTION_OVER       no further request is read: the channel ends, or the protocol is
 *                              another
 *
 * A peer that has sent all it will (a half-closed socket) still gets its answers, and is closed
 * when they are sent.
 */
#ifndef PROGRESSD_BROKER_NET_HTTP_CONNECTION_H
#define PROGRESSD_BROKER_NET_HTTP_CONNECTION_H

#include "broker/net/channel.h"
#include "proto/http_request.h"

struct http_connection;

struct http_connection_events {
    /* A request begins to come. */
    void (*on_begun)(struct http_connection *http);
    /* A whole request: answer it by one of the calls below, now or later. It stays valid until
     * then. */
    void (*on_request)(struct http_connection *http, const struct http_request *request);
};

#define HTTP_CONNECTION_STATES(X)                                           \
    X(HTTP_CONNECTION_READING, "reading",                                   \
      STATE_TO(HTTP_CONNECTION_ANSWERING) | STATE_TO(HTTP_CONNECTION_OVER)) \
    X(HTTP_CONNECTION_ANSWERING, "answering",                               \
      STATE_TO(HTTP_CONNECTION_READING) | STATE_TO(HTTP_CONNECTION_OVER))   \
    X(HTTP_CONNECTION_OVER, "over", 0)
enum http_connection_state { HTTP_CONNECTION_STATES(STATE_ENUM) };
extern const struct state_machine http_connection_machine;

struct http_connection {
    struct channel channel;
    struct http_request *request; /* being read or answered; NULL between requests */
    uint8_t state;                /* enum http_connection_state */
    bool is_last;                 /* http_connection_finish(): no request follows this one */
};

/* Takes over an accepted socket, also on failure. `settings` must outlive the connection. 0, or a
 * UV_E* when nothing was opened and no event comes. */
int http_connection_open(struct http_connection *http, int fd,
                         const struct channel_settings *settings) MUST_CHECK;

/* Answers the request of on_request with a whole response, whose reference it takes over; NULL
 * closes the connection. `close`: and no further request. When the channel was closed meanwhile,
 * but on_closed hasn't come yet, the answer is dropped. The same holds for the next two. */
void http_connection_respond(struct http_connection *http, struct bytes *response, bool close);

/* The same for a response in two parts, of which others may be sent the body too. Takes over both
 * references. A body of NULL: there is none. */
void http_connection_respond_shared(struct http_connection *http, struct bytes *head,
                                    struct bytes *body, bool close);

/* The same with 101: this is over, and ws_connection_begin() must follow, in its place. */
void http_connection_upgrade(struct http_connection *http, struct bytes *response);

/* Whether no request is under way or has begun, and all answers are sent. */
bool http_connection_is_idle(const struct http_connection *http);

/* The request that is under way, or has come but wasn't read yet, is the last one. With none the
 * connection closes; or, if `await_first`, waits for one, until the owner closes it. */
void http_connection_finish(struct http_connection *http, bool await_first);

/* Reads no further request: closes, after answers that wait. A request under way gets none. */
void http_connection_close(struct http_connection *http);

#endif
