/* Revisions of a task's state: "<run>-<n>".
 *
 * Receives   their text
 * Hands on   run and n; and the text again
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_REV_H
#define PROGRESSD_PROTO_REV_H

#include "common/span.h"

/* The largest n: above it a double skips numbers. */
#define REV_N_MAX ((UINT64_C(1) << 53) - 1)

/* A revision: ordered by n alone. n is microseconds since 1970 or a little more: it fits a
 * double. */
struct rev {
    char run[13]; /* base 36 of 64 bits is 13 digits at the most; not terminated by NUL */
    uint8_t run_len;
    uint64_t n;
};

/* How far ahead of Redis' clock an n is believed: as far as a clock may have been set back. The
 * same as AHEAD_MAX in progress.lua. */
#define REV_AHEAD_MAX_S 86400

/* "<run>-<n>": 13 + 1 + 20 characters and a NUL. */
#define REV_TEXT_SIZE 35
void rev_format(char buffer[REV_TEXT_SIZE], const struct rev *rev);

enum rev_outcome { REV_INVALID = 1 };

/* Reads "<run>-<n>": run 1 to 13 of 0-9 a-z, n below 2^53 without leading zeros. 0 or
 * REV_INVALID. */
int rev_parse(struct span text, struct rev *ret_rev) MUST_CHECK;

bool rev_same_run(const struct rev *a, const struct rev *b);

#endif
