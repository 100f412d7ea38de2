/* A point in time as people and JavaScript read it: RFC 3339, UTC, milliseconds; and as HTTP does.
 *
 * Receives   milliseconds since 1970
 * Hands on   "2026-11-23T06:16:17.123Z", "Mon, 23 Nov 2026 06:16:17 GMT"
 * Owns       nothing
 */
#ifndef PROGRESSD_COMMON_UTC_TIME_H
#define PROGRESSD_COMMON_UTC_TIME_H

#include <stdint.h>

#include "common/result.h"

#define UTC_TIME_SIZE sizeof("2026-11-23T06:16:17.123Z")

/* Writes the time and a NUL. `ms` reaches to the end of the year 9999; what is later is shown as
 * that. Takes no lock and no memory, as gmtime_r(3) may. */
void utc_time_format(uint64_t ms, char ret_text[UTC_TIME_SIZE]);

#define UTC_TIME_HTTP_SIZE sizeof("Mon, 23 Nov 2026 06:16:17 GMT")

/* The same as an IMF-fixdate (RFC 9110, 5.6.7), whatever the locale. */
void utc_time_format_http(uint64_t ms, char ret_text[UTC_TIME_HTTP_SIZE]);

#endif
