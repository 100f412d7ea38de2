/* The function library (progress.lua), as Redis is to load it and as it is found there.
 *
 * Receives   the settings; the code of a library that was found
 * Hands on   the code; the version and settings in its head
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_PROGRESS_LIBRARY_H
#define PROGRESSD_PROTO_PROGRESS_LIBRARY_H

#include "common/span.h"
#include "common/text.h"

/* The function library, ready for FUNCTION LOAD, with these settings written into its head. */
#define STATE_TTL_MAX_S 31536000
#define PAYLOAD_MAX_LEAST 256
#define PAYLOAD_MAX_MOST 1048576
void progress_library(struct text *text, uint32_t state_ttl_s, uint32_t max_payload);

/* The version of this program's library, and the head of one that was found in Redis. */
#define PROGRESS_LIBRARY_NAME "progress"
struct library_head {
    uint32_t version, state_ttl_s, max_payload;
};
extern const uint32_t progress_library_version;
enum progress_library_outcome { PROGRESS_LIBRARY_INVALID = 1 };

/* 0, also for a newer version with more settings than these; or PROGRESS_LIBRARY_INVALID when the
 * code has no such head: somebody else's library. */
int progress_library_head(struct span code, struct library_head *ret_head) MUST_CHECK;

#endif
