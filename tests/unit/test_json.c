#include <criterion/criterion.h>
#include <string.h>

#include "common/mem.h"
#include "proto/json.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

/* Checks a copy without a NUL behind it, so that reading too far is found. */
static int check(struct span text, enum json_kind *ret_kind, size_t *ret_offset)
{
    char *exact = mem_alloc(text.len > 0 ? text.len : 1);
    struct json_value value;
    int result;

    if (text.len > 0) {
        memcpy(exact, text.at, text.len);
    }
    result = json_check((struct span){exact, text.len}, &value, ret_offset);
    if (result == 0) {
        *ret_kind = value.kind;
    }
    mem_free(exact);
    return result;
}

static struct json_value checked(const char *text)
{
    struct json_value value = {JSON_NULL, {NULL, 0}};
    size_t offset = 0;

    cr_assert_eq(json_check(span_of(text), &value, &offset), 0, "%s: fault at byte %zu", text,
                 offset);
    return value;
}

Test(json, valid_texts_are_accepted_with_their_kind)
{
    static const struct {
        struct span text;
        enum json_kind kind;
    } cases[] = {
        {SPAN("null"), JSON_NULL},
        {SPAN("true"), JSON_BOOL},
        {SPAN("false"), JSON_BOOL},
        {SPAN(" \t\r\n1 \t\r\n"), JSON_NUMBER},
        {SPAN("0"), JSON_NUMBER},
        {SPAN("-0"), JSON_NUMBER},
        {SPAN("-0.0"), JSON_NUMBER},
        {SPAN("10"), JSON_NUMBER},
        {SPAN("0e1"), JSON_NUMBER},
        {SPAN("0E+01"), JSON_NUMBER},
        {SPAN("1.5e-7"), JSON_NUMBER},
        {SPAN("123456789012345678901234567890"), JSON_NUMBER},
        {SPAN("1e400"), JSON_NUMBER},
        {SPAN("\"\""), JSON_STRING},
        {SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), JSON_STRING},
        {SPAN("\"\\u0000\""), JSON_STRING},
        {SPAN("\"\\uABCD\\uabcd\\uD7FF\\uE000\\uFFFF\""), JSON_STRING},
        {SPAN("\"\\ud83d\\ude00 \\uDBFF\\uDFFF\""), JSON_STRING},
        {SPAN("\"\\\\u12\""), JSON_STRING},
        {SPAN("\"\x7f\""), JSON_STRING},
        {SPAN("\"\u00e4\u20ac\U0001F600\""), JSON_STRING},
        {SPAN("\"\xf4\x8f\xbf\xbf\""), JSON_STRING},
        {SPAN("\"/*no comment*/ ,:[]{}\""), JSON_STRING},
        {SPAN("[]"), JSON_ARRAY},
        {SPAN("[ ]"), JSON_ARRAY},
        {SPAN("[1,2 , 3]"), JSON_ARRAY},
        {SPAN("[[],[[]],{}]"), JSON_ARRAY},
        {SPAN("[null,true,\"a\",1.0]"), JSON_ARRAY},
        {SPAN("{}"), JSON_OBJECT},
        {SPAN(" { } "), JSON_OBJECT},
        {SPAN("{\"\":0}"), JSON_OBJECT},
        {SPAN("{\"a\":1,\"a\":2}"), JSON_OBJECT},
        {SPAN("{ \"a\" : { \"b\" : [ 1 , { } ] } }"), JSON_OBJECT},
        {SPAN("{\"\\u0061\":\"b\"}"), JSON_OBJECT},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum json_kind kind = JSON_NULL;
        size_t offset = 0;
        int result = check(cases[i].text, &kind, &offset);
        cr_expect_eq(result, 0, "%s: fault at byte %zu", cases[i].text.at, offset);
        cr_expect_eq(kind, cases[i].kind, "%s is of kind %d", cases[i].text.at, kind);
    }
}

