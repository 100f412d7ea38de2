/* One connected socket on the loop: bytes in, bytes out. Nothing above knows the descriptor.
 *
 * Receives   a connected socket, or an address to connect to
 * Hands on   readiness, by the table of events; bytes, by stream_read()
 * Owns       the descriptor and its poll handle; one buffer for reading, shared by all streams
 *
 * Readiness instead of completion, since a slow client must cost no queue: the owner produces bytes
 * when the socket takes them, and keeps what it could not write.
 *
 * How bytes go over the socket is a transport, a table of operations; plain is one. Two things that
 * a plain socket doesn't do are part of the contract, since an encrypted one can't do without:
 *   - It takes bytes that the socket doesn't take yet: one record, sent again unchanged until it is
 *     through. stream_writev() counts them as written; stream_is_held() says that they aren't out.
 *     on_writable comes when they are.
 *   - It has bytes to read that the socket no longer shows. on_readable comes for those as well.
 *
 * Life
 *   1. stream_open() or stream_connect() succeeded: the stream is open.
 *   2. stream_close() may be called at any time, twice, from any event. No event but `closed`
 *      comes after it.
 *   3. `closed` comes once, from the loop, never within stream_close(); the memory may go then.
 */
#ifndef PROGRESSD_BROKER_NET_STREAM_H
#define PROGRESSD_BROKER_NET_STREAM_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <uv.h>

#include "common/result.h"

struct stream;

struct stream_events {
    /* stream_connect() is through: 0, or the error; the owner closes then. */
    void (*on_connected)(struct stream *stream, int status);
    /* There are bytes to read, or the end. Comes again as long as there are. */
    void (*on_readable)(struct stream *stream);
    /* The socket takes bytes again, and nothing is held. Comes once for each stream_want_write().
     */
    void (*on_writable)(struct stream *stream);
    /* While nothing was read the connection broke. NULL: it shows at the next read or write. */
    void (*on_broken)(struct stream *stream);
    void (*on_closed)(struct stream *stream);
};

/* The operations. Each returns 0 for "not now", or a UV_E*. */
struct stream_transport {
    /* Bytes read, or UV_EOF. Sets stream->has_input if it has more than the socket shows. */
    ssize_t (*read)(struct stream *stream, uint8_t *buffer, size_t len);
    /* Bytes taken. Sets stream->is_held if the last of them are not out yet. */
    ssize_t (*writev)(struct stream *stream, const struct iovec *vector, int count);
    /* Goes on with what is held, and clears stream->is_held when it is out. NULL: holds nothing. */
    int (*flush)(struct stream *stream);
    /* Nothing more will be written. */
    void (*shutdown)(struct stream *stream);
    /* The stream closes: frees what the transport has. NULL: nothing. */
    void (*close)(struct stream *stream);
};

/* The socket itself. */
extern const struct stream_transport stream_plain;

struct stream {
    uv_poll_t poll;
    const struct stream_events *events;
    const struct stream_transport *transport;
    void *transport_state; /* the transport's own */
    int fd;                /* for the transport */
    bool connecting, wants_read, wants_write;
    bool has_input, is_held; /* set by the transport */
    bool awaits_input;       /* likewise: what is held can't go on before the socket shows bytes */
    bool peer_ended;         /* seen while nothing was read; the read will tell */
    uint8_t interest;        /* what the loop was told: UV_READABLE and the like */
};

/* Takes a connected, non-blocking socket over, also on failure (it is closed then, and no event
 * comes). Plain, and reading is off at first. 0 or a UV_E*. */
int stream_open(struct stream *stream, uv_loop_t *loop, int fd,
                const struct stream_events *events) MUST_CHECK;

/* From now on bytes go over that transport, which has `state`. Held until the transport says
 * otherwise: it goes on when the socket shows bytes (`awaits_input`), or else in the next turn. */
void stream_set_transport(struct stream *stream, const struct stream_transport *transport,
                          void *state, bool awaits_input);

/* Begins to connect (TCP or Unix). 0: on_connected will come; or a UV_E*, with nothing opened. */
int stream_connect(struct stream *stream, uv_loop_t *loop, const struct sockaddr *address,
                   socklen_t address_len, const struct stream_events *events) MUST_CHECK;

/* Asks for on_readable, or no longer. */
void stream_want_read(struct stream *stream, bool wanted);

/* Asks for one on_writable. */
void stream_want_write(struct stream *stream);

/* Reads what is there, up to `max`. Bytes (> 0) and where they lie, the caller's to change until
 * the next stream_read() of any stream; 0: nothing now; UV_EOF; or another UV_E*. */
#define STREAM_READ_MAX 65536 /* of `max` */
ssize_t stream_read(struct stream *stream, size_t max, uint8_t **ret_data) MUST_CHECK;

/* Writes what the stream takes now. Bytes (0: none now), or a UV_E*. */
ssize_t stream_writev(struct stream *stream, const struct iovec *vector, int count) MUST_CHECK;

/* Whether the last bytes that were written are not out yet. */
static inline bool stream_is_held(const struct stream *stream)
{
    return stream->is_held;
}

/* Says that nothing more will be written; the peer's bytes can still be read. Nothing may be held.
 */
void stream_shutdown(struct stream *stream);

void stream_close(struct stream *stream);

#endif
