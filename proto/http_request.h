/* One HTTP/1.1 request (RFC 9112), read from bytes as they come. On llhttp.
 *
 * Receives   bytes as they were read, in pieces of any size
 * Hands on   method, target and the few headers that somebody here reads
 * Owns       one block of memory for the request's text: from 1 KiB, as needed, to HTTP_REQUEST_MAX
 *            bytes, or twice that where repeated headers are joined
 *
 * Stricter than llhttp, which lets through obsolete line folding, a missing or repeated Host, a
 * space before a header's colon, empty names, HTTP/0.9 and 2.0, other protocols' methods, and
 * raw bytes from 0x80 in the target: all are 400 here. Bodies are read over and dropped.
 */
#ifndef PROGRESSD_PROTO_HTTP_REQUEST_H
#define PROGRESSD_PROTO_HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/http_target.h"
#include "proto/json.h"

#define HTTP_REQUEST_MAX 24576      /* request line and headers; beyond it 431 */
#define HTTP_REQUEST_BODY_MAX 65536 /* the framing of chunks included; beyond it 413 */

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_OPTIONS, HTTP_METHOD_OTHER };

/* The headers that are kept. */
enum http_header {
    HTTP_HEADER_HOST,
    HTTP_HEADER_CONNECTION,
    HTTP_HEADER_UPGRADE,
    HTTP_HEADER_ORIGIN,
    HTTP_HEADER_AUTHORIZATION,
    HTTP_HEADER_IF_NONE_MATCH,
    HTTP_HEADER_ACCEPT,
    HTTP_HEADER_LAST_EVENT_ID,
    HTTP_HEADER_SEC_WEBSOCKET_KEY,
    HTTP_HEADER_SEC_WEBSOCKET_VERSION,
    HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS,
    HTTP_HEADERS
};

struct http_request;

enum http_request_outcome {
    HTTP_REQUEST_COMPLETE = 1,   /* the request can be answered */
    HTTP_REQUEST_BAD,            /* answer 400 and close; http_request_error() says why */
    HTTP_REQUEST_TOO_LARGE,      /* answer 431 and close */
    HTTP_REQUEST_BODY_TOO_LARGE, /* answer 413 and close */
};

/* NULL when out of memory. */
struct http_request *http_request_new(void) MUST_CHECK;

/* Accepts NULL. */
void http_request_free(struct http_request *request);

/* Reads on. 0: all was used, the request isn't complete; an outcome; -ENOMEM. *ret_used (always
 * set) is how much was used: what follows a complete request is the next one, or, after an
 * upgrade, the new protocol's first bytes. Not to be called again after an outcome or -ENOMEM. */
int http_request_feed(struct http_request *request, const char *data, size_t len,
                      size_t *ret_used) MUST_CHECK;

/* The next four are for a complete request; spans live as long as it does. */
enum http_method http_request_method(const struct http_request *request);

/* The path, before `?`, as it came (percent-encoded); and what follows the `?`, or {NULL, 0}. An
 * absolute-form target (RFC 9112, 3.2.2) yields its path, OPTIONS may have `*`, and CONNECT has
 * host and port. */
struct span http_request_path(const struct http_request *request);
struct span http_request_query(const struct http_request *request);

/* A header's value without white space around it, or {NULL, 0}. Fields that came more than once
 * are joined by ", " (RFC 9110, 5.3), but for those that may come only once: they are 400. */
struct span http_request_header(const struct http_request *request, enum http_header header);

/* Whether a comma-separated header lists `token`, in any case (RFC 9110, 5.6.1). */
bool http_request_header_lists(const struct http_request *request, enum http_header header,
                               const char *token);

/* Whether the connection stays open after the answer (RFC 9112, 9.3). */
bool http_request_keeps_alive(const struct http_request *request);

/* Whether the request asks to leave HTTP (Connection: Upgrade with an Upgrade header). */
bool http_request_upgrades(const struct http_request *request);

/* After an error: what is wrong, for the answer's body. */
const char *http_request_error(const struct http_request *request);

#endif
