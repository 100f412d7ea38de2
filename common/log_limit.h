/* How many lines of each kind the log takes: what floods is counted instead of written.
 *
 * Receives   the module and message of each line, and the time
 * Hands on   whether the line may be written; how many were not, kind by kind
 * Owns       nothing on the heap; embedded, zeroed to begin with
 *
 * A kind is a module and a message, both string literals, so their number is that of the places in
 * the code that log. Each kind may write LOG_LIMIT_BURST lines at once, and one more every
 * LOG_LIMIT_INTERVAL_MS. Kinds beyond LOG_LIMIT_KINDS share one allowance.
 */
#ifndef PROGRESSD_COMMON_LOG_LIMIT_H
#define PROGRESSD_COMMON_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

#define LOG_LIMIT_BURST 20
#define LOG_LIMIT_INTERVAL_MS 1000
#define LOG_LIMIT_REPORT_MS 5000 /* from the first line left out to the report of how many */
#define LOG_LIMIT_KINDS 127

struct log_limit_kind {
    const char *module, *message; /* NULL: free, or the kind that many share */
    int level;                    /* of the line left out last */
    uint64_t full_ms;             /* when the whole burst is free again */
    uint64_t left_out;            /* since the last report */
    uint64_t report_ms;           /* when to report them */
};

struct log_limit {
    struct log_limit_kind kinds[LOG_LIMIT_KINDS + 1]; /* the last one is shared */
    uint64_t left_out;                                /* of all kinds: 0, nothing to report */
};

/* Whether a line may be written; if not it is counted. */
bool log_limit_admit(struct log_limit *limit, uint64_t now_ms, int level, const char *module,
                     const char *message);

/* A kind whose report is due (`all`: any that has something to report), or NULL. */
struct log_limit_kind *log_limit_due(struct log_limit *limit, uint64_t now_ms, bool all);

/* The kind's lines left out have been reported. */
void log_limit_reported(struct log_limit *limit, struct log_limit_kind *kind);

#endif
