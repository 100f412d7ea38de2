/* What Redis says of itself: INFO, as far as it matters here.
 *
 * Receives   INFO's text
 * Hands on   the facts in it, and what speaks against using that server
 * Owns       nothing; spans point into the text
 */
#ifndef PROGRESSD_BROKER_REDIS_REDIS_INFO_H
#define PROGRESSD_BROKER_REDIS_REDIS_INFO_H

#include <stdbool.h>

#include "common/span.h"

enum redis_mode { REDIS_STANDALONE, REDIS_SENTINEL, REDIS_CLUSTER };

struct redis_info {
    enum redis_mode mode;
    unsigned version; /* the major one; 0: it doesn't say */
    bool is_loading, is_master;
    int process_id;                       /* 0: it doesn't say */
    struct span run_id, maxmemory_policy; /* {NULL, 0}: it doesn't say */
};

void redis_info_read(struct span text, struct redis_info *ret_info);

/* Why the server can't be used, in words for the log; NULL: nothing speaks against it. */
const char *redis_info_objection(const struct redis_info *info);

/* Whether Redis may remove the state of a task to make room for another. */
bool redis_info_evicts(const struct redis_info *info);

#endif