Test(json, invalid_texts_are_refused_at_the_byte_at_fault)
{
    static const struct {
        struct span text;
        size_t offset;
    } cases[] = {
        /* nothing, or more than one value */
        {SPAN(""), 0},
        {SPAN(" "), 1},
        {SPAN("1 2"), 2},
        {SPAN("{}{}"), 2},
        {SPAN("[]]"), 2},
        {SPAN("\"a\"x"), 3},
        {SPAN("1\0"), 1},
        {SPAN("\0"), 0},
        {SPAN("{}\0"), 2},
        /* what isn't white space */
        {SPAN("\xef\xbb\xbf{}"), 0},
        {SPAN("\v1"), 0},
        {SPAN("\f1"), 0},
        {SPAN("\xc2\xa0"
              "1"),
         0},
        {SPAN("/**/1"), 0},
        {SPAN("[1]//"), 3},
        {SPAN("#1"), 0},
        /* literals */
        {SPAN("nul"), 3},
        {SPAN("nulL"), 3},
        {SPAN("Null"), 0},
        {SPAN("truely"), 4},
        {SPAN("True"), 0},
        {SPAN("fals"), 4},
        {SPAN("undefined"), 0},
        {SPAN("NaN"), 0},
        {SPAN("Infinity"), 0},
        {SPAN("-Infinity"), 1},
        {SPAN("nan"), 1},
        /* numbers */
        {SPAN("-"), 1},
        {SPAN("+1"), 0},
        {SPAN("01"), 1},
        {SPAN("-01"), 2},
        {SPAN("00"), 1},
        {SPAN("1."), 2},
        {SPAN("1.e5"), 2},
        {SPAN(".5"), 0},
        {SPAN("-.5"), 1},
        {SPAN("1e"), 2},
        {SPAN("1e+"), 3},
        {SPAN("1e-"), 3},
        {SPAN("1e+-1"), 3},
        {SPAN("1e1.5"), 3},
        {SPAN("1.5.5"), 3},
        {SPAN("--1"), 1},
        {SPAN("- 1"), 1},
        {SPAN("0x10"), 1},
        {SPAN("1_000"), 1},
        {SPAN("1,5"), 1},
        {SPAN("1a"), 1},
        {SPAN("\xef\xbc\x91"), 0},
        /* strings */
        {SPAN("\""), 1},
        {SPAN("\"a"), 2},
        {SPAN("'a'"), 0},
        {SPAN("a"), 0},
        {SPAN("\"\n\""), 1},
        {SPAN("\"\t\""), 1},
        {SPAN("\"\x1f\""), 1},
        {SPAN("\"\0\""), 1},
        {SPAN("\"\\"), 2},
        {SPAN("\"\\\""), 3},
        {SPAN("\"\\a\""), 2},
        {SPAN("\"\\'\""), 2},
        {SPAN("\"\\x41\""), 2},
        {SPAN("\"\\U0041\""), 2},
        {SPAN("\"\\\n\""), 2},
        {SPAN("\"\\\xc3\xa4\""), 2},
        {SPAN("\"\\u\""), 3},
        {SPAN("\"\\u12\""), 5},
        {SPAN("\"\\u123g\""), 6},
        {SPAN("\"\\u+123\""), 3},
        /* surrogates */
        {SPAN("\"\\ud800\""), 1},
        {SPAN("\"x\\ud83dx\""), 2},
        {SPAN("\"\\ud83d\\n\""), 1},
        {SPAN("\"\\ud83d\\u0041\""), 1},
        {SPAN("\"\\ud83d\\ud83d\\ude00\""), 1},
        {SPAN("\"\\ude00\""), 1},
        {SPAN("\"\\ude00\\ud83d\""), 1},
        {SPAN("\"\\ud83d\\ude0\""), 12},
        /* UTF-8 */
        {SPAN("\"\x80\""), 1},
        {SPAN("\"\xff\""), 1},
        {SPAN("\"\xc3\""), 2},
        {SPAN("\"\xc3\x28\""), 2},
        {SPAN("\"\xc3\xa4\xe2\x82\""), 5},
        {SPAN("\"\xc0\xaf\""), 1},
        {SPAN("\"\xe0\x80\xaf\""), 2},
        {SPAN("\"\xed\xa0\x80\""), 2},
        {SPAN("\"\xf4\x90\x80\x80\""), 2},
        {SPAN("\"\xf0\x9f\x98"), 4},
        /* arrays */
        {SPAN("["), 1},
        {SPAN("]"), 0},
        {SPAN("[1"), 2},
        {SPAN("[1,"), 3},
        {SPAN("[1,]"), 3},
        {SPAN("[,1]"), 1},
        {SPAN("[1,,2]"), 3},
        {SPAN("[,]"), 1},
        {SPAN("[1 2]"), 3},
        {SPAN("[1:2]"), 2},
        {SPAN("[1}"), 2},
        {SPAN("[\"a\",\n4\n,1,"), 11},
        {SPAN("[\"a\": 1]"), 4},
        /* objects */
        {SPAN("{"), 1},
        {SPAN("}"), 0},
        {SPAN("{]"), 1},
        {SPAN("{\"a\""), 4},
        {SPAN("{\"a\"}"), 4},
        {SPAN("{\"a\":"), 5},
        {SPAN("{\"a\":}"), 5},
        {SPAN("{\"a\":1"), 6},
        {SPAN("{\"a\":1,"), 7},
        {SPAN("{\"a\":1,}"), 7},
        {SPAN("{,\"a\":1}"), 1},
        {SPAN("{\"a\":1,,\"b\":2}"), 7},
        {SPAN("{\"a\" 1}"), 5},
        {SPAN("{\"a\",1}"), 4},
        {SPAN("{\"a\"::1}"), 5},
        {SPAN("{\"a\":1 \"b\":2}"), 7},
        {SPAN("{\"a\":1;\"b\":2}"), 6},
        {SPAN("{a:1}"), 1},
        {SPAN("{'a':1}"), 1},
        {SPAN("{1:1}"), 1},
        {SPAN("{null:1}"), 1},
        {SPAN("{[]:1}"), 1},
        {SPAN("{\"a\":1]"), 6},
        {SPAN("{\"a\":1}}"), 7},
        {SPAN("{\"\\ud800\":1}"), 2},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum json_kind kind = JSON_NULL;
        size_t offset = SIZE_MAX;
        int result = check(cases[i].text, &kind, &offset);
        cr_expect_eq(result, JSON_INVALID, "case %zu: %s was accepted", i, cases[i].text.at);
        cr_expect_eq(offset, cases[i].offset, "case %zu: %s: at %zu, not %zu", i, cases[i].text.at,
                     offset, cases[i].offset);
    }
}

