/* What time it is, in milliseconds.
 *
 * Receives   nothing
 * Hands on   the time
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLOCK_H
#define PROGRESSD_CLIENT_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* For deadlines and distances: runs on whatever becomes of the time of day. */
static inline uint64_t now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

#endif
