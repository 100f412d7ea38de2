/* How much work one client may ask for: a token bucket.
 *
 * Receives   the work that was asked for, after it was done
 * Hands on   until when no more may be asked for; and whether the client keeps on asking too much
 * Owns       nothing
 *
 * The unit is one request about one task. A client begins with a full bucket: enough to subscribe
 * to all the tasks it may watch, and a second's worth besides. The bucket is refilled at
 * `message-rate` a second. A message that asks for more than is left is answered whole, and the
 * client waits for as long as that takes to be refilled: nothing is refused, and whoever asks for
 * too much delays only itself. A client that leaves no second's pause for ALLOWANCE_ABUSE_MS, and
 * always has more to ask than it may, is out of order.
 */
#ifndef PROGRESSD_BROKER_SESSION_ALLOWANCE_H
#define PROGRESSD_BROKER_SESSION_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"

#define ALLOWANCE_ABUSE_MS 60000

struct allowance {
    double credit;      /* units left; below 0: a debt */
    uint64_t filled_ms; /* when credit was last brought up to date */
    uint64_t
        exceeding_ms; /* since when the client asks for too much without a pause; 0: it doesn't */
};

void allowance_init(struct allowance *allowance, const struct config *config, uint64_t now_ms);

/* Takes `units` for work that was done. Returns when the client may ask for more: `now_ms`, or
 * later. */
uint64_t allowance_take(struct allowance *allowance, const struct config *config, uint64_t now_ms,
                        uint32_t units);

/* Whether the client has asked for too much for so long that it should be closed. */
bool allowance_is_abused(const struct allowance *allowance, uint64_t now_ms);

#endif
