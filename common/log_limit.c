#include "common/log_limit.h"

#include <string.h>

#define BURST_MS ((uint64_t)LOG_LIMIT_BURST * LOG_LIMIT_INTERVAL_MS)

/* FNV-1a, 32 bits. */
static uint32_t hash(uint32_t seed, const char *text)
{
    for (; *text; text++) {
        seed = (seed ^ (unsigned char)*text) * 16777619u;
    }
    return seed;
}

/* The kind of these lines; a free place becomes it, and without one it is the shared kind. */
static struct log_limit_kind *kind_of(struct log_limit *limit, const char *module,
                                      const char *message)
{
    uint32_t start = hash(hash(2166136261u, module), message) % LOG_LIMIT_KINDS;

    for (uint32_t i = 0; i < LOG_LIMIT_KINDS; i++) {
        struct log_limit_kind *kind = &limit->kinds[(start + i) % LOG_LIMIT_KINDS];
        if (!kind->message) {
            kind->module = module;
            kind->message = message;
            return kind;
        }
        if (strcmp(kind->message, message) == 0 && strcmp(kind->module, module) == 0) {
            return kind;
        }
    }
    return &limit->kinds[LOG_LIMIT_KINDS];
}

bool log_limit_admit(struct log_limit *limit, uint64_t now_ms, int level, const char *module,
                     const char *message)
{
    struct log_limit_kind *kind = kind_of(limit, module, message);
    uint64_t full_ms = kind->full_ms > now_ms ? kind->full_ms : now_ms;

    if (full_ms - now_ms + LOG_LIMIT_INTERVAL_MS <= BURST_MS) {
        kind->full_ms = full_ms + LOG_LIMIT_INTERVAL_MS;
        return true;
    }
    if (kind->left_out == 0) {
        kind->report_ms = now_ms + LOG_LIMIT_REPORT_MS;
    }
    kind->level = level;
    kind->left_out++;
    limit->left_out++;
    return false;
}

struct log_limit_kind *log_limit_due(struct log_limit *limit, uint64_t now_ms, bool all)
{
    if (limit->left_out == 0) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(limit->kinds); i++) {
        struct log_limit_kind *kind = &limit->kinds[i];
        if (kind->left_out > 0 && (all || now_ms >= kind->report_ms)) {
            return kind;
        }
    }
    return NULL;
}

void log_limit_reported(struct log_limit *limit, struct log_limit_kind *kind)
{
    limit->left_out -= kind->left_out;
    kind->left_out = 0;
}
