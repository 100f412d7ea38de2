#include "common/utc_time.h"

#include <stdio.h>

#define DAY_MS UINT64_C(86400000)
#define LAST_MS UINT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

struct date {
    unsigned year, month, day; /* month and day from 1 */
};

/* The Gregorian calendar repeats every 400 years. A year that begins with March ends with the
 * leap day, so that its months begin at the same days always. */
static struct date date_of_day(unsigned days_since_1970)
{
    unsigned days = days_since_1970 + 719468; /* since March 1st of the year 0 */
    unsigned era = days / 146097, in_era = days % 146097;
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned months_after_march = (5 * in_year + 2) / 153;

    struct date date = {
        .year = era * 400 + year,
        .month = months_after_march + 3,
        .day = in_year - (153 * months_after_march + 2) / 5 + 1,
    };
    if (date.month > 12) {
        date.month -= 12;
        date.year++;
    }
    return date;
}

void utc_time_format(uint64_t ms, char ret_text[UTC_TIME_SIZE])
{
    if (ms > LAST_MS) {
        ms = LAST_MS;
    }
    struct date date = date_of_day((unsigned)(ms / DAY_MS));
    unsigned in_day = (unsigned)(ms % DAY_MS);

    /* The remainders are for the compiler, which then sees that it fits. */
    snprintf(ret_text, UTC_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", date.year % 10000,
             date.month % 100, date.day % 100, in_day / 3600000 % 24, in_day / 60000 % 60,
             in_day / 1000 % 60, in_day % 1000);
}

void utc_time_format_http(uint64_t ms, char ret_text[UTC_TIME_HTTP_SIZE])
{
    static const char weekdays[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    if (ms > LAST_MS) {
        ms = LAST_MS;
    }
    unsigned day = (unsigned)(ms / DAY_MS), in_day = (unsigned)(ms % DAY_MS);
    struct date date = date_of_day(day);

    snprintf(ret_text, UTC_TIME_HTTP_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", weekdays[day % 7],
             date.day % 100, months[date.month - 1], date.year % 10000, in_day / 3600000 % 24,
             in_day / 60000 % 60, in_day / 1000 % 60);
}
