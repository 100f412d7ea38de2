/* How fast a job is, from the bytes it tells: an average in which what is older fades.
 *
 * Receives   how many bytes are done
 * Hands on   bytes a second
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_SPEED_H
#define PROGRESSD_CLIENT_SPEED_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define SPEED_FADES_S 5
#define SPEED_LOOK_MS 100 /* what comes sooner tells too little */

/* All zero: nothing is known. */
struct speed {
    bool begun;
    uint64_t bytes, at_ms;
    double seconds_seen, average;
};

/* The speed now, or -1 while it isn't known. */
static inline double speed_after(struct speed *speed, uint64_t bytes, uint64_t now_ms)
{
    if (!speed->begun || bytes < speed->bytes) {
        *speed = (struct speed){.begun = true, .bytes = bytes, .at_ms = now_ms};
    } else if (now_ms - speed->at_ms >= SPEED_LOOK_MS) {
        const double seconds = (double)(now_ms - speed->at_ms) / 1000;
        const double rate = (double)(bytes - speed->bytes) / seconds;

        /* Young averages are plain ones: what was seen so far weighs no more than its time. */
        speed->seconds_seen += seconds;
        const double fades = fmin(speed->seconds_seen, SPEED_FADES_S);
        speed->average += (rate - speed->average) * fmin(1, seconds / fades);
        speed->bytes = bytes;
        speed->at_ms = now_ms;
    }
    return speed->seconds_seen > 0 ? speed->average : -1;
}

#endif
