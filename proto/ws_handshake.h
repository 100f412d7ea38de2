/* The opening handshake of WebSocket (RFC 6455, 4).
 *
 * Receives   a parsed request (a server), or a response (a client)
 * Hands on   the answer to send, or what is wrong with the request
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_WS_HANDSHAKE_H
#define PROGRESSD_PROTO_WS_HANDSHAKE_H

#include "common/text.h"
#include "proto/http_request.h"

#define WS_KEY_SIZE 25    /* base64 of 16 bytes, and a NUL */
#define WS_ACCEPT_SIZE 29 /* base64 of a SHA-1, and a NUL */

enum ws_handshake_outcome {
    WS_HANDSHAKE_NONE = 1,    /* no upgrade to WebSocket is asked for: 426 where only that is
                                 served */
    WS_HANDSHAKE_BAD,         /* asked for, and wrong: 400 */
    WS_HANDSHAKE_BAD_VERSION, /* not version 13: 426 with Sec-WebSocket-Version: 13 (4.4) */
};

/* Checks the request's side (4.2.1). 0, or an outcome; *ret_why (set with an outcome) says what is
 * wrong, for the answer's body. */
int ws_handshake_check(const struct http_request *request, const char **ret_why) MUST_CHECK;

/* Appends the 101 response (4.2.2) to a request that was checked. No subprotocol and no extension
 * is ever taken up. 0, or -EIO from the cryptographic library, with nothing appended. */
int ws_handshake_respond(struct text *text, const struct http_request *request) MUST_CHECK;

/* Sec-WebSocket-Accept, with a NUL behind, for the 24 characters of a Sec-WebSocket-Key (4.2.2).
 * 0 or -EIO. */
int ws_handshake_accept(const char key[WS_KEY_SIZE - 1],
                        char ret_accept[WS_ACCEPT_SIZE]) MUST_CHECK;

/* A random Sec-WebSocket-Key, for clients. 0 or -EIO. */
int ws_handshake_new_key(char ret_key[WS_KEY_SIZE]) MUST_CHECK;

#endif
