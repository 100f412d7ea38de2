#include "client/publisher/speed.h"

#include <criterion/criterion.h>

Test(speed, is_not_known_at_first)
{
    struct speed speed = {0};

    cr_assert_float_eq(speed_after(&speed, 0, 1000), -1, 1e-9);
    cr_assert_float_eq(speed_after(&speed, 500, 1000 + SPEED_LOOK_MS - 1), -1, 1e-9);
    cr_assert_float_eq(speed_after(&speed, 500, 1500), 1000, 1e-9);
}

Test(speed, follows_a_change_within_seconds)
{
    struct speed speed = {0};
    uint64_t bytes = 0, now_ms = 0;

    for (; now_ms < 60000; now_ms += 200, bytes += 200) {
        speed_after(&speed, bytes, now_ms);
    }
    cr_assert_float_eq(speed_after(&speed, bytes, now_ms), 1000, 1);
    for (; now_ms < 80000; now_ms += 200, bytes += 400) {
        speed_after(&speed, bytes, now_ms);
    }
    cr_assert_float_eq(speed_after(&speed, bytes, now_ms), 2000, 50);
}

Test(speed, stays_for_updates_that_come_too_fast)
{
    struct speed speed = {0};

    speed_after(&speed, 0, 0);
    cr_assert_float_eq(speed_after(&speed, 1000, 1000), 1000, 1e-9);
    cr_assert_float_eq(speed_after(&speed, 900000, 1001), 1000, 1e-9);
}

Test(speed, begins_anew_when_bytes_fall)
{
    struct speed speed = {0};

    speed_after(&speed, 0, 0);
    speed_after(&speed, 1000, 1000);
    cr_assert_float_eq(speed_after(&speed, 10, 2000), -1, 1e-9);
    cr_assert_float_eq(speed_after(&speed, 20, 3000), 10, 1e-9);
}

Test(speed, is_zero_while_nothing_moves)
{
    struct speed speed = {0};

    speed_after(&speed, 5, 0);
    cr_assert_float_eq(speed_after(&speed, 5, 1000), 0, 1e-9);
}
