/* WebSocket frames (RFC 6455, 5): bytes to messages and back. No I/O.
 *
 * Receives   bytes as they were read, from connection (the broker) and ws_client (progressctl)
 * Hands on   whole messages and control frames, one at a time; frames ready to be sent
 * Owns       the bytes of a message that isn't complete yet, and nothing between messages
 * Refuses    extensions: RSV1 to RSV3 must be 0
 */
#ifndef PROGRESSD_PROTO_WS_FRAME_H
#define PROGRESSD_PROTO_WS_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"

/* RFC 6455, 5.2 */
enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xA,
};

/* Whose frames are read: a client's, which must be masked, or a server's, which must not (5.1). */
enum ws_peer { WS_PEER_CLIENT, WS_PEER_SERVER };

/* The parser. Embedded; its members are its own. */
struct ws_parser {
    uint64_t frame_left; /* payload bytes of the current frame still to come */
    uint8_t *message;    /* the message so far, or NULL */
    uint32_t message_len, message_capacity;
    uint32_t max_message;
    uint32_t utf8;
    uint8_t mask[4];
    uint8_t mask_offset;
    uint8_t peer;           /* enum ws_peer */
    uint8_t state;          /* ws_frame.c */
    uint8_t frame_opcode;   /* of the current frame */
    uint8_t message_opcode; /* of the fragmented message under way; 0: none */
    bool fin;
    uint8_t header_len, header_need;
    uint8_t header[14];
    uint8_t control_len;
    uint8_t *control; /* payload of a control frame that came in pieces; 125 bytes, or NULL */
};

/* What the parser found: a whole message (WS_TEXT, WS_BINARY) or a control frame. */
struct ws_event {
    enum ws_opcode opcode;
    const uint8_t *payload; /* unmasked; valid until the parser is called again */
    uint32_t len;
    uint16_t close_code; /* of WS_CLOSE: the code received, or 1005 when the frame was empty; the
                            reason (valid UTF-8) is the payload from byte 2 on */
};

enum ws_outcome {
    WS_EVENT = 1,      /* *ret_event is filled in; call again with the rest */
    WS_PROTOCOL_ERROR, /* close with 1002: a reserved bit or opcode, masking, a fragmented or long
                          control frame, a continuation out of turn, a length that isn't minimal,
                          a bad close code */
    WS_INVALID_UTF8,   /* close with 1007; told at the first byte that makes it so */
    WS_TOO_BIG,        /* close with 1009: a message longer than max_message; told by the header,
                          before the payload comes */
};

/* `max_message`: payload bytes of a message, over all its fragments, at the most. */
void ws_parser_init(struct ws_parser *parser, enum ws_peer peer, uint32_t max_message);

/* Frees what the parser holds. */
void ws_parser_deinit(struct ws_parser *parser);

/* Reads on, unmasking within `data`. 0: all was used, nothing is complete yet; WS_EVENT; one of
 * the errors, after which the parser is not to be fed again; -ENOMEM. *ret_used (set with 0 and
 * WS_EVENT) is how much of `data` was used. A message that lies whole in `data` is not copied. */
int ws_parser_feed(struct ws_parser *parser, uint8_t *data, size_t len, size_t *ret_used,
                   struct ws_event *ret_event) MUST_CHECK;

/* Whether a message or frame has begun and isn't complete. */
bool ws_parser_is_midway(const struct ws_parser *parser);

/* The longest header: 2 + 8 bytes of length + 4 of mask. */
#define WS_HEADER_MAX 14

/* Writes the header of a final frame with `len` bytes of payload; `mask` is NULL for a server's.
 * Returns its length. */
size_t ws_frame_header(uint8_t header[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t len,
                       const uint8_t mask[4]);

/* XORs `len` bytes with the mask, beginning `offset` bytes into it (5.3); eight bytes and more at
 * a time. */
void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset);

/* A whole final unmasked frame, header and payload: what a server sends, shared by all who send
 * it. NULL when out of memory. */
struct bytes *ws_frame_new(enum ws_opcode opcode, const void *payload, uint32_t len) MUST_CHECK;

/* The payload within a frame made by ws_frame_new(). */
const uint8_t *ws_frame_payload(const struct bytes *frame, uint32_t *ret_len);

/* A close frame with code and reason (at most 123 bytes; 7.4). */
struct bytes *ws_frame_new_close(uint16_t code, const char *reason) MUST_CHECK;

/* Whether a peer may send this close code (7.4.1, 7.4.2 and the IANA registry). */
bool ws_close_code_is_valid(uint16_t code);

#endif
