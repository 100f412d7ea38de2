/* Bytes that lie in somebody else's memory, and how they are compared and read.
 *
 * Receives   spans: a pointer and a length
 * Hands on   parts of them
 * Owns       nothing; a span lives as long as what it points into
 *
 * The functions that take something off the front of `rest` leave it as it was when they return
 * false.
 */
#ifndef PROGRESSD_COMMON_SPAN_H
#define PROGRESSD_COMMON_SPAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/result.h"

/* {NULL, 0}: there is none. */
struct span {
    const char *at;
    size_t len;
};

/* Of a string that ends in NUL. */
#define SPAN_OF(string) ((struct span){string, strlen(string)})

bool span_equals(struct span a, struct span b);
bool span_is(struct span span, const char *text);
bool span_begins_with(struct span span, const char *text);
bool span_ends_with(struct span span, const char *text);

/* Takes `text` off the front. */
bool span_take(struct span *rest, const char *text) MUST_CHECK;

/* Takes everything up to the next `end`, which stays. */
bool span_take_until(struct span *rest, char end, struct span *ret_taken) MUST_CHECK;

/* Takes a whole number from 1 to `max` without leading zeros. */
bool span_take_number(struct span *rest, uint64_t max, uint64_t *ret_number) MUST_CHECK;

#endif