Test(json, no_text_at_all_is_invalid)
{
    struct json_value value;
    size_t offset = 1;

    cr_assert_eq(json_check((struct span){NULL, 0}, &value, &offset), JSON_INVALID);
    cr_assert_eq(offset, 0);
}

Test(json, every_prefix_of_a_valid_text_is_invalid)
{
    struct span text =
        SPAN("{\"type\":\"ping\", \"a\\u00e4\\ud83d\\ude00\u20ac\" : [null,true,false,"
             "-1.5e+10,\"\\n\",{\"b\":[]}], \"c\":{}}");

    for (size_t len = 0; len <= text.len; len++) {
        enum json_kind kind;
        size_t offset;
        int result = check((struct span){text.at, len}, &kind, &offset);
        cr_assert_eq(result, len < text.len ? JSON_INVALID : 0, "%.*s", (int)len, text.at);
    }
}

Test(json, a_nul_byte_is_refused_wherever_it_is_put)
{
    struct span text = SPAN("{\"a\": [1, \"b\", null]}");
    char changed[64];

    for (size_t i = 0; i <= text.len; i++) {
        enum json_kind kind;
        size_t offset = SIZE_MAX;
        memcpy(changed, text.at, i);
        changed[i] = '\0';
        memcpy(changed + i + 1, text.at + i, text.len - i);
        cr_assert_eq(check((struct span){changed, text.len + 1}, &kind, &offset), JSON_INVALID);
        cr_assert_eq(offset, i);
    }
}

Test(json, nesting_is_accepted_up_to_the_limit)
{
    static const char *const openings[] = {"[", "{\"a\":", "[[],{\"a\":"};
    static const char *const closings[] = {"]", "}", "}]"};
    static const size_t levels[] = {1, 1, 2};
    char text[JSON_MAX_DEPTH * 16 + 16];

    for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
        for (size_t depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + levels[i];
             depth += levels[i]) {
            enum json_kind kind;
            size_t offset;
            char *end = text;
            for (size_t level = 0; level < depth; level += levels[i]) {
                end = stpcpy(end, openings[i]);
            }
            end = stpcpy(end, "1");
            for (size_t level = 0; level < depth; level += levels[i]) {
                end = stpcpy(end, closings[i]);
            }
            cr_assert_eq(check(span_of(text), &kind, &offset),
                         depth <= JSON_MAX_DEPTH ? 0 : JSON_INVALID, "%s", text);
        }
    }
}

