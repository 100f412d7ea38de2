/* HTTP requests, one a connection. On libcurl.
 *
 * Receives   what to ask for, and of which server
 * Hands on   the whole reply
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_HTTP_CLIENT_H
#define PROGRESSD_CLIENT_CLI_HTTP_CLIENT_H

#include "client/cli/wire.h"
#include "common/text.h"

#define HTTP_BODY_MAX (4 * 1024 * 1024) /* beyond it WIRE_BAD_PROTOCOL */
#define HTTP_HEADERS_MAX 4

struct http_reply {
    int status;
    long retry_after_s; /* 0: the server says nothing of it */
    struct text body;
};

/* Gets `path` below the address (percent-encoded, with its query). `headers`: further lines without
 * their ends, `header_count` of them, at most HTTP_HEADERS_MAX. Redirects aren't followed. 0 and
 * *ret_reply, whatever its status, to be given to http_reply_deinit(); WIRE_UNKNOWN_HOST;
 * WIRE_UNTRUSTED; WIRE_BAD_PROTOCOL; -ETIMEDOUT, -ENOMEM or another -errno. */
int http_client_get(const struct wire_address *address, const char *path,
                    const char *const headers[], size_t header_count, int64_t deadline,
                    struct http_reply *ret_reply) MUST_CHECK;

void http_reply_deinit(struct http_reply *reply);

#endif
