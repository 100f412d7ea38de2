#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "client/cli/timestamp.h"

static int64_t ms_of(const char *text)
{
    int64_t ms = -1;

    cr_assert_eq(timestamp_read(text, &ms), 0, "%s", text);
    return ms;
}

Test(timestamp, every_part_that_may_be_missing_may_be)
{
    cr_expect_eq(ms_of("2026-11-23T06:16Z"), INT64_C(1795414560000));
    cr_expect_eq(ms_of("2026-11-23T06:16:17Z"), INT64_C(1795414577000));
    cr_expect_eq(ms_of("2026-11-23T06:16:17.123Z"), INT64_C(1795414577123));
    cr_expect_eq(ms_of("2026-11-23T06:16:17.5Z"), INT64_C(1795414577500));
    cr_expect_eq(ms_of("2026-11-23T06:16:17.123456789Z"), INT64_C(1795414577123));
    cr_expect_eq(ms_of("1970-01-01T00:00Z"), 0);
}

Test(timestamp, the_zone_counts)
{
    cr_expect_eq(ms_of("2026-11-23T07:46:17+01:30"), INT64_C(1795414577000));
    cr_expect_eq(ms_of("2026-11-22T20:16:17-10:00"), INT64_C(1795414577000));
}

Test(timestamp, without_a_zone_it_is_local_time)
{
    setenv("TZ", "XXX-2", 1);
    tzset();
    cr_expect_eq(ms_of("2026-11-23T08:16:17"), INT64_C(1795414577000));
}

Test(timestamp, anything_else_is_refused)
{
    static const char *const bad[] = {
        "",
        "2026-11-23",
        "2026-11-23T06",
        "2026-11-23 06:16Z",
        "2026-11-23T06:1",
        "2026-11-23T06:16:",
        "2026-11-23T06:16:17.Z",
        "2026-11-23T06:16:17Zx",
        "2026-11-23T06:16:17+1",
        "2026-11-23T06:16:17+0100",
        "26-11-23T06:16Z",
        "-026-11-23T06:16Z",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = 7;

        cr_expect_eq(timestamp_read(bad[i], &ms), TIMESTAMP_INVALID, "%s", bad[i]);
        cr_expect_eq(ms, 7);
    }
}
