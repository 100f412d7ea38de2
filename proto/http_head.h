/* The form of a request's head (RFC 9112, 2 to 5): which bytes may stand where, up to the empty
 * line that ends it. What the lines mean is not looked at.
 *
 * Receives   bytes as they come
 * Hands on   where the head ends, or what is wrong at the first byte that is
 * Owns       nothing; the state is the caller's
 *
 * llhttp is lenient in the form of lines, in ways that depend on its version. Whether two programs
 * see the same lines is what request smuggling is about, so the form is checked before it.
 */
#ifndef PROGRESSD_PROTO_HTTP_HEAD_H
#define PROGRESSD_PROTO_HTTP_HEAD_H

#include <stdbool.h>

#include "common/result.h"

/* What the next byte belongs to. */
enum http_head_state {
    HTTP_HEAD_START, /* empty lines before the request line are skipped (2.2) */
    HTTP_HEAD_EMPTY_LINE_LF,
    HTTP_HEAD_REQUEST_LINE,
    HTTP_HEAD_REQUEST_LINE_LF,
    HTTP_HEAD_FIELD_START, /* the beginning of a header's line, or of the last, empty one */
    HTTP_HEAD_FIELD_NAME,
    HTTP_HEAD_FIELD_VALUE,
    HTTP_HEAD_FIELD_LF,
    HTTP_HEAD_END_LF,
    HTTP_HEAD_COMPLETE,
};

/* Embedded; zeroed to begin with. Its members are its own. */
struct http_head {
    enum http_head_state state;
    unsigned spaces; /* in the request line */
};

/* Goes on over `len` bytes, at the most to the head's end; *ret_used (always set) is how far. NULL,
 * or what is wrong with the byte there. */
const char *http_head_check(struct http_head *head, const char *data, size_t len,
                            size_t *ret_used) MUST_CHECK;

static inline bool http_head_is_complete(const struct http_head *head)
{
    return head->state == HTTP_HEAD_COMPLETE;
}

#endif
