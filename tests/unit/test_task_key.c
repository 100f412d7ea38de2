#include "proto/task_key.h"

#include <criterion/criterion.h>

Test(task_key, a_task_id_has_1_to_128_of_its_characters)
{
    char longest[TASK_ID_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    cr_assert(task_id_is_valid("a", 1));
    cr_assert(task_id_is_valid("AZaz09._~:-", 11));
    cr_assert(task_id_is_valid(longest, TASK_ID_MAX));
    cr_assert_not(task_id_is_valid(longest, TASK_ID_MAX + 1));
    cr_assert_not(task_id_is_valid("", 0));
}

Test(task_key, a_step_within_a_path_is_no_task_id_but_may_begin_one)
{
    cr_assert_not(task_id_is_valid(".", 1));
    cr_assert_not(task_id_is_valid("..", 2));
    cr_assert(task_id_is_valid("...", 3));
    cr_assert(task_id_is_valid(".a", 2));
    cr_assert(task_id_is_valid("a.", 2));
    cr_assert(task_id_beginning_is_valid(".", 1));
    cr_assert(task_id_beginning_is_valid("..", 2));
    cr_assert_not(task_id_beginning_is_valid("/", 1));
}

Test(task_key, of_all_bytes_only_those_66_are_in_a_task_id)
{
    const char *others = "._~:-";

    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        bool expected = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                        (c >= 'a' && c <= 'z') || (c != '\0' && strchr(others, c));
        cr_assert_eq(task_id_beginning_is_valid(&c, 1), expected, "byte %d", byte);
    }
}

Test(task_key, a_prefix_ends_in_its_only_colon)
{
    char longest[PREFIX_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    longest[PREFIX_MAX - 1] = longest[PREFIX_MAX] = ':';
    cr_assert(prefix_is_valid("progress:", 9));
    cr_assert(prefix_is_valid("A-z_09:", 7));
    cr_assert(prefix_is_valid(longest, PREFIX_MAX));
    longest[PREFIX_MAX - 1] = 'x';
    cr_assert_not(prefix_is_valid(longest, PREFIX_MAX + 1));
    cr_assert_not(prefix_is_valid("", 0));
    cr_assert_not(prefix_is_valid(":", 1));
    cr_assert_not(prefix_is_valid("progress", 8));
    cr_assert_not(prefix_is_valid("a:b:", 4));
    cr_assert_not(prefix_is_valid("a*:", 3));
    cr_assert_not(prefix_is_valid("a\0:", 3));
}

Test(task_key, the_task_id_of_a_key_is_what_follows_its_prefix)
{
    cr_assert(span_is(task_id_of_key(SPAN_OF("progress:a:b"), "progress:"), "a:b"));
    cr_assert_null(task_id_of_key(SPAN_OF("progress:"), "progress:").at);
    cr_assert_null(task_id_of_key(SPAN_OF("progress"), "progress:").at);
    cr_assert_null(task_id_of_key(SPAN_OF("other:a"), "progress:").at);
    cr_assert_null(task_id_of_key(SPAN_OF("progress:!recorder"), "progress:").at);
    cr_assert_null(task_id_of_key((struct span){NULL, 0}, "progress:").at);
}
