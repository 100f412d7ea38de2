#include <criterion/criterion.h>

#include "broker/process/respawn.h"

Test(respawn, the_first_death_is_followed_at_once)
{
    struct respawn respawn = {0};

    cr_assert_eq(respawn_pause(&respawn, 0), 0);
}

Test(respawn, early_deaths_in_a_row_double_the_pause_up_to_its_limit)
{
    static const uint64_t expected[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct respawn respawn = {0};

    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert_eq(respawn_pause(&respawn, RESPAWN_STABLE_MS - 1), expected[i], "death %zu", i);
    }
}

Test(respawn, a_process_that_lived_long_is_followed_at_once_again)
{
    struct respawn respawn = {0};

    for (int i = 0; i < 5; i++) {
        (void)!respawn_pause(&respawn, 0);
    }
    cr_assert_eq(respawn_pause(&respawn, RESPAWN_STABLE_MS), 0);
    cr_assert_eq(respawn_pause(&respawn, 0), 100);
    cr_assert_eq(respawn_pause(&respawn, 0), 200);
}
