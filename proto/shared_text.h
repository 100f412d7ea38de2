/* The text of a message, counted, immutable, and shared by all who send it, in whatever envelope.
 *
 * Receives   a text
 * Hands on   the text as it is; and as a WebSocket frame, which is made of it without a copy
 * Owns       nothing: the bytes are counted (common/bytes.h)
 *
 * Room for a frame's head lies in front of the text, just as much as a server's frame of that
 * length needs.
 */
#ifndef PROGRESSD_PROTO_SHARED_TEXT_H
#define PROGRESSD_PROTO_SHARED_TEXT_H

#include "common/bytes.h"
#include "common/span.h"

/* A copy of the text (valid UTF-8), one reference, the caller's; NULL when out of memory. */
struct bytes *shared_text_new(struct span text) MUST_CHECK;

/* The text, borrowed from what shared_text_new() made. */
struct span shared_text(const struct bytes *shared);

/* The same bytes as a whole WebSocket text frame (RFC 6455, 5), borrowed. May be called any number
 * of times; the text stays where it is. */
struct bytes *shared_text_frame(struct bytes *shared);

#endif
