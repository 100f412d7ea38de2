#include "client/cli/timestamp.h"

#include <stdbool.h>
#include <time.h>

/* Reads exactly `digits` digits and moves *at behind them. */
static bool timestamp_read_digits(const char **at, int digits, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < digits; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9') {
            return false;
        }
        number = number * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    *ret_number = number;
    return true;
}

static bool skip(const char **at, char expected)
{
    if (**at != expected) {
        return false;
    }
    (*at)++;
    return true;
}

static bool read_date(const char **at, struct tm *tm)
{
    bool good = timestamp_read_digits(at, 4, &tm->tm_year) && skip(at, '-') &&
                timestamp_read_digits(at, 2, &tm->tm_mon) && skip(at, '-') &&
                timestamp_read_digits(at, 2, &tm->tm_mday) && skip(at, 'T');

    tm->tm_year -= 1900;
    tm->tm_mon--;
    return good;
}

/* Seconds and their fraction, which may be missing. */
static bool read_seconds(const char **at, struct tm *tm, int *ret_ms)
{
    *ret_ms = 0;
    if (!skip(at, ':')) {
        return true;
    }
    if (!timestamp_read_digits(at, 2, &tm->tm_sec)) {
        return false;
    }
    if (skip(at, '.')) {
        int weight = 100, digit, count = 0;

        for (; timestamp_read_digits(at, 1, &digit); count++, weight /= 10) {
            *ret_ms += digit * weight;
        }
        return count > 0;
    }
    return true;
}

/* The zone, and what lies before it as seconds since 1970. */
static bool read_zone(const char *at, struct tm *tm, time_t *ret_time)
{
    int hours = 0, minutes = 0, sign = *at == '-' ? -1 : 1;

    if (*at == '\0') {
        tm->tm_isdst = -1;
        *ret_time = mktime(tm);
        return true;
    }
    if (!skip(&at, 'Z') &&
        ((!skip(&at, '+') && !skip(&at, '-')) || !timestamp_read_digits(&at, 2, &hours) ||
         !skip(&at, ':') || !timestamp_read_digits(&at, 2, &minutes))) {
        return false;
    }
    *ret_time = timegm(tm) - sign * (hours * 3600 + minutes * 60);
    return *at == '\0';
}

int timestamp_read(const char *text, int64_t *ret_ms)
{
    struct tm tm = {0};
    time_t seconds;
    int ms;

    if (!read_date(&text, &tm) || !timestamp_read_digits(&text, 2, &tm.tm_hour) ||
        !skip(&text, ':') || !timestamp_read_digits(&text, 2, &tm.tm_min) ||
        !read_seconds(&text, &tm, &ms) || !read_zone(text, &tm, &seconds)) {
        return TIMESTAMP_INVALID;
    }
    *ret_ms = (int64_t)seconds * 1000 + ms;
    return 0;
}
