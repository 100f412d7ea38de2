/* The time by Redis' clock, which makes the revs.
 *
 * Receives   a link, to ask TIME over; the loop's clock
 * Hands on   Redis' time
 * Owns       the difference between the two clocks
 *
 * Before the first answer, and when Redis refuses to tell, this machine's clock stands in for it.
 */
#ifndef PROGRESSD_BROKER_HUB_REDIS_CLOCK_H
#define PROGRESSD_BROKER_HUB_REDIS_CLOCK_H

#include "broker/redis/redis_link.h"

struct redis_clock {
    uv_loop_t *loop;
    uint64_t ahead_us; /* Redis' time minus the loop's, modulo 2^64 */
};

/* `loop` must outlive the clock, and the clock the answers to come. */
void redis_clock_init(struct redis_clock *clock, uv_loop_t *loop);

/* Asks Redis. Does nothing when the link is down. */
void redis_clock_ask(struct redis_clock *clock, struct redis_link *link);

/* Microseconds since 1970. */
uint64_t redis_clock_us(const struct redis_clock *clock);

/* The largest n that a rev may have now: the publishing function makes none that is further ahead
 * of its clock. */
uint64_t redis_clock_n_max(const struct redis_clock *clock);

#endif
