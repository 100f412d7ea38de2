#include <criterion/criterion.h>
#include <string.h>

#include "proto/http_target.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

static bool is_text(struct span span, const char *text)
{
    return text ? span.at && span.len == strlen(text) && memcmp(span.at, text, span.len) == 0
                : !span.at;
}

Test(http_target, a_target_is_divided_at_its_first_question_mark)
{
    struct http_target target;

    cr_assert_null(http_target_divide(SPAN("/a/b"), &target));
    cr_assert(is_text(target.path, "/a/b") && is_text(target.query, NULL));
    cr_assert_null(http_target_divide(SPAN("/a?b?c"), &target));
    cr_assert(is_text(target.path, "/a") && is_text(target.query, "b?c"));
    cr_assert_null(http_target_divide(SPAN("/?"), &target));
    cr_assert(is_text(target.path, "/") && is_text(target.query, ""));
}

Test(http_target, of_a_url_path_and_query_are_taken)
{
    struct http_target target;

    cr_assert_null(http_target_divide(SPAN("Http://a.b:80/c?d"), &target));
    cr_assert(is_text(target.path, "/c") && is_text(target.query, "d"));
    cr_assert_null(http_target_divide(SPAN("https://a?d/e"), &target));
    cr_assert(is_text(target.path, "/") && is_text(target.query, "d/e"));
}

Test(http_target, other_targets_are_refused_and_nothing_is_returned)
{
    static const struct span cases[] = {
        SPAN("a"),       SPAN("?a"),     SPAN("*"),  SPAN("a:80"), SPAN("http:/"),
        SPAN("http://"), SPAN("ws://a"), SPAN("/#"), SPAN("/?#"),
    };
    struct http_target target = {SPAN("untouched"), {NULL, 0}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_not_null(http_target_divide(cases[i], &target), "%s", cases[i].at);
        cr_expect(is_text(target.path, "untouched"));
    }
}

Test(http_target, percent_encoding_is_undone_once)
{
    static const struct {
        struct span text, decoded;
    } cases[] = {
        {SPAN(""), SPAN("")},
        {SPAN("a+b"), SPAN("a+b")},
        {SPAN("%61%3A%3a%2F"), SPAN("a::/")},
        {SPAN("%2561"), SPAN("%61")},
        {SPAN("%00%ff"), SPAN("\0\xff")},
    };
    char buffer[8];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = SIZE_MAX;
        cr_assert_eq(http_percent_decode(cases[i].text, buffer, sizeof(buffer), &len), 0);
        cr_assert_eq(len, cases[i].decoded.len);
        cr_assert_arr_eq(buffer, cases[i].decoded.at, len);
    }
}

Test(http_target, broken_escapes_are_refused)
{
    static const struct span cases[] = {
        SPAN("%"),    SPAN("a%"),   SPAN("%6"),  SPAN("%6g"),    SPAN("%g6"),
        SPAN("%%61"), SPAN("% 61"), SPAN("%-1"), SPAN("%u0041"),
    };
    char buffer[8];
    size_t len = 77;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(http_percent_decode(cases[i], buffer, sizeof(buffer), &len), HTTP_TARGET_BAD,
                     "%s", cases[i].at);
    }
    cr_expect_eq(len, 77);
}

Test(http_target, a_result_that_does_not_fit_is_refused)
{
    char buffer[3];
    size_t len;

    cr_assert_eq(http_percent_decode(SPAN("a%62c"), buffer, sizeof(buffer), &len), 0);
    cr_assert_eq(len, 3);
    cr_assert_eq(http_percent_decode(SPAN("abcd"), buffer, sizeof(buffer), &len), HTTP_TARGET_BAD);
    cr_assert_eq(http_percent_decode(SPAN("abc%64"), buffer, sizeof(buffer), &len),
                 HTTP_TARGET_BAD);
}
