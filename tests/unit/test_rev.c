#include "proto/rev.h"

#include <criterion/criterion.h>

Test(rev, a_rev_is_read_and_written_as_the_same_text)
{
    const char *texts[] = {"hof6jnz635-1795415613426833", "0-1", "zzzzzzzzzzzzz-9007199254740991"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char buffer[REV_TEXT_SIZE];
        struct rev rev;

        cr_assert_eq(rev_parse(SPAN_OF(texts[i]), &rev), 0, "%s", texts[i]);
        rev_format(buffer, &rev);
        cr_assert_str_eq(buffer, texts[i]);
    }
}

Test(rev, what_is_no_rev_is_refused)
{
    const char *texts[] = {
        "",
        "-",
        "a",
        "a-",
        "-1",
        "a-0",
        "a-01",
        "A-1",
        "a-1x",
        "a-1 ",
        " a-1",
        "a-+1",
        "a--1",
        "a-1-",
        "a_b-1",
        "\xc3\xa4-1",
        "a-1.0",
        "zzzzzzzzzzzzzz-1",
        "a-9007199254740992",
        "a-18446744073709551617",
        "a-99999999999999999999999999",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct rev rev = {.n = 7};

        cr_assert_eq(rev_parse(SPAN_OF(texts[i]), &rev), REV_INVALID, "%s", texts[i]);
        cr_assert_eq(rev.n, 7, "%s", texts[i]);
    }
    struct rev rev;
    cr_assert_eq(rev_parse((struct span){NULL, 0}, &rev), REV_INVALID);
    cr_assert_eq(rev_parse((struct span){"a-1\0", 4}, &rev), REV_INVALID);
}

Test(rev, revs_are_of_the_same_run_whatever_their_n)
{
    struct rev a, b, longer;

    cr_assert_eq(rev_parse(SPAN_OF("abc-1"), &a), 0);
    cr_assert_eq(rev_parse(SPAN_OF("abc-2"), &b), 0);
    cr_assert_eq(rev_parse(SPAN_OF("abcd-1"), &longer), 0);
    cr_assert(rev_same_run(&a, &b));
    cr_assert_not(rev_same_run(&a, &longer));
}
