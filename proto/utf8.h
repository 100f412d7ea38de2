/* UTF-8 (RFC 3629), checked as it arrives.
 *
 * Receives   bytes in any pieces
 * Hands on   whether they may still be, and whether they are, valid text
 * Owns       nothing; the state is the caller's four bytes
 */
#ifndef PROGRESSD_PROTO_UTF8_H
#define PROGRESSD_PROTO_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

/* UTF8_ACCEPT (0): between characters, the state to begin with. UTF8_REJECT: invalid, for good.
 * Anything else: within a character. */
#define UTF8_ACCEPT 0u
#define UTF8_REJECT 6u

/* Goes on from `state` over `len` bytes, and returns the new state. It rejects at the first byte
 * that no valid continuation has. Plain ASCII is passed sixteen bytes at a time. */
uint32_t utf8_check(uint32_t state, const void *data, size_t len) MUST_CHECK;

/* Whether `len` bytes are whole, valid text. */
static inline bool utf8_is_valid(const void *data, size_t len)
{
    return utf8_check(UTF8_ACCEPT, data, len) == UTF8_ACCEPT;
}

#endif
