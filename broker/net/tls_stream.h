/* TLS as the transport of a stream (RFC 8446, RFC 5246).
 *
 * Receives   an open stream whose socket is connected, and a context (tls_context.h)
 * Hands on   the stream again: what is read and written is encrypted on the way
 * Owns       OpenSSL's object for the connection, until the stream closes
 *
 * The handshake begins with the first bytes from the peer (a server) or at once (a client). Until
 * it is through nothing can be read, and nothing is taken for writing.
 *
 * Handshakes cost a server up to a millisecond each. All those of a process may take
 * TLS_TURN_MS of one turn of the loop; the others wait for the next turn, so that many at once
 * delay those who are connected by no more than that.
 *
 * A client that speaks plain HTTP is told so, by a response 400.
 */
#ifndef PROGRESSD_BROKER_NET_TLS_STREAM_H
#define PROGRESSD_BROKER_NET_TLS_STREAM_H

#include "broker/net/stream.h"
#include "broker/net/tls_context.h"
#include "common/metrics.h"

#define TLS_TURN_MS 5

/* What the TLS connections of a process share. All zeros but for `metrics`. */
struct tls_room {
    struct metrics_slot *metrics; /* handshakes: full, resumed, failed */
    uint64_t turn_ms;             /* uv_now() of the turn that spent_ns belongs to */
    uint64_t spent_ns;
};

/* Begins as the server's side. `room` outlives the stream. 0, or -ENOMEM with the stream as it
 * was. */
int tls_stream_accept(struct stream *stream, struct tls_context *context,
                      struct tls_room *room) MUST_CHECK;

/* Begins as the client's side, of a stream whose on_connected came. The server must prove to be
 * `host`. Results as above. */
int tls_stream_connect(struct stream *stream, struct tls_context *context, const char *host,
                       struct tls_room *room) MUST_CHECK;

/* Why a read or a write of this stream failed with UV_EPROTO, for the log: a constant string. */
const char *tls_stream_why(const struct stream *stream);

#endif
