#include "common/span.h"

#include <criterion/criterion.h>

Test(span, compares_all_of_it)
{
    const struct span none = {NULL, 0};

    cr_assert(span_is(SPAN_OF("ab"), "ab"));
    cr_assert_not(span_is(SPAN_OF("ab"), "a"));
    cr_assert_not(span_is(SPAN_OF("ab"), "aB"));
    cr_assert(span_is(none, ""));
    cr_assert(span_equals(none, SPAN_OF("")));
    cr_assert(span_begins_with(SPAN_OF("ab"), "a"));
    cr_assert_not(span_begins_with(SPAN_OF("a"), "ab"));
    cr_assert(span_ends_with(SPAN_OF("ab"), "b"));
    cr_assert_not(span_ends_with(SPAN_OF("b"), "ab"));
}

Test(span, is_taken_from_the_front_or_stays_as_it_was)
{
    struct span rest = SPAN_OF("head:12-");
    struct span taken;
    uint64_t number;

    cr_assert_not(span_take(&rest, "tail"));
    cr_assert_not(span_take_until(&rest, '?', &taken));
    cr_assert_not(span_take_number(&rest, 99, &number));
    cr_assert(span_is(rest, "head:12-"));
    cr_assert(span_take_until(&rest, ':', &taken));
    cr_assert(span_is(taken, "head"));
    cr_assert(span_take(&rest, ":"));
    cr_assert(span_take_number(&rest, 99, &number));
    cr_assert_eq(number, 12);
    cr_assert(span_is(rest, "-"));
}

Test(span, takes_numbers_from_1_to_the_largest_allowed)
{
    static const struct {
        const char *text;
        uint64_t max, number; /* 0: refused */
    } cases[] = {
        {"1", 1, 1},
        {"2", 1, 0},
        {"0", 9, 0},
        {"01", 9, 0},
        {"", 9, 0},
        {"-1", 9, 0},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, 0},
        {"100", 99, 0},
        {"99", 99, 99},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span rest = SPAN_OF(cases[i].text);
        uint64_t number = 0;

        cr_assert_eq(span_take_number(&rest, cases[i].max, &number), cases[i].number > 0, "%s",
                     cases[i].text);
        cr_assert_eq(number, cases[i].number, "%s", cases[i].text);
    }
}
