#include <criterion/criterion.h>
#include <stdio.h>

#include "common/log_limit.h"

static struct log_limit limit;

/* How many of `count` lines are written. */
static unsigned written(uint64_t now_ms, unsigned count, const char *message)
{
    unsigned admitted = 0;

    for (unsigned i = 0; i < count; i++) {
        admitted += log_limit_admit(&limit, now_ms, 1, "hub", message);
    }
    return admitted;
}

Test(log_limit, a_burst_is_written_and_then_one_line_an_interval)
{
    cr_assert_eq(written(5000, 100, "a"), LOG_LIMIT_BURST);
    cr_assert_eq(written(5000 + LOG_LIMIT_INTERVAL_MS - 1, 100, "a"), 0);
    cr_assert_eq(written(5000 + LOG_LIMIT_INTERVAL_MS, 100, "a"), 1);
    cr_assert_eq(written(5000 + 4 * LOG_LIMIT_INTERVAL_MS, 100, "a"), 3);
    cr_assert_eq(written(1000000, 100, "a"), LOG_LIMIT_BURST);
}

Test(log_limit, kinds_are_told_apart_by_module_and_message)
{
    cr_assert_eq(written(0, 100, "a"), LOG_LIMIT_BURST);
    cr_assert_eq(written(0, 100, "b"), LOG_LIMIT_BURST);
    cr_assert(log_limit_admit(&limit, 0, 1, "link", "a"));
}

Test(log_limit, what_was_left_out_is_reported_once_and_by_kind)
{
    (void)written(1000, LOG_LIMIT_BURST, "a");
    cr_assert_null(log_limit_due(&limit, 1000, true), "nothing was left out");
    (void)written(1000, 7, "a");
    (void)written(2000, LOG_LIMIT_BURST + 2, "b");
    cr_assert_null(log_limit_due(&limit, 1000 + LOG_LIMIT_REPORT_MS - 1, false));
    struct log_limit_kind *kind = log_limit_due(&limit, 1000 + LOG_LIMIT_REPORT_MS, false);
    cr_assert_str_eq(kind->message, "a");
    cr_assert_eq(kind->left_out, 7);
    log_limit_reported(&limit, kind);
    cr_assert_null(log_limit_due(&limit, 1000 + LOG_LIMIT_REPORT_MS, false));
    kind = log_limit_due(&limit, 2000, true);
    cr_assert_str_eq(kind->message, "b");
    cr_assert_eq(kind->left_out, 2);
    log_limit_reported(&limit, kind);
    cr_assert_null(log_limit_due(&limit, UINT64_MAX, true));
}

Test(log_limit, more_kinds_than_places_share_one_allowance)
{
    static char names[LOG_LIMIT_KINDS + 50][8];

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof(names[i]), "%u", i);
    }
    for (unsigned i = 0; i < LOG_LIMIT_KINDS; i++) {
        cr_assert_eq(written(0, 1, names[i]), 1);
    }
    unsigned admitted = 0;
    for (unsigned i = LOG_LIMIT_KINDS; i < ARRAY_LEN(names); i++) {
        admitted += written(0, 1, names[i]);
    }
    cr_assert_eq(admitted, LOG_LIMIT_BURST);
    cr_assert_null(log_limit_due(&limit, 0, true)->message);
}
