/* WebSocket frames (RFC 6455, 5): bytes to messages and back. No I/O.
 *
 * Receives   bytes as they were read, in pieces of any size
 * Hands on   whole messages and control frames, one at a time; frames ready to be sent
 * Owns       the bytes of a message that isn't complete yet, and nothing between messages
 * Leaves     what follows from a close frame to the caller: nothing after it is to be fed (5.5.1)
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

/* The parser. Embedded; its members are its own. All that is needed only while a frame or message
 * is incomplete lies in one block on the heap, so that an idle connection pays for a pointer. */
struct ws_parser {
    struct ws_midway *midway; /* NULL when the bytes so far end between two messages */
    uint32_t max_message;
    uint8_t peer; /* enum ws_peer */
};

/* What the parser found: a whole message (WS_TEXT, WS_BINARY) or a control frame. */
struct ws_event {
    enum ws_opcode opcode;
    const uint8_t *payload; /* unmasked; valid until the parser is called again, or `data` goes */
    uint32_t len;
    uint16_t close_code; /* of WS_CLOSE: the code received, or 1005 when the frame was empty; the
                            reason (valid UTF-8) is the payload from byte 2 on */
};

enum ws_outcome {
    WS_EVENT = 1,      /* *ret_event is filled in */
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

/* Reads on, unmasking within `data`; *ret_used (set with 0 and WS_EVENT) is how much was used.
 *
 * WS_EVENT       call again with the rest, even if that is nothing: it frees what the event lay in
 * 0              all was used, and no further event is in it
 * other outcome  the peer broke the protocol at this byte; what came before it has been told
 * -ENOMEM
 *
 * After the last two the parser is only good for ws_parser_deinit(). A message in a single frame,
 * or a control frame, that lies whole in `data` is not copied: its payload is where it came. What
 * is incomplete is copied into memory that grows as bytes come, to at most twice what has come,
 * whatever length the header announced. */
int ws_parser_feed(struct ws_parser *parser, uint8_t *data, size_t len, size_t *ret_used,
                   struct ws_event *ret_event) MUST_CHECK;

/* Whether a message or frame has begun and isn't complete, so that the peer owes bytes. */
bool ws_parser_is_midway(const struct ws_parser *parser);

/* The longest header: 2 + 8 bytes of length + 4 of mask. */
#define WS_HEADER_MAX 14

/* Writes the header of a final frame with `len` bytes of payload; `mask` is NULL for a server's.
 * Returns its length. */
size_t ws_frame_header(uint8_t header[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t len,
                       const uint8_t mask[4]);

/* XORs `len` bytes with the mask, beginning `offset` bytes into it (5.3); eight bytes or
 * more at a time. */
void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset);

/* A whole final unmasked frame, header and payload: what a server sends, shared by all who send
 * it. NULL when out of memory. */
struct bytes *ws_frame_new(enum ws_opcode opcode, const void *payload, uint32_t len) MUST_CHECK;

/* The longest reason: a control frame's 125 bytes without the code (5.5). */
#define WS_CLOSE_REASON_MAX 123

/* A close frame with a valid code (asserted) and a reason in UTF-8 (7.4). NULL when out of memory.
 * The answer to a close frame without a code is ws_frame_new(WS_CLOSE, NULL, 0). */
struct bytes *ws_frame_new_close(uint16_t code, const char *reason) MUST_CHECK;

/* Whether a peer may send this close code (7.4.1, 7.4.2 and the IANA registry). */
bool ws_close_code_is_valid(uint16_t code);

#endif
