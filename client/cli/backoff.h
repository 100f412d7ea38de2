/* How long to wait before the next attempt to reach a broker: exponential, with full jitter.
 *
 * Receives   failures
 * Hands on   milliseconds
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_BACKOFF_H
#define PROGRESSD_CLIENT_CLI_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_DOUBLINGS_MAX 5

/* The longest wait before attempt `attempt`, which counts from 0. */
uint32_t backoff_limit_ms(unsigned attempt);

/* The wait: a part of that limit which `random`, any 32 random bits, draws evenly. So clients that
 * lost a broker at the same moment don't come back at the same moment. */
uint32_t backoff_ms(unsigned attempt, uint32_t random);

#endif
