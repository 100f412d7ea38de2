/* SipHash-2-4: a hash that nobody without the key can make collide.
 *
 * Receives   a key of 16 secret bytes and any bytes
 * Hands on   64 bits
 * Owns       nothing
 *
 * As in Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef PROGRESSD_COMMON_SIPHASH_H
#define PROGRESSD_COMMON_SIPHASH_H

#include <stdint.h>

#include "common/result.h"

#define SIPHASH_KEY_LEN 16

uint64_t siphash(const uint8_t key[SIPHASH_KEY_LEN], const void *data, size_t len);

#endif
