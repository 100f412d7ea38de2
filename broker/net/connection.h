/* A client's connection: HTTP/1.1 requests, and after an upgrade WebSocket, until it closes.
 *
 * Receives   an accepted socket (session.c); answers and frames (session.c, poller.c)
 * Hands on   on_request, on_message and the rest, by the table of events
 * Owns       the stream, the request being read, the parser, the outbox
 *
 * Output. Answers and frames meant for this client alone wait in a short queue. Frames of tasks do
 * not: when the socket takes bytes, at a loop turn's end, the connection asks for them (on_collect)
 * and says which it took (on_taken). What is written of a frame is finished first; so a slow client
 * holds one half-written frame at the most, and gets what is newest when it reads on.
 *
 * Input. While a request is being answered, while the queue is full (outbox_is_full()), and while
 * the owner has paused the connection, nothing is taken from the client: TCP makes it wait. What
 * was read already is kept, CONNECTION_READ_MAX bytes at the most. So one client makes the worker
 * hold that, a queue just over its bound, and what its last request or message was answered,
 * however many it sends at once.
 *
 * A peer that has sent all it will (a half-closed socket) still gets its answers, and is closed
 * when they are sent. As a WebSocket it is gone, since it left without a close frame.
 *
 * States
 *   CONNECTION_REQUEST    reads a request, or waits for one         -> ANSWERING, LINGERING
 *   CONNECTION_ANSWERING  on_request came; no reading               -> REQUEST, OPEN, LINGERING
 *   CONNECTION_OPEN       WebSocket                                -> CLOSING
 *   CONNECTION_CLOSING    a close frame is queued or sent; waits for the peer's, reading on
 *                                                                  -> LINGERING
 *   CONNECTION_LINGERING  the last bytes are being sent, then the peer's end is awaited; what comes
 *                         is dropped, since closing a socket with unread bytes would cut off what
 *                         was sent                                -> CLOSED
 *   CONNECTION_CLOSED     the stream is closing; on_closed comes (from any)
 */
#ifndef PROGRESSD_BROKER_NET_CONNECTION_H
#define PROGRESSD_BROKER_NET_CONNECTION_H

#include "broker/net/outbox.h"
#include "broker/net/stream.h"
#include "common/bytes.h"
#include "common/metrics.h"
#include "proto/http_request.h"
#include "proto/message_tables.h"
#include "proto/ws_frame.h"

struct connection;

/* A frame that the owner offers, borrowed; the context comes back with on_taken. */
struct connection_frame {
    struct bytes *frame;
    void *context;
    uint64_t n;
};

/* Bytes that are read at once, and so all that may be kept until there is room for answers. */
#define CONNECTION_READ_MAX 16384

/* Most frames that are written at once. */
#define CONNECTION_BATCH OUTBOX_BATCH

struct connection_events {
    /* A request begins to come. */
    void (*on_begun)(struct connection *connection);
    /* A whole request: answer it by connection_respond() or connection_upgrade(), now or later. It
     * stays valid until then. */
    void (*on_request)(struct connection *connection, const struct http_request *request);
    /* A whole WebSocket message; the payload is valid during the call. Text is valid UTF-8. */
    void (*on_message)(struct connection *connection, enum ws_opcode opcode, const uint8_t *payload,
                       uint32_t len);
    /* Room for at most `max` (>= TASK_MESSAGE_TYPES) frames: fills in those that are due, in order.
     * How many. */
    size_t (*on_collect)(struct connection *connection, struct connection_frame *frames,
                         size_t max);
    /* A frame of the last on_collect was written, or begun. */
    void (*on_taken)(struct connection *connection, const struct connection_frame *frame);
    /* There is something to write: see to it that connection_flush() is called at the turn's end.
     * Comes at most once until then. */
    void (*on_flush_due)(struct connection *connection);
    /* CLOSING or LINGERING begins: see to it that connection_abort() ends it if on_closed takes too
     * long. Comes again when all is sent, and only the peer's end is awaited. */
    void (*on_ending)(struct connection *connection);
    /* The connection is over, and its memory may go. */
    void (*on_closed)(struct connection *connection);
};

