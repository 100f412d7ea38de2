#include "broker/session/allowance.h"

static double allowance_burst(const struct config *config)
{
    return (double)config->max_subscriptions + (double)config->message_rate;
}

static void allowance_fill(struct allowance *allowance, const struct config *config,
                           uint64_t now_ms)
{
    const double burst = allowance_burst(config);

    allowance->credit +=
        (double)config->message_rate * (double)(now_ms - allowance->filled_ms) / 1000;
    allowance->filled_ms = now_ms;
    if (allowance->credit > burst) {
        allowance->credit = burst;
    }
}

void allowance_init(struct allowance *allowance, const struct config *config, uint64_t now_ms)
{
    *allowance = (struct allowance){.credit = allowance_burst(config), .filled_ms = now_ms};
}

uint64_t allowance_take(struct allowance *allowance, const struct config *config, uint64_t now_ms,
                        uint32_t units)
{
    allowance_fill(allowance, config, now_ms);
    if (allowance->credit >= 1 + (double)config->message_rate) {
        allowance->exceeding_ms = 0; /* it was quiet for a second */
    }
    allowance->credit -= (double)units;
    if (allowance->credit >= 1) {
        return now_ms;
    }
    if (allowance->exceeding_ms == 0) {
        allowance->exceeding_ms = now_ms;
    }
    return now_ms + 1 + (uint64_t)((1 - allowance->credit) * 1000 / (double)config->message_rate);
}

bool allowance_is_abused(const struct allowance *allowance, uint64_t now_ms)
{
    return allowance->exceeding_ms > 0 && now_ms - allowance->exceeding_ms >= ALLOWANCE_ABUSE_MS;
}
