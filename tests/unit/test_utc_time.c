#include <criterion/criterion.h>
#include <time.h>

#include "common/utc_time.h"

static void assert_time(uint64_t ms, const char *expected)
{
    char text[UTC_TIME_SIZE];
    utc_time_format(ms, text);
    cr_assert_str_eq(text, expected);
}

Test(utc_time, known_moments_are_shown_to_the_millisecond)
{
    assert_time(0, "1970-01-01T00:00:00.000Z");
    assert_time(951782399999, "2000-02-28T23:59:59.999Z");
    assert_time(951782400000, "2000-02-29T00:00:00.000Z");
    assert_time(1795414577123, "2026-11-23T06:16:17.123Z");
    assert_time(4107542400000, "2100-03-01T00:00:00.000Z");
    assert_time(253402300799999, "9999-12-31T23:59:59.999Z");
    assert_time(UINT64_MAX, "9999-12-31T23:59:59.999Z");
}

Test(utc_time, every_day_of_four_hundred_years_is_the_c_librarys_day)
{
    for (time_t day = 0; day < 146097 + 366; day++) {
        time_t seconds = day * 86400 + 3661;
        char text[UTC_TIME_SIZE], expected[UTC_TIME_SIZE];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        utc_time_format((uint64_t)seconds * 1000, text);
        cr_assert_str_eq(text, expected);
    }
}

Test(utc_time, http_reads_a_date_of_its_own)
{
    static const struct {
        uint64_t ms;
        const char *expected;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777999, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951827696000, "Tue, 29 Feb 2000 12:34:56 GMT"},
        {1795414577123, "Mon, 23 Nov 2026 06:16:17 GMT"},
        {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[UTC_TIME_HTTP_SIZE];
        utc_time_format_http(cases[i].ms, text);
        cr_expect_str_eq(text, cases[i].expected);
    }
}
