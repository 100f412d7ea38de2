#include "proto/plain_message.h"

#include <criterion/criterion.h>

Test(plain_message, a_plain_message_is_taken_apart)
{
    const char *texts[] = {
        "{\"type\":\"complete\",\"taskId\":\"a:1\",\"payload\":{\"x\":1}}",
        "{\"type\":\"complete\",\"payload\":{\"x\":1}}",
        " { \"payload\" : {\"x\":1} , \"rev\" : 7 , \"type\" : \"complete\" } \n",
        "\xef\xbb\xbf{\"type\":\"complete\",\"payload\":{\"x\":1}}",
        "{\"taskId\":\"\\u0061:1\",\"type\":\"error\",\"type\":\"complete\",\"payload\":{\"x\":1}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span type, payload;
        char why[128];

        cr_assert_eq(plain_message_parse(SPAN_OF(texts[i]), SPAN_OF("a:1"), &type, &payload, why),
                     0, "%s", texts[i]);
        cr_assert(span_is(type, "complete"));
        cr_assert(span_is(payload, "{\"x\":1}"));
    }
}

Test(plain_message, a_plain_message_is_refused_with_the_member_at_fault)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "the message is not JSON: see its byte 1"},
        {"hello", "the message is not JSON: see its byte 1"},
        {"{\"type\":\"complete\",}", "the message is not JSON: see its byte 20"},
        {"\xef\xbb\xbfhello", "the message is not JSON: see its byte 4"},
        {"\xef\xbb\xbf\xef\xbb\xbf{}", "the message is not JSON: see its byte 4"},
        {"[]", "the message must be an object"},
        {"{\"payload\":{}}", "type must be a string"},
        {"{\"type\":1,\"payload\":{}}", "type must be a string"},
        {"{\"type\":\"complete\",\"taskId\":\"b\",\"payload\":{}}",
         "taskId must be the one in the channel's name"},
        {"{\"type\":\"complete\",\"taskId\":null,\"payload\":{}}",
         "taskId must be the one in the channel's name"},
        {"{\"type\":\"complete\"}", "payload must be an object"},
        {"{\"type\":\"complete\",\"payload\":\"{}\"}", "payload must be an object"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span type, payload;
        char why[128];

        cr_assert_eq(
            plain_message_parse(SPAN_OF(cases[i].text), SPAN_OF("a:1"), &type, &payload, why),
            PLAIN_MESSAGE_INVALID, "%s", cases[i].text);
        cr_assert_str_eq(why, cases[i].why, "%s: %s", cases[i].text, why);
    }
}
