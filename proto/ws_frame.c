/* The parser reads frame after frame: first the header, checked byte by byte as it comes, then
 * the payload. Two ways lead to an event:
 *
 *   in place  header and payload lie whole in what was fed, and the frame is a control frame or a
 *             message of its own. Nothing is allocated or copied; this is the common way.
 *   midway    anything else. A struct ws_midway holds what has come, until the event was taken.
 *
 * Invariants: midway->header_len > 0 in the middle of a header, midway->frame.left > 0 in the
 * middle of a payload, never both; midway->message_opcode != 0 from a message's first header to
 * its end. When none of the three holds, the block has served and goes with the next call.
 */
#include "proto/ws_frame.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "proto/utf8.h"

#define FIN_BIT 0x80u
#define RSV_BITS 0x70u
#define OPCODE_BITS 0x0fu
#define MASK_BIT 0x80u
#define LENGTH_BITS 0x7fu

/* In place of a length of 7 bits: it follows in 2 or in 8 bytes. */
#define LENGTH_IN_2 126
#define LENGTH_IN_8 127

#define CONTROL_MAX 125

struct frame {
    uint32_t left; /* payload bytes still to come */
    uint8_t opcode;
    bool fin;
    uint8_t mask[4];
    uint8_t mask_offset; /* where in the mask the next payload byte is */
};

struct ws_midway {
    struct frame frame;

    uint8_t header[WS_HEADER_MAX];
    uint8_t header_len;

    uint8_t control[CONTROL_MAX];
    uint8_t control_len;

    uint8_t message_opcode;
    uint32_t utf8; /* state after the message so far, if it is text */
    uint32_t message_len, message_capacity;
    uint8_t message[];
};

/* Beside ws_outcome: the header goes on beyond what has come. */
#define HEADER_INCOMPLETE 100

static bool is_control(uint8_t opcode)
{
    return opcode >= WS_CLOSE;
}

