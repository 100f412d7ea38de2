/* HTTP requests, one a connection.
 *
 * Receives   what to ask for, from progressctl's get, watch (polling) and status
 * Hands on   the whole reply
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_HTTP_CLIENT_H
#define PROGRESSD_CLIENT_CLI_HTTP_CLIENT_H

#include "client/cli/http_reply.h"
#include "client/cli/wire.h"

enum http_client_outcome {
    HTTP_CLIENT_UNKNOWN_HOST = 1,
    HTTP_CLIENT_BAD_REPLY, /* not HTTP, too much of it, or cut off */
};

/* Gets `path` (percent-encoded, with its query). `headers`: whole further lines, each ending in
 * CRLF, or NULL. 0 and *ret_reply, whatever its status, to be given to http_reply_deinit(); an
 * outcome; -ETIMEDOUT, -ENOMEM or another -errno. */
int http_client_get(const struct wire_address *address, const char *path, const char *headers,
                    int64_t deadline, struct http_reply *ret_reply) MUST_CHECK;

/* Appends the request's head, as it is sent: for ws_client. */
void http_client_write_head(struct text *text, const struct wire_address *address, const char *path,
                            const char *headers);

/* Sends a request and reads the reply to its end. *ret_rest is what the wire brought behind it, for
 * the protocol that an upgrade leads to. As http_client_get(). */
int http_client_exchange(struct wire *wire, const struct text *request, int64_t deadline,
                         struct http_reply *ret_reply, struct text *ret_rest) MUST_CHECK;

#endif
