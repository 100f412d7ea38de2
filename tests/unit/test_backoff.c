#include <criterion/criterion.h>

#include "client/cli/backoff.h"

Test(backoff, the_limit_begins_at_a_second_and_doubles_up_to_a_bound)
{
    static const uint32_t limits[] = {1000, 2000, 4000, 8000, 16000, 32000, 32000, 32000};

    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        cr_expect_eq(backoff_limit_ms(i), limits[i], "attempt %u", i);
    }
    cr_expect_eq(backoff_limit_ms(UINT32_MAX), 32000);
}

Test(backoff, the_wait_is_drawn_from_the_whole_range_below_the_limit)
{
    cr_expect_eq(backoff_ms(0, 0), 0);
    cr_expect_eq(backoff_ms(0, UINT32_MAX / 2 + 1), 500);
    cr_expect_eq(backoff_ms(0, UINT32_MAX), 999);
    cr_expect_eq(backoff_ms(4, UINT32_MAX), 15999);
    cr_expect_eq(backoff_ms(99, UINT32_MAX), 31999);
}
