/* The log of messages that could not be recorded, which a wrong publisher must not flood.
 *
 * Receives   each dropped message's channel and the reason, from recorder; the time
 * Hands on   log lines: DROP_LOG_MAX in DROP_LOG_WINDOW_MS, then how many more there were
 * Owns       nothing; embedded, zeroed to begin with
 */
#ifndef PROGRESSD_BROKER_PROCESS_DROP_LOG_H
#define PROGRESSD_BROKER_PROCESS_DROP_LOG_H

#include "proto/json.h"

#define DROP_LOG_MAX 10
#define DROP_LOG_WINDOW_MS 1000

struct drop_log {
    uint64_t began_ms; /* the window of the lines counted here */
    uint32_t written, more;
};

/* Logs a message that was dropped, or counts it. */
void drop_log_add(struct drop_log *log, uint64_t now_ms, struct span channel, const char *why);

/* Says what was only counted, once its window is over. Call it now and then. */
void drop_log_tick(struct drop_log *log, uint64_t now_ms);

#endif
