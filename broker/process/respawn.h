/* When a process that ended is started again: at once, unless it keeps dying.
 *
 * Receives   how long a process lived
 * Hands on   how long to wait before its next start
 * Owns       nothing; the state is the caller's, zeroed to begin with
 */
#ifndef PROGRESSD_BROKER_PROCESS_RESPAWN_H
#define PROGRESSD_BROKER_PROCESS_RESPAWN_H

#include <stdint.h>

#include "common/result.h"

#define RESPAWN_FIRST_PAUSE_MS 100
#define RESPAWN_MAX_PAUSE_MS 10000

/* A process that lived for so long had a good start: its end has nothing to do with the last. */
#define RESPAWN_STABLE_MS 10000

struct respawn {
    uint64_t next_pause_ms;
};

/* The pause before the next start, in milliseconds: 0; and while the process keeps dying before
 * RESPAWN_STABLE_MS, RESPAWN_FIRST_PAUSE_MS, doubling to RESPAWN_MAX_PAUSE_MS. */
uint64_t respawn_pause(struct respawn *respawn, uint64_t lived_ms) MUST_CHECK;

#endif
