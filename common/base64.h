/* Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs without.
 *
 * Receives   bytes or text
 * Hands on   the other form
 * Owns       nothing
 */
#ifndef PROGRESSD_COMMON_BASE64_H
#define PROGRESSD_COMMON_BASE64_H

#include <stdint.h>

#include "common/result.h"

enum base64_alphabet {
    BASE64_STANDARD, /* + and /, padded with = */
    BASE64_URL,      /* - and _, not padded (RFC 7515, 2) */
};

/* Room for `len` encoded bytes with a NUL behind, and for `len` decoded characters. */
#define BASE64_ENCODED_SIZE(len) (((len) + 2) / 3 * 4 + 1)
#define BASE64_DECODED_SIZE(len) ((len) / 4 * 3 + 3)

/* Writes the text, with a NUL behind, into BASE64_ENCODED_SIZE(len) characters; its length. */
size_t base64_encode(enum base64_alphabet alphabet, const void *data, size_t len, char *buffer);

enum base64_outcome { BASE64_INVALID = 1 };

/* Decodes into BASE64_DECODED_SIZE(len) bytes. 0 and *ret_len, or BASE64_INVALID for characters
 * outside the alphabet, padding that is missing or too much, an impossible length, and bits that
 * are left over but not zero: each sequence of bytes has one text alone. */
int base64_decode(enum base64_alphabet alphabet, const char *text, size_t len, uint8_t *buffer,
                  size_t *ret_len) MUST_CHECK;

#endif