/* What all connections of a process share. Borrowed. */
struct connection_settings {
    uv_loop_t *loop;
    struct metrics_slot *metrics;
    uint32_t max_message; /* bytes of a WebSocket message */
    const struct connection_events *events;
};

enum connection_state {
    CONNECTION_REQUEST,
    CONNECTION_ANSWERING,
    CONNECTION_OPEN,
    CONNECTION_CLOSING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSED,
};

struct connection {
    struct stream stream;
    const struct connection_settings *settings;
    union {
        struct http_request *request; /* REQUEST, ANSWERING; NULL between requests */
        struct ws_parser parser;      /* from OPEN on */
    };
    struct outbox outbox;
    struct bytes *input; /* read, but not looked at yet; NULL: none */
    uint16_t close_code; /* what the connection was closed with; 0: none */
    uint64_t heard_ms;   /* when the last bytes came, by uv_now() */
    uint8_t state;       /* enum connection_state */
    bool is_websocket;   /* the handshake succeeded */
    bool flush_due;      /* on_flush_due came, connection_flush() has not */
    bool blocked;        /* the socket takes nothing now */
    bool is_paused;      /* the owner takes no further request or message for now */
    bool is_reading;     /* within take_input(), which goes on by itself */
    bool is_shut;        /* LINGERING: all is sent, and the peer was told so */
    bool is_last;        /* connection_finish(): no request follows the one under way */
    bool peer_ended;     /* the peer sends nothing more */
};

/* Takes over an accepted socket, also on failure. `settings` must outlive the connection. 0, or a
 * UV_E* when nothing was opened and no event comes. */
int connection_open(struct connection *connection, int fd,
                    const struct connection_settings *settings) MUST_CHECK;

/* Answers the request of on_request with a whole response, whose reference it takes over; NULL
 * closes the connection. `close`: and no further request. When the connection was closed meanwhile,
 * but on_closed hasn't come yet, the answer is dropped. The same holds for connection_upgrade(). */
void connection_respond(struct connection *connection, struct bytes *response, bool close);

/* The same for a response in two parts, of which others may be sent the body too. Takes over both
 * references. A body of NULL: there is none. */
void connection_respond_shared(struct connection *connection, struct bytes *head,
                               struct bytes *body, bool close);

/* Answers it with 101: WebSocket from here on. */
void connection_upgrade(struct connection *connection, struct bytes *response);

/* Queues a frame for this client alone. Takes the reference over; NULL closes the connection
 * (1011), since it stands for a frame that no memory was left for. */
void connection_send(struct connection *connection, struct bytes *frame);

/* Frames of tasks are due: on_collect will be called. Cheap, may be called any number of times. */
void connection_wake(struct connection *connection);

/* No further request or message is handed on until connection_resume(): what the client has sent
 * stays in its socket, but for the rest of one read. May be called from within on_request and
 * on_message. Closing goes on as ever. */
void connection_pause(struct connection *connection);

/* Goes on; messages may come before this returns. The silence of a client that wasn't listened to
 * begins anew. */
void connection_resume(struct connection *connection);

/* Writes what is due. The owner calls it at the end of the loop turn in which on_flush_due came. */
void connection_flush(struct connection *connection);

/* Whether no request is under way or has begun, and all answers are sent. */
bool connection_is_idle(const struct connection *connection);

/* HTTP: the request that is under way, or has come but wasn't read yet, is the last one. With none
 * the connection closes; or, if `await_first`, waits for one, until the owner closes it. A
 * WebSocket isn't touched. */
void connection_finish(struct connection *connection, bool await_first);

/* Begins to close: a WebSocket with a close frame, which is sent after what is queued; anything
 * else at once. The owner calls connection_abort() if on_closed takes too long. */
void connection_close(struct connection *connection, enum close_code code);

/* Closes without a further word. */
void connection_abort(struct connection *connection);

#endif
