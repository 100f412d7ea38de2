/* The client's side of a WebSocket connection (RFC 6455), waiting.
 *
 * Receives   texts to send
 * Hands on   the server's messages, one at a time
 * Owns       the connection
 *
 * Frames are read and written by proto/ws_frame: Debian 12's libcurl has no WebSocket.
 */
#ifndef PROGRESSD_CLIENT_CLI_WS_CLIENT_H
#define PROGRESSD_CLIENT_CLI_WS_CLIENT_H

#include "client/cli/wire.h"
#include "proto/ws_frame.h"

#define WS_CLIENT_MESSAGE_MAX (1024 * 1024)

struct ws_client;

/* Connects and shakes hands (RFC 6455, 4.1). 0 and *ret_client; WIRE_REFUSED and *ret_status;
 * another outcome of enum wire_outcome; -ETIMEDOUT, -ENOMEM or another -errno. */
int ws_client_open(const struct wire_address *address, const char *path, int64_t deadline,
                   struct ws_client **ret_client, int *ret_status) MUST_CHECK;

/* Sends a text message. 0; -ETIMEDOUT; -ENOMEM; -errno. */
int ws_client_send(struct ws_client *client, const void *data, size_t len,
                   int64_t deadline) MUST_CHECK;

/* Waits for the next message or close frame; pings are answered on the way. 0 and *ret_event, whose
 * payload is valid until the next call; WIRE_BAD_PROTOCOL; WIRE_ENDED; -ETIMEDOUT,
 * after which it may be called again; -ENOMEM; -errno. */
int ws_client_next(struct ws_client *client, int64_t deadline,
                   struct ws_event *ret_event) MUST_CHECK;

/* Says goodbye (1000) as far as the socket takes it at once, closes, and frees. Accepts NULL. */
void ws_client_free(struct ws_client *client);

#endif
