/* One connected socket on the loop: bytes in, bytes out. Nothing above knows the descriptor.
 *
 * Receives   a connected socket (listener.c), or an address to connect to (redis_connection.c)
 * Hands on   readiness, by the table of events; bytes, by stream_read()
 * Owns       the descriptor and its poll handle; one buffer for reading, shared by all streams
 *
 * Readiness instead of completion, since a slow client must cost no queue: the owner produces bytes
 * when the socket takes them, and keeps what it could not write. TLS will be a second way to do
 * what do_read() and do_writev() do here, chosen at opening, on the same descriptor.
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
    /* The socket takes bytes again. Comes once for each stream_want_write(). */
    void (*on_writable)(struct stream *stream);
    void (*on_closed)(struct stream *stream);
};

struct stream {
    uv_poll_t poll;
    const struct stream_events *events;
    int fd;
    uint32_t read_max; /* bytes that one stream_read() returns at the most; set by the owner */
    bool connecting, wants_read, wants_write;
};

/* Takes a connected, non-blocking socket over, also on failure (it is closed then, and no event
 * comes). Reading is off at first. 0 or a UV_E*. */
int stream_open(struct stream *stream, uv_loop_t *loop, int fd,
                const struct stream_events *events) MUST_CHECK;

/* Begins to connect (TCP or Unix). 0: on_connected will come; or a UV_E*, with nothing opened. */
int stream_connect(struct stream *stream, uv_loop_t *loop, const struct sockaddr *address,
                   socklen_t address_len, const struct stream_events *events) MUST_CHECK;

/* Asks for on_readable, or no longer. */
void stream_want_read(struct stream *stream, bool wanted);

/* Asks for one on_writable. */
void stream_want_write(struct stream *stream);

/* Reads what is there. Bytes (> 0) and where they lie, the caller's to change until the next
 * stream_read() of any stream; 0: nothing now; UV_EOF; or another UV_E*. */
#define STREAM_READ_MAX 65536 /* of read_max, which it is at first */
ssize_t stream_read(struct stream *stream, uint8_t **ret_data) MUST_CHECK;

/* Writes what the socket takes now. Bytes (0: none now), or a UV_E*. */
ssize_t stream_writev(struct stream *stream, const struct iovec *vector, int count) MUST_CHECK;

/* Says that nothing more will be written; the peer's bytes can still be read. */
void stream_shutdown(struct stream *stream);

void stream_close(struct stream *stream);

#endif
