/* Counted, immutable bytes: a payload that is built once and shared by all who send it.
 *
 * Receives   a length
 * Hands on   the same bytes to any number of holders
 * Owns       its memory: one allocation, gone with the last reference
 *
 * One thread only (a worker is one loop), so the count is a plain integer. The builder writes
 * through bytes->data before anybody else holds a reference, and nobody writes afterwards.
 */
#ifndef PROGRESSD_COMMON_BYTES_H
#define PROGRESSD_COMMON_BYTES_H

#include <stdint.h>

#include "common/result.h"

struct bytes {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
};

/* `len` uninitialised bytes, one reference, the caller's; NULL when out of memory. */
struct bytes *bytes_new(uint32_t len) MUST_CHECK;

/* A copy of `len` bytes at `data`; NULL when out of memory. */
struct bytes *bytes_copy(const void *data, uint32_t len) MUST_CHECK;

/* One more reference to the same bytes. Accepts and returns NULL. */
struct bytes *bytes_ref(struct bytes *bytes);

/* Gives a reference back; the last one frees. Accepts NULL. */
void bytes_unref(struct bytes *bytes);

#endif
