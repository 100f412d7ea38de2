/* What is in a frame that a server sends.
 *
 * Receives   a whole unmasked frame, as ws_frame_new() makes it
 * Hands on   its payload, by the lengths of RFC 6455, 5.2
 * Owns       nothing
 */
#ifndef PROGRESSD_TESTS_SUPPORT_WS_PAYLOAD_H
#define PROGRESSD_TESTS_SUPPORT_WS_PAYLOAD_H

#include "common/bytes.h"

static inline const uint8_t *ws_payload(const struct bytes *frame, uint32_t *ret_len)
{
    const uint8_t len = frame->data[1] & 0x7f;
    const uint32_t header_len = len == 126 ? 4 : len == 127 ? 10 : 2;

    *ret_len = frame->len - header_len;
    return frame->data + header_len;
}

#endif