static bool opcode_is_known(uint8_t opcode)
{
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

bool ws_close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* ── Parser: what is under way ───────────────────────────────────────────────────────────────── */

void ws_parser_init(struct ws_parser *parser, enum ws_peer peer, uint32_t max_message)
{
    *parser = (struct ws_parser){.max_message = max_message, .peer = peer};
}

void ws_parser_deinit(struct ws_parser *parser)
{
    mem_free(TAKE(parser->midway));
}

bool ws_parser_is_midway(const struct ws_parser *parser)
{
    const struct ws_midway *midway = parser->midway;

    return midway &&
           (midway->header_len > 0 || midway->frame.left > 0 || midway->message_opcode != 0);
}

static bool message_is_under_way(const struct ws_parser *parser)
{
    return parser->midway && parser->midway->message_opcode != 0;
}

static int midway_ensure(struct ws_parser *parser)
{
    if (!parser->midway) {
        parser->midway = mem_zalloc(1, sizeof(*parser->midway));
    }
    return parser->midway ? 0 : -ENOMEM;
}

/* Makes room for `more` bytes of the message. Of the length that the frame announces only as much
 * is believed as has come already. */
static int message_reserve(struct ws_parser *parser, uint32_t more)
{
    struct ws_midway *midway = parser->midway;
    uint64_t needed = (uint64_t)midway->message_len + more;
    uint64_t end = midway->frame.fin ? needed + midway->frame.left : parser->max_message;
    uint64_t capacity = 2 * needed < end ? 2 * needed : end;

    if (needed <= midway->message_capacity) {
        return 0;
    }
    midway = mem_realloc(midway, sizeof(*midway) + capacity);
    if (!midway) {
        return -ENOMEM;
    }
    midway->message_capacity = (uint32_t)capacity;
    parser->midway = midway;
    return 0;
}

/* ── Parser: headers ─────────────────────────────────────────────────────────────────────────── */

/* The first byte (5.2, 5.4, 5.5). */
static int check_opening(const struct ws_parser *parser, uint8_t byte)
{
    uint8_t opcode = byte & OPCODE_BITS;

    if ((byte & RSV_BITS) || !opcode_is_known(opcode)) {
        return WS_PROTOCOL_ERROR;
    }
    if (is_control(opcode)) {
        return byte & FIN_BIT ? 0 : WS_PROTOCOL_ERROR;
    }
    return (opcode == WS_CONTINUATION) == message_is_under_way(parser) ? 0 : WS_PROTOCOL_ERROR;
}

/* The second byte (5.1, 5.5). */
static int check_length_byte(const struct ws_parser *parser, uint8_t opcode, uint8_t byte)
{
    if (!!(byte & MASK_BIT) != (parser->peer == WS_PEER_CLIENT)) {
        return WS_PROTOCOL_ERROR;
    }
    if (is_control(opcode) && (byte & LENGTH_BITS) > CONTROL_MAX) {
        return WS_PROTOCOL_ERROR;
    }
    return 0;
}

static uint64_t read_big_endian(const uint8_t *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static size_t length_size(uint8_t length_bits)
{
    return length_bits == LENGTH_IN_2 ? 2 : length_bits == LENGTH_IN_8 ? 8 : 0;
}

/* The payload's length where it is complete: minimal, and of 63 bits (5.2). */
static int check_length(const struct ws_parser *parser, uint8_t opcode, size_t size,
                        uint64_t length)
{
    uint32_t message_len = message_is_under_way(parser) ? parser->midway->message_len : 0;

    if (size == 2 && length < LENGTH_IN_2) {
        return WS_PROTOCOL_ERROR;
    }
    if (size == 8 && (length <= UINT16_MAX || length > INT64_MAX)) {
        return WS_PROTOCOL_ERROR;
    }
    if (!is_control(opcode) && length > parser->max_message - message_len) {
        return WS_TOO_BIG;
    }
    return 0;
}

/* Reads the header at the beginning of `at`, telling what is wrong at the first byte that shows
 * it. 0 with *ret_frame and *ret_used, HEADER_INCOMPLETE, or the peer's error. */
static int header_parse(const struct ws_parser *parser, const uint8_t *at, size_t len,
                        struct frame *ret_frame, size_t *ret_used)
{
    struct frame frame = {.opcode = at[0] & OPCODE_BITS, .fin = !!(at[0] & FIN_BIT)};
    size_t size, used = 2, mask_size = parser->peer == WS_PEER_CLIENT ? sizeof(frame.mask) : 0;
    uint64_t length;
    int r;

    r = check_opening(parser, at[0]);
    if (r) {
        return r;
    }
    if (len < used) {
        return HEADER_INCOMPLETE;
    }
    r = check_length_byte(parser, frame.opcode, at[1]);
    if (r) {
        return r;
    }
    length = at[1] & LENGTH_BITS;
    size = length_size(length);
    if (len < used + size) {
        return HEADER_INCOMPLETE;
    }
    if (size > 0) {
        length = read_big_endian(at + used, size);
        used += size;
    }
    r = check_length(parser, frame.opcode, size, length);
    if (r) {
        return r;
    }
    if (len < used + mask_size) {
        return HEADER_INCOMPLETE;
    }
    memcpy(frame.mask, at + used, mask_size);
    frame.left = (uint32_t)length;
    *ret_frame = frame;
    *ret_used = used + mask_size;
    return 0;
}

/* The same for a header that comes in pieces, put together in midway->header. *ret_used is how
 * much of `data` belongs to it. */
static int header_read(struct ws_parser *parser, const uint8_t *data, size_t len,
                       struct frame *ret_frame, size_t *ret_used)
{
    struct ws_midway *midway;
    size_t before, piece;
    int r;

    if (!parser->midway || parser->midway->header_len == 0) {
        r = header_parse(parser, data, len, ret_frame, ret_used);
        if (r != HEADER_INCOMPLETE) {
            return r;
        }
    }
    r = midway_ensure(parser);
    if (r) {
        return r;
    }
    midway = parser->midway;
    before = midway->header_len;
    piece = len < WS_HEADER_MAX - before ? len : WS_HEADER_MAX - before;
    memcpy(midway->header + before, data, piece);
    r = header_parse(parser, midway->header, before + piece, ret_frame, ret_used);
    if (r == HEADER_INCOMPLETE) {
        midway->header_len = (uint8_t)(before + piece);
    } else if (r == 0) {
        midway->header_len = 0;
        *ret_used -= before;
    }
    return r;
}

/* ── Parser: payloads ────────────────────────────────────────────────────────────────────────── */

static int message_event(struct ws_event *event, uint8_t opcode, const uint8_t *payload,
                         uint32_t len)
{
    *event = (struct ws_event){.opcode = opcode, .payload = payload, .len = len};
    return WS_EVENT;
}

/* A close frame's payload: nothing, or a code and a reason in UTF-8 (5.5.1). */
static int close_event(struct ws_event *event, const uint8_t *payload, uint32_t len)
{
    uint16_t code = len < 2 ? 1005 : (uint16_t)read_big_endian(payload, 2);

    if (len == 1 || (len >= 2 && !ws_close_code_is_valid(code))) {
        return WS_PROTOCOL_ERROR;
    }
    if (len > 2 && !utf8_is_valid(payload + 2, len - 2)) {
        return WS_INVALID_UTF8;
    }
    *event = (struct ws_event){WS_CLOSE, payload, len, code};
    return WS_EVENT;
}

static int control_event(struct ws_event *event, uint8_t opcode, const uint8_t *payload,
                         uint32_t len)
{
    return opcode == WS_CLOSE ? close_event(event, payload, len)
                              : message_event(event, opcode, payload, len);
}

/* A frame that lies whole in what was fed, and is an event of its own. */
static int read_in_place(const struct ws_parser *parser, const struct frame *frame,
                         uint8_t *payload, struct ws_event *ret_event)
{
    if (parser->peer == WS_PEER_CLIENT) {
        ws_mask(payload, frame->left, frame->mask, 0);
    }
    if (is_control(frame->opcode)) {
        return control_event(ret_event, frame->opcode, payload, frame->left);
    }
    if (frame->opcode == WS_TEXT && !utf8_is_valid(payload, frame->left)) {
        return WS_INVALID_UTF8;
    }
    return message_event(ret_event, frame->opcode, payload, frame->left);
}

static int control_append(struct ws_midway *midway, const uint8_t *payload, uint32_t len,
                          struct ws_event *ret_event)
{
    memcpy(midway->control + midway->control_len, payload, len);
    midway->control_len += len;
    if (midway->frame.left > 0) {
        return 0;
    }
    return control_event(ret_event, midway->frame.opcode, midway->control, midway->control_len);
}

static int message_append(struct ws_parser *parser, const uint8_t *payload, uint32_t len,
                          struct ws_event *ret_event)
{
    struct ws_midway *midway = parser->midway;
    bool is_text = midway->message_opcode == WS_TEXT;
    bool ends = midway->frame.fin && midway->frame.left == 0;
    uint8_t opcode = midway->message_opcode;
    int r;

    if (is_text) {
        midway->utf8 = utf8_check(midway->utf8, payload, len);
        if (midway->utf8 == UTF8_REJECT || (ends && midway->utf8 != UTF8_ACCEPT)) {
            return WS_INVALID_UTF8;
        }
    }
    r = message_reserve(parser, len);
    if (r) {
        return r;
    }
    midway = parser->midway;
    memcpy(midway->message + midway->message_len, payload, len);
    midway->message_len += len;
    if (!ends) {
        return 0;
    }
    midway->message_opcode = 0;
    return message_event(ret_event, opcode, midway->message, midway->message_len);
}

/* Takes what has come of the current frame's payload, if only the end of an empty one. */
static int payload_read(struct ws_parser *parser, uint8_t *data, size_t len, size_t *ret_used,
                        struct ws_event *ret_event)
{
    struct frame *frame = &parser->midway->frame;
    uint32_t piece = len < frame->left ? (uint32_t)len : frame->left;

    if (parser->peer == WS_PEER_CLIENT) {
        ws_mask(data, piece, frame->mask, frame->mask_offset);
        frame->mask_offset = (frame->mask_offset + piece) & 3;
    }
    frame->left -= piece;
    *ret_used = piece;
    return is_control(frame->opcode) ? control_append(parser->midway, data, piece, ret_event)
                                     : message_append(parser, data, piece, ret_event);
}

/* Makes the frame the current one, whose payload comes in pieces or belongs to a message of
 * several frames. */
static int frame_begin(struct ws_parser *parser, const struct frame *frame)
{
    int r = midway_ensure(parser);

    if (r) {
        return r;
    }
    parser->midway->frame = *frame;
    if (is_control(frame->opcode)) {
        parser->midway->control_len = 0;
    } else if (frame->opcode != WS_CONTINUATION) {
        parser->midway->message_opcode = frame->opcode;
    }
    return 0;
}

static int frame_read(struct ws_parser *parser, uint8_t *data, size_t len, size_t *ret_used,
                      struct ws_event *ret_event)
{
    struct frame frame;
    size_t header_len, payload_len;
    bool stands_alone;
    int r;

    r = header_read(parser, data, len, &frame, &header_len);
    if (r) {
        *ret_used = len;
        return r == HEADER_INCOMPLETE ? 0 : r;
    }
    stands_alone = is_control(frame.opcode) || (frame.fin && frame.opcode != WS_CONTINUATION);
    if (stands_alone && frame.left <= len - header_len) {
        *ret_used = header_len + frame.left;
        return read_in_place(parser, &frame, data + header_len, ret_event);
    }
    r = frame_begin(parser, &frame);
    if (r) {
        return r;
    }
    r = payload_read(parser, data + header_len, len - header_len, &payload_len, ret_event);
    *ret_used = header_len + payload_len;
    return r;
}

int ws_parser_feed(struct ws_parser *parser, uint8_t *data, size_t len, size_t *ret_used,
                   struct ws_event *ret_event)
{
    size_t used = 0;
    int r = 0;

    if (!ws_parser_is_midway(parser)) {
        ws_parser_deinit(parser);
    }
    while (r == 0 && used < len) {
        bool in_payload = parser->midway && parser->midway->frame.left > 0;
        size_t piece = 0;
        r = (in_payload ? payload_read : frame_read)(parser, data + used, len - used, &piece,
                                                     ret_event);
        used += piece;
    }
    if (r == 0 || r == WS_EVENT) {
        *ret_used = used;
    }
    return r;
}

/* ── Frames to be sent ───────────────────────────────────────────────────────────────────────── */

static void write_big_endian(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = len; i > 0; i--) {
        at[i - 1] = value & 0xff;
        value >>= 8;
    }
}

size_t ws_frame_header(uint8_t header[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t len,
                       const uint8_t mask[4])
{
    uint8_t bits = len < LENGTH_IN_2 ? (uint8_t)len : len <= UINT16_MAX ? LENGTH_IN_2 : LENGTH_IN_8;
    size_t size = length_size(bits);

    assert(len <= INT64_MAX && (!is_control(opcode) || len <= CONTROL_MAX));
    header[0] = FIN_BIT | opcode;
    header[1] = bits | (mask ? MASK_BIT : 0);
    write_big_endian(header + 2, len, size);
    if (!mask) {
        return 2 + size;
    }
    memcpy(header + 2 + size, mask, 4);
    return 2 + size + 4;
}

void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset)
{
    uint8_t turned[4];
    uint32_t key;
    uint64_t word;

    for (size_t i = 0; i < sizeof(turned); i++) {
        turned[i] = mask[(offset + i) & 3];
    }
    memcpy(&key, turned, sizeof(key));
    for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        word ^= (uint64_t)key << 32 | key; /* both halves alike: the byte order doesn't matter */
        memcpy(data, &word, sizeof(word));
    }
    for (size_t i = 0; i < len; i++) {
        data[i] ^= turned[i & 3];
    }
}

struct bytes *ws_frame_new(enum ws_opcode opcode, const void *payload, uint32_t len)
{
    uint8_t header[WS_HEADER_MAX];
    size_t header_len = ws_frame_header(header, opcode, len, NULL);
    struct bytes *frame;

    if (len > UINT32_MAX - header_len) {
        return NULL;
    }
    frame = bytes_new((uint32_t)header_len + len);
    if (!frame) {
        return NULL;
    }
    memcpy(frame->data, header, header_len);
    if (len > 0) {
        memcpy(frame->data + header_len, payload, len);
    }
    return frame;
}

struct bytes *ws_frame_new_close(uint16_t code, const char *reason)
{
    uint8_t payload[CONTROL_MAX];
    size_t len = strlen(reason);

    assert(ws_close_code_is_valid(code) && len <= WS_CLOSE_REASON_MAX);
    write_big_endian(payload, code, 2);
    memcpy(payload + 2, reason, len);
    return ws_frame_new(WS_CLOSE, payload, 2 + (uint32_t)len);
}
