#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "proto/json.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

Test(json_scalar, a_string_is_compared_decoded)
{
    cr_assert(json_string_is(SPAN("\"ping\""), "ping"));
    cr_assert(json_string_is(SPAN("\"\\u0070in\\u0067\""), "ping"));
    cr_assert(json_string_is(SPAN("\"\\ud83d\\ude00\\/\\n\""), "\U0001F600/\n"));
    cr_assert(json_string_is(SPAN("\"\""), ""));
    cr_assert_not(json_string_is(SPAN("\"Ping\""), "ping"));
    cr_assert_not(json_string_is(SPAN("\"pin\""), "ping"));
    cr_assert_not(json_string_is(SPAN("\"pings\""), "ping"));
    cr_assert_not(json_string_is(SPAN("\"ping\\u0000\""), "ping"));
    cr_assert_not(json_string_is(SPAN("\"\\u00e4\""), "\xc3"));
}

Test(json_scalar, a_string_is_decoded)
{
    static const struct {
        struct span raw, decoded;
    } cases[] = {
        {SPAN("\"\""), SPAN("")},
        {SPAN("\"a\u00e4\""), SPAN("a\u00e4")},
        {SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SPAN("\"\\/\b\f\n\r\t")},
        {SPAN("\"a\\u0000b\""), SPAN("a\0b")},
        {SPAN("\"\\u007f\\u0080\\u07FF\\u0800\""), SPAN("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80")},
        {SPAN("\"\\uffff\\ud800\\udc00\\udbff\\udfff\""),
         SPAN("\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
    };
    char buffer[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = SIZE_MAX;
        cr_assert_eq(json_string_decode(cases[i].raw, buffer, sizeof(buffer), &len), 0);
        cr_assert_eq(len, cases[i].decoded.len, "%s", cases[i].raw.at);
        cr_assert_arr_eq(buffer, cases[i].decoded.at, len, "%s", cases[i].raw.at);
    }
}

Test(json_scalar, a_decoded_string_that_does_not_fit_is_refused)
{
    char buffer[4];
    size_t len = 77;

    cr_assert_eq(json_string_decode(SPAN("\"abcd\""), buffer, sizeof(buffer), &len), 0);
    cr_assert_eq(len, 4);
    len = 77;
    cr_assert_eq(json_string_decode(SPAN("\"abcde\""), buffer, sizeof(buffer), &len),
                 JSON_TOO_LONG);
    cr_assert_eq(json_string_decode(SPAN("\"a\\ud83d\\ude00\""), buffer, sizeof(buffer), &len),
                 JSON_TOO_LONG);
    cr_assert_eq(json_string_decode(SPAN("\"a\""), buffer, 0, &len), JSON_TOO_LONG);
    cr_assert_eq(len, 77);
}

static uint64_t bits_of(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

static double number(const char *text)
{
    return json_number((struct span){text, strlen(text)});
}

Test(json_scalar, a_number_has_the_nearest_double_as_its_value)
{
    static const char *const cases[] = {
        "0",
        "-0",
        "-0.0e5",
        "0e999999999999999999999",
        "1",
        "-1",
        "42.5",
        "100",
        "0.1",
        "0.001",
        "123456.789e-3",
        "1e22",
        "1E+23",
        "9007199254740991",
        "9007199254740993",
        "9007199254740993.00000000000000000000000000000000000000000000000000000001",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "1e400",
        "-1e400",
        "1e-400",
        "5e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "1e99999999999999999999999999",
        "1e-99999999999999999999999999",
        "0.000000000000000000000000000000000000000000000000000000000000001e60",
        "1000000000000000000000000000000000000000000000000000000000000000e-60",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(bits_of(number(cases[i])), bits_of(strtod(cases[i], NULL)), "%s is not %.17g",
                     cases[i], number(cases[i]));
    }
}

/* The midpoint between 0 and the least double has 751 significant digits; what follows them
 * decides, however far behind. */
Test(json_scalar, a_number_of_thousands_of_digits_is_rounded_by_the_last_of_them)
{
    size_t size = 8192;
    char *text = mem_alloc(size);
    int len = snprintf(text, size, "%.1100f", 0x1p-1074);

    for (int i = len - 1, carry = 0; i > 1; i--) { /* halve: times five, one place lower */
        int product = (text[i] - '0') * 5 + carry;
        text[i] = (char)('0' + product % 10);
        carry = product / 10;
    }
    memmove(text + 3, text + 2, (size_t)len - 1);
    text[2] = '0';
    cr_assert_eq(number(text), 0);

    len = (int)strlen(text);
    memset(text + len, '0', 5000);
    memcpy(text + len + 5000, "1", 2);
    cr_assert_eq(number(text), 0x1p-1074);
    mem_free(text);
}