Test(json, a_lenient_check_takes_lone_surrogates_and_nesting_and_nothing_else)
{
    static const char *const taken[] = {"\"\\ud800\"", "\"\\udc00\\ud800\"",
                                        "{\"\\udfff\":\"\\ud83dx\"}", "\"\\ud83d\\ude00\""};
    static const char *const refused[] = {"\"\\ud80\"", "\"\x80\"", "\"\n\"", "01",
                                          "{\"a\":1,}", "[",        ""};
    static char nested[2 * JSON_LENIENT_DEPTH + 2];
    struct json_value value;
    size_t offset;

    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        cr_assert_eq(json_check_lenient(span_of(taken[i]), &value, &offset), 0, "%s", taken[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        cr_assert_eq(json_check_lenient(span_of(refused[i]), &value, &offset), JSON_INVALID, "%s",
                     refused[i]);
    }
    memset(nested, '[', JSON_LENIENT_DEPTH);
    memset(nested + JSON_LENIENT_DEPTH, ']', JSON_LENIENT_DEPTH);
    cr_assert_eq(json_check_lenient(span_of(nested), &value, &offset), 0);
    memset(nested, '[', sizeof(nested) - 1);
    cr_assert_eq(json_check_lenient(span_of(nested), &value, &offset), JSON_INVALID);
}

Test(json, very_deep_nesting_is_refused_at_the_limit_without_using_up_the_stack)
{
    size_t len = 10000000;
    char *text = mem_alloc(len);
    struct json_value value;
    size_t offset;

    memset(text, '[', len);
    cr_assert_eq(json_check((struct span){text, len}, &value, &offset), JSON_INVALID);
    cr_assert_eq(offset, JSON_MAX_DEPTH);
    mem_free(text);
}

Test(json, a_value_comes_without_the_white_space_around_it)
{
    cr_assert(span_is(checked(" \n [1, 2]\t ").raw, "[1, 2]"));
    cr_assert(span_is(checked("\"a \" ").raw, "\"a \""));
    cr_assert(span_is(checked(" -1.5e3\r\n").raw, "-1.5e3"));
}

Test(json, members_are_walked_in_their_order)
{
    struct json_value object =
        checked("{ \"a\" : 1 ,\"b\\\"\":\"}\\\\\", \"c\":[1,{\"]\":\"\\\"]\"}] ,\"d\":{\"e\":{}},"
                "\"f\":null}");
    static const struct {
        const char *name, *raw;
        enum json_kind kind;
    } expected[] = {
        {"\"a\"", "1", JSON_NUMBER},
        {"\"b\\\"\"", "\"}\\\\\"", JSON_STRING},
        {"\"c\"", "[1,{\"]\":\"\\\"]\"}]", JSON_ARRAY},
        {"\"d\"", "{\"e\":{}}", JSON_OBJECT},
        {"\"f\"", "null", JSON_NULL},
    };
    struct json_value value;
    struct span name;
    size_t position = 0;

    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert_eq(json_next_member(object, &position, &name, &value), 0);
        cr_assert(span_is(name, expected[i].name), "%.*s", (int)name.len, name.at);
        cr_assert(span_is(value.raw, expected[i].raw), "%.*s", (int)value.raw.len, value.raw.at);
        cr_assert_eq(value.kind, expected[i].kind);
    }
    cr_assert_eq(json_next_member(object, &position, &name, &value), JSON_END);
    cr_assert_eq(json_next_member(object, &position, &name, &value), JSON_END);
}

Test(json, elements_are_walked_in_their_order)
{
    struct json_value array = checked("[1 , \"a,]\",[[2]], {\"b\":[3]},false\n]");
    static const char *const expected[] = {"1", "\"a,]\"", "[[2]]", "{\"b\":[3]}", "false"};
    struct json_value value;
    size_t position = 0;

    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert_eq(json_next_element(array, &position, &value), 0);
        cr_assert(span_is(value.raw, expected[i]), "%.*s", (int)value.raw.len, value.raw.at);
    }
    cr_assert_eq(json_next_element(array, &position, &value), JSON_END);
}

Test(json, an_empty_container_has_no_items)
{
    struct json_value value;
    struct span name;
    size_t position = 0;

    cr_assert_eq(json_next_member(checked(" { } "), &position, &name, &value), JSON_END);
    position = 0;
    cr_assert_eq(json_next_member(checked("{}"), &position, &name, &value), JSON_END);
    position = 0;
    cr_assert_eq(json_next_element(checked("[]"), &position, &value), JSON_END);
    position = 0;
    cr_assert_eq(json_next_element(checked("[\n]"), &position, &value), JSON_END);
}

Test(json, the_last_member_of_a_name_is_found_with_its_name_decoded)
{
    struct json_value value;

    cr_assert_eq(json_find(checked("{\"a\":1,\"\\u0061\":2,\"A\":3}"), "a", &value), 0);
    cr_assert(span_is(value.raw, "2"));
    cr_assert_eq(json_find(checked("{\"b\":{\"a\":1}}"), "a", &value), JSON_END);
    cr_assert_eq(json_find(checked("{\"a\\u0000\":1,\"\":2}"), "a", &value), JSON_END);
    cr_assert_eq(json_find(checked("{\"a\\u0000\":1,\"\":2}"), "", &value), 0);
    cr_assert(span_is(value.raw, "2"));
}
