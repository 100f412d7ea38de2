#include <criterion/criterion.h>
#include <locale.h>

#include "client/cli/printable.h"

static const char *shown(const char *source, size_t columns, bool utf8, size_t expected_columns)
{
    static struct text text;

    text_deinit(&text);
    cr_expect_eq(printable_append(&text, source, columns, utf8), expected_columns, "%s", source);
    return text.data ? text.data : "";
}

Test(printable, plain_text_passes)
{
    cr_expect_str_eq(shown("transcribing", 80, true, 12), "transcribing");
    cr_expect_str_eq(shown("", 80, true, 0), "");
}

Test(printable, nothing_that_moves_a_cursor_passes)
{
    cr_expect_str_eq(shown("a\x1b[31mb\n\r\t\x7f", 80, true, 11), "a?[31mb????");
    cr_expect_str_eq(shown("a\xc2\x9b"
                           "1m",
                           80, true, 4),
                     "a?1m");
    cr_expect_str_eq(shown("a\xe2\x80\xae"
                           "b",
                           80, true, 3),
                     "a?b");
}

Test(printable, bytes_that_are_no_utf8_are_questions)
{
    cr_expect_str_eq(shown("a\xff\xc3", 80, true, 3), "a??");
    cr_expect_str_eq(shown("\xe2\x82", 80, true, 2), "??");
}

Test(printable, ascii_terminals_get_ascii)
{
    cr_expect_str_eq(shown("caf\xc3\xa9 \xe2\x9c\x93", 80, false, 6), "caf? ?");
}

Test(printable, wide_characters_take_two_columns)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    cr_expect_str_eq(shown("日本", 80, true, 4), "日本");
    cr_expect_str_eq(shown("日本語", 4, true, 3), "日…");
}

Test(printable, what_is_too_long_is_cut_and_says_so)
{
    cr_expect_str_eq(shown("transcribing", 12, true, 12), "transcribing");
    cr_expect_str_eq(shown("transcribing", 5, true, 5), "tran…");
    cr_expect_str_eq(shown("transcribing", 5, false, 5), "tran~");
    cr_expect_str_eq(shown("transcribing", 1, false, 1), "~");
    cr_expect_str_eq(shown("transcribing", 0, true, 0), "");
}
