#include <criterion/criterion.h>

#include "broker/session/allowance.h"

static const struct config config = {.max_subscriptions = 1000, .message_rate = 100};

static struct allowance allowance_new(void)
{
    struct allowance allowance;

    allowance_init(&allowance, &config, 5000);
    return allowance;
}

Test(allowance, all_tasks_that_a_client_may_watch_can_be_subscribed_at_once)
{
    struct allowance one_by_one = allowance_new(), together = allowance_new();

    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(allowance_take(&one_by_one, &config, 5000, 1), 5000, "request %d", i);
    }
    cr_assert_eq(allowance_take(&together, &config, 5000, 1000), 5000);
}

Test(allowance, beyond_the_burst_a_client_waits_for_what_it_asked)
{
    struct allowance allowance = allowance_new();
    uint64_t more_ms;

    cr_assert_eq(allowance_take(&allowance, &config, 5000, 1099), 5000);
    more_ms = allowance_take(&allowance, &config, 5000, 1);
    cr_assert(more_ms > 5000 && more_ms <= 5020, "one unit takes a hundredth of a second");
    more_ms = allowance_take(&allowance, &config, more_ms, 500);
    cr_assert(more_ms > 9900 && more_ms <= 10100, "500 units take 5 s");
    cr_assert_eq(allowance_take(&allowance, &config, more_ms + 1000, 100), more_ms + 1000);
}

Test(allowance, a_pause_fills_the_bucket_but_not_over_its_edge)
{
    struct allowance allowance = allowance_new();

    cr_assert_eq(allowance_take(&allowance, &config, 1000000, 1099), 1000000);
    cr_assert_gt(allowance_take(&allowance, &config, 1000000, 1), 1000000);
}

/* Asks whenever it may, for `ms`. Whether it was found to be abusive. */
static bool keep_asking(struct allowance *allowance, uint64_t ms, uint64_t pause_every_ms)
{
    uint64_t now = 5000, paused = 5000;

    while (now < 5000 + ms) {
        now = allowance_take(allowance, &config, now, 1);
        if (allowance_is_abused(allowance, now)) {
            return true;
        }
        if (now - paused >= pause_every_ms) {
            paused = now += 1050;
        }
    }
    return false;
}

Test(allowance, who_never_pauses_is_abusive_after_a_minute)
{
    struct allowance patient = allowance_new(), flooding = allowance_new(), busy = allowance_new();

    cr_assert_not(keep_asking(&patient, ALLOWANCE_ABUSE_MS - 1000, UINT64_MAX));
    cr_assert(keep_asking(&flooding, ALLOWANCE_ABUSE_MS + 1000, UINT64_MAX));
    cr_assert_not(keep_asking(&busy, 10 * ALLOWANCE_ABUSE_MS, 30000));
}

Test(allowance, who_had_to_wait_once_and_is_quiet_then_is_not_abusive_later)
{
    const struct config slow = {.max_subscriptions = 1000, .message_rate = 1};
    struct allowance allowance;

    allowance_init(&allowance, &slow, 5000);
    cr_assert_gt(allowance_take(&allowance, &slow, 5000, 1001), 5000);
    for (uint64_t now = 35000; now < 1000000; now += 30000) {
        cr_assert_eq(allowance_take(&allowance, &slow, now, 1), now);
        cr_assert_not(allowance_is_abused(&allowance, now));
    }
}
