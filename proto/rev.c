#include "proto/rev.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

void rev_format(char buffer[REV_TEXT_SIZE], const struct rev *rev)
{
    snprintf(buffer, REV_TEXT_SIZE, "%.*s-%" PRIu64, rev->run_len, rev->run, rev->n);
}

int rev_parse(struct span text, struct rev *ret_rev)
{
    struct rev rev = {0};
    struct span run;

    if (!span_take_until(&text, '-', &run) || run.len == 0 || run.len > sizeof(rev.run)) {
        return REV_INVALID;
    }
    for (size_t i = 0; i < run.len; i++) {
        if (!is_digit(run.at[i]) && !is_lower(run.at[i])) {
            return REV_INVALID;
        }
    }
    if (!span_take(&text, "-") || !span_take_number(&text, REV_N_MAX, &rev.n) || text.len > 0) {
        return REV_INVALID;
    }
    memcpy(rev.run, run.at, run.len);
    rev.run_len = (uint8_t)run.len;
    *ret_rev = rev;
    return 0;
}

bool rev_same_run(const struct rev *a, const struct rev *b)
{
    return a->run_len == b->run_len && memcmp(a->run, b->run, a->run_len) == 0;
}
