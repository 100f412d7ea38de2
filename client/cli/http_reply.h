/* One HTTP/1.1 response, read from bytes as they come. On llhttp.
 *
 * Receives   bytes as they were read, from http_client and ws_client
 * Hands on   the status, the headers that somebody here reads, the body
 * Owns       the body
 */
#ifndef PROGRESSD_CLIENT_CLI_HTTP_REPLY_H
#define PROGRESSD_CLIENT_CLI_HTTP_REPLY_H

#include <llhttp.h>
#include <stdbool.h>

#include "common/text.h"

#define HTTP_REPLY_HEADER_MAX 256        /* of a header that is kept; a longer one is cut */
#define HTTP_REPLY_MAX (4 * 1024 * 1024) /* head and body; beyond it HTTP_REPLY_BAD */

enum http_reply_header {
    HTTP_REPLY_ETAG,
    HTTP_REPLY_RETRY_AFTER,
    HTTP_REPLY_UPGRADE,
    HTTP_REPLY_SEC_WEBSOCKET_ACCEPT,
    HTTP_REPLY_HEADERS
};

/* Embedded. To be read when complete; `parser` to `field_name` are the parser's own. */
struct http_reply {
    int status;
    char headers[HTTP_REPLY_HEADERS][HTTP_REPLY_HEADER_MAX]; /* "" where there is none */
    struct text body;
    llhttp_t parser;
    size_t received;
    char field_name[32];
};

enum http_reply_outcome {
    HTTP_REPLY_COMPLETE = 1,
    HTTP_REPLY_UPGRADED, /* 101: what follows is another protocol's */
    HTTP_REPLY_BAD,      /* not HTTP, or too much of it */
};

void http_reply_init(struct http_reply *reply);
void http_reply_deinit(struct http_reply *reply);

/* Reads on. 0: all was used, more is to come; an outcome; -ENOMEM. *ret_used (always set) is how
 * much was used. */
int http_reply_feed(struct http_reply *reply, const char *data, size_t len,
                    size_t *ret_used) MUST_CHECK;

/* The connection has ended: HTTP_REPLY_COMPLETE where that ends the body, else HTTP_REPLY_BAD. */
int http_reply_finish(struct http_reply *reply) MUST_CHECK;

#endif
