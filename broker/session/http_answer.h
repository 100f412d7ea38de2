/* Answers to HTTP requests of browsers: with CORS, counted; as JSON unless it is said.
 *
 * Receives   status, content and headers of an answer
 * Hands on   the response to http_connection_respond_shared()
 * Owns       nothing
 *
 * Every answer carries the headers of CORS (Fetch, 3.2) when the request's origin is allowed, so
 * that a page can read errors too, and the ETag and Retry-After of a state.
 */
#ifndef PROGRESSD_BROKER_SESSION_HTTP_ANSWER_H
#define PROGRESSD_BROKER_SESSION_HTTP_ANSWER_H

#include "broker/net/http_connection.h"
#include "broker/session/front.h"

struct http_answer {
    int status;
    struct span body;          /* {NULL, 0}: none */
    struct bytes *shared_body; /* instead of `body`: sent as it is, not copied; or NULL */
    const char *content_type;  /* NULL: application/json */
    const char *cache_control; /* NULL: private, no-cache */
    const char *headers;       /* whole further lines, each ending in CRLF, or NULL */
    bool close; /* the last one on this connection; it is also if the request says so */
};

/* Answers the request that on_request came with; it is gone afterwards. */
void http_answer(const struct front *front, struct http_connection *http,
                 const struct http_request *request, const struct http_answer *answer);

/* The same with {"error":{"code","message"}} as its body. */
void http_answer_error(const struct front *front, struct http_connection *http,
                       const struct http_request *request, const struct http_answer *answer,
                       const char *code, const char *message);

/* Answers OPTIONS: a preflight request of an allowed origin gets 204 with what it may do (Fetch,
 * 4.8), any other 403. */
void http_answer_preflight(const struct front *front, struct http_connection *http,
                           const struct http_request *request);

/* Whether the client has what `etag` (without quotes) names: its If-None-Match lists it (RFC 9110,
 * 13.1.2; weak comparison), or lists what a proxy that compresses made of it: W/"etag",
 * "etag-gzip". */
bool http_client_has(const struct http_request *request, const char *etag);

/* Whether the request's origin may use the broker; one without an Origin may, since it comes from
 * no browser's page. */
bool http_origin_is_allowed(const struct front *front, const struct http_request *request);

#endif
