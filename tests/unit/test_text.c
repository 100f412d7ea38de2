#include <criterion/criterion.h>
#include <string.h>

#include "common/mem.h"
#include "common/text.h"

static void assert_json_string(const void *data, size_t len, const char *expected)
{
    struct text text = TEXT_EMPTY;

    text_json_string(&text, data, len);
    cr_assert_not(text_failed(&text));
    cr_assert_str_eq(text.data, expected);
    cr_assert_eq(text.len, strlen(expected));
    text_deinit(&text);
}

Test(text, an_empty_text_holds_no_memory)
{
    struct text text = TEXT_EMPTY;

    text_append(&text, "x", 0);
    text_puts(&text, "");
    text_printf(&text, "%s", "");
    cr_assert_null(text.data);
    cr_assert_eq(text.len, 0);
    text_deinit(&text);
}

Test(text, pieces_follow_one_another_and_end_in_nul)
{
    struct text text = TEXT_EMPTY;

    text_puts(&text, "a=");
    text_printf(&text, "%d,%s", 42, "b");
    text_append(&text, "\0c", 2);
    cr_assert_eq(text.len, 8);
    cr_assert_arr_eq(text.data, "a=42,b\0c", 9);
    text_deinit(&text);
}

Test(text, every_length_around_a_growth_keeps_all_bytes)
{
    static char expected[2048];
    memset(expected, 'x', sizeof(expected));

    for (size_t len = 1; len < sizeof(expected); len++) {
        struct text text = TEXT_EMPTY;
        text_append(&text, expected, len);
        text_printf(&text, "%s", "tail");
        cr_assert_eq(text.len, len + 4);
        cr_assert_arr_eq(text.data, expected, len);
        cr_assert_str_eq(text.data + len, "tail");
        text_deinit(&text);
    }
}

Test(text, byte_by_byte_gives_the_same_as_whole)
{
    struct text text = TEXT_EMPTY;

    for (int i = 0; i < 10000; i++) {
        char c = (char)('a' + i % 26);
        text_append(&text, &c, 1);
    }
    cr_assert_eq(text.len, 10000);
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(text.data[i], 'a' + i % 26);
    }
    text_deinit(&text);
}

Test(text, a_json_string_escapes_quotes_backslashes_and_controls_only)
{
    assert_json_string("", 0, "\"\"");
    assert_json_string(NULL, 0, "\"\"");
    assert_json_string("plain/\x7f", 7, "\"plain/\x7f\"");
    assert_json_string("say \"hi\" \\ bye", 14, "\"say \\\"hi\\\" \\\\ bye\"");
    assert_json_string("\n\r\t\b\f", 5, "\"\\n\\r\\t\\u0008\\u000c\"");
    assert_json_string("\0\x1f\x20", 3, "\"\\u0000\\u001f \"");
    assert_json_string("caf\xc3\xa9 \xf0\x9f\x8e\xa7", 10, "\"caf\xc3\xa9 \xf0\x9f\x8e\xa7\"");
}

Test(text, running_out_of_memory_is_remembered_and_keeps_what_was_written)
{
    struct text text = TEXT_EMPTY;
    char big[1000];
    memset(big, 'y', sizeof(big));

    text_puts(&text, "kept");
    mem_fail_nth(1);
    text_append(&text, big, sizeof(big));
    cr_assert(text_failed(&text));
    text_puts(&text, "more"); /* would fit, but a text with a hole is of no use */
    text_printf(&text, "%d", 1);
    cr_assert_str_eq(text.data, "kept");
    cr_assert_null(text_to_bytes(&text));
    text_deinit(&text);
    cr_assert_not(text_failed(&text));
}

Test(text, a_length_beyond_all_memory_fails_without_touching_it)
{
    struct text text = TEXT_EMPTY;

    text_puts(&text, "x");
    text_append(&text, "y", SIZE_MAX);
    cr_assert(text_failed(&text));
    cr_assert_str_eq(text.data, "x");
    text_deinit(&text);
}

Test(text, counted_bytes_are_a_copy)
{
    struct text text = TEXT_EMPTY;

    struct bytes *empty = text_to_bytes(&text);
    cr_assert_eq(empty->len, 0);
    bytes_unref(empty);

    text_puts(&text, "state");
    mem_fail_nth(1);
    cr_assert_null(text_to_bytes(&text));
    struct bytes *bytes = text_to_bytes(&text);
    text_deinit(&text);
    cr_assert_eq(bytes->len, 5);
    cr_assert_arr_eq(bytes->data, "state", 5);
    bytes_unref(bytes);
}
