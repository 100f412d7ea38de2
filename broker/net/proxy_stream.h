/* The PROXY protocol's header, read from a stream before the client's own bytes: it comes before
 * TLS as well.
 *
 * Receives   an open stream of a load balancer
 * Hands on   what the header says; the stream, plain again, at the first byte behind it
 * Owns       the part of a header that has come so far, PROXY_HEADER_MAX bytes at the most
 *
 * No byte behind the header is taken from the socket.
 */
#ifndef PROGRESSD_BROKER_NET_PROXY_STREAM_H
#define PROGRESSD_BROKER_NET_PROXY_STREAM_H

#include "broker/net/stream.h"
#include "proto/proxy_header.h"

/* The header is complete; or NULL: what came is none, and the stream can only be closed. Comes
 * once, from the loop, and may close the stream or set its next transport. */
typedef void (*proxy_stream_header_fn)(struct stream *stream, const struct proxy_header *header);

/* Waits for a header. 0, or -ENOMEM with the stream as it was. */
int proxy_stream_begin(struct stream *stream, proxy_stream_header_fn on_header) MUST_CHECK;

#endif
