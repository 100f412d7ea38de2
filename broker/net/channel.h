/* The bytes of one client, both ways, in order and bounded: what HTTP and WebSocket stand on.
 *
 * Receives   an accepted socket; bytes for this client alone, by channel_put()
 * Hands on   input to the protocol that speaks now; output to the stream, at the turn's end; to the
 *            owner, that an end begins, and that it is over
 * Owns       the stream, the outbox, and input that has to wait
 *
 * Output. What is for this client alone waits in a short queue. Frames of tasks do not: when the
 * socket takes bytes, at a loop turn's end, the channel asks for them (on_collect) and says which
 * it took (on_taken). What is written of a frame is finished first; so a slow client holds one
 * half-written frame at the most, and gets what is newest when it reads on.
 *
 * Input. While the queue is full (outbox_is_full()), and while the channel is paused, nothing is
 * taken from the client: TCP makes it wait. What was read already is kept, CHANNEL_READ_MAX bytes
 * at the most. So one client makes the worker hold that, a queue just over its bound, and what its
 * last request or message was answered, however many it sends at once.
 *
 * States
 *   CHANNEL_OPEN       both ways                                     -> LINGERING
 *   CHANNEL_LINGERING  the last bytes are being sent. What comes is dropped, since closing a socket
 *                      with unread bytes would cut off what was sent -> SHUT
 *   CHANNEL_SHUT       all is sent, and the peer was told; its end is awaited
 *   CHANNEL_CLOSED     the stream is closing; on_closed comes (from any)
 * A peer that has sent all it will has no end to await: from LINGERING the channel closes.
 */
#ifndef PROGRESSD_BROKER_NET_CHANNEL_H
#define PROGRESSD_BROKER_NET_CHANNEL_H

#include "broker/loop/loop.h"
#include "broker/net/outbox.h"
#include "broker/net/stream.h"
#include "common/bytes.h"
#include "common/metrics.h"
#include "common/state.h"

struct channel;
struct http_connection_events;
struct ws_connection_events;

/* A frame that the owner offers, borrowed; the context comes back with on_taken. */
struct channel_frame {
    struct bytes *frame;
    void *context;
    uint64_t n;
};

/* Bytes that are read at once, and so all that may be kept until there is room for answers. */
#define CHANNEL_READ_MAX 16384

/* Most frames that are written at once. */
#define CHANNEL_BATCH OUTBOX_BATCH

/* What speaks over the channel: http_connection, then perhaps ws_connection. */
struct channel_protocol {
    /* Bytes came. How many were used: the rest is kept, and comes again when the channel has room
     * and is not paused. Called only then, and never from within itself. */
    size_t (*on_input)(struct channel *channel, uint8_t *data, size_t len);
    /* Nothing more will come, in CHANNEL_OPEN: ends or aborts the channel. */
    void (*on_peer_ended)(struct channel *channel);
    /* Frees what the protocol has. */
    void (*on_closed)(struct channel *channel);
};

/* What the owner hears, whatever is spoken. */
struct channel_events {
    /* Room for at most `max` (>= TASK_MESSAGE_TYPES) frames: fills in those that are due, in order.
     * How many. */
    size_t (*on_collect)(struct channel *channel, struct channel_frame *frames, size_t max);
    /* A frame of the last on_collect was written, or begun. */
    void (*on_taken)(struct channel *channel, const struct channel_frame *frame);
    /* An end begins: see to it that channel_abort() ends it if on_closed takes too long. Comes
     * again when its next step begins: a close frame is sent, the last bytes are, all is sent. */
    void (*on_ending)(struct channel *channel);
    /* The channel is over, and its memory may go. */
    void (*on_closed)(struct channel *channel);
};

/* What all clients of a process share. Borrowed. */
struct channel_settings {
    struct loop *loop;
    struct metrics_slot *metrics;
    const struct channel_events *events;
    const struct http_connection_events *http_events;
    const struct ws_connection_events *ws_events; /* NULL: nobody is upgraded */
    uint32_t max_message;                         /* bytes of a WebSocket message */
};

#define CHANNEL_STATES(X)                                                                \
    X(CHANNEL_OPEN, "open", STATE_TO(CHANNEL_LINGERING) | STATE_TO(CHANNEL_CLOSED))      \
    X(CHANNEL_LINGERING, "lingering", STATE_TO(CHANNEL_SHUT) | STATE_TO(CHANNEL_CLOSED)) \
    X(CHANNEL_SHUT, "shut", STATE_TO(CHANNEL_CLOSED))                                    \
    X(CHANNEL_CLOSED, "closed", 0)
enum channel_state { CHANNEL_STATES(STATE_ENUM) };
extern const struct state_machine channel_machine;

struct channel {
    struct stream stream;
    const struct channel_settings *settings;
    const struct channel_protocol *protocol;
    struct loop_due flush; /* the turn's end, when there is something to write */
    struct outbox outbox;
    struct bytes *input; /* read, but not looked at yet; NULL: none */
    uint64_t heard_ms;   /* when the last bytes came, by uv_now() */
    uint8_t state;       /* enum channel_state */
    bool blocked;        /* the stream takes nothing now */
    bool is_paused;      /* channel_pause() */
    bool takes_frames;   /* on_collect may be called; set by the protocol */
    bool is_reading;     /* within on_input, behind which input goes on by itself */
    bool peer_ended;     /* the peer sends nothing more */
};

/* Takes over an accepted socket, also on failure. `settings` must outlive the channel. 0, or a
 * UV_E* when nothing was opened and no event comes. */
int channel_open(struct channel *channel, int fd, const struct channel_settings *settings,
                 const struct channel_protocol *protocol) MUST_CHECK;

/* ── For the protocol ── */

/* Queues bytes for this client alone, taking the reference over. 0 or -ENOMEM. */
int channel_put(struct channel *channel, struct bytes *bytes) MUST_CHECK;

/* The same for what only its newest counts of: with `room` or more waiting, or a client that
 * doesn't read, it takes the place of bytes that were put last, if `is_same` says they are such. */
int channel_put_newest(struct channel *channel, struct bytes *bytes, uint32_t room,
                       bool (*is_same)(const struct bytes *bytes)) MUST_CHECK;

/* Whether all that was put has been written, and is out. */
bool channel_is_drained(const struct channel *channel);

/* Whether what the client says next has to wait. */
bool channel_must_wait(const struct channel *channel);

/* Looks for input now, instead of when the loop says so. */
void channel_read(struct channel *channel);

/* Sends what is queued, and takes nothing more. Only while CHANNEL_OPEN. */
void channel_end(struct channel *channel);

/* ── For the protocol and the owner ── */

/* Hands no input on until channel_resume(): what the client has sent stays in its socket, but for
 * the rest of one read. */
void channel_pause(struct channel *channel);

/* Goes on; input may be handed on before this returns, unless it is within on_input. The silence of
 * a client that wasn't listened to begins anew. */
void channel_resume(struct channel *channel);

/* Frames of tasks are due: on_collect will be called. Cheap, may be called any number of times. */
void channel_wake(struct channel *channel);

/* Closes without a further word. May be called twice. */
void channel_abort(struct channel *channel);

#endif
