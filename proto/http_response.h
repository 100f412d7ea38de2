/* HTTP/1.1 responses (RFC 9112), written whole.
 *
 * Receives   a status, headers and a body
 * Hands on   the response as text to send
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_HTTP_RESPONSE_H
#define PROGRESSD_PROTO_HTTP_RESPONSE_H

#include <stdbool.h>

#include "common/text.h"
#include "proto/json.h"

struct http_response {
    int status;               /* 100 to 599; the reason phrase follows from it */
    const char *content_type; /* NULL: no body */
    const char *headers;      /* whole further lines, each ending in CRLF, or NULL */
    struct span body;         /* its length is sent also where the body isn't: HEAD; neither with
                                 1xx, 204 and 304 */
    int64_t now;              /* seconds since 1970, for the Date; 0: the sender has no clock */
    bool head_only;           /* leave the body out: the answer to HEAD */
    bool close;               /* say Connection: close */
};

/* Appends the response: status line, Content-Length, Content-Type, `Date` (IMF-fixdate),
 * Connection, the further headers, and the body. */
void http_response_write(struct text *text, const struct http_response *response);

/* Appends an error as JSON, {"error":{"code","message"}}, with the same headers; content_type and
 * body of `response` don't count. */
void http_response_write_error(struct text *text, const struct http_response *response,
                               const char *code, const char *message);

/* The reason phrase of a status: "Not Found"; "" for one that isn't known. */
const char *http_reason(int status);

#endif
