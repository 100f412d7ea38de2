#include "client/publisher/payload.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "proto/json.h"

static struct text text;
static char why[PAYLOAD_WHY_SIZE];

static void empty(void)
{
    text_deinit(&text);
    why[0] = '\0';
}

TestSuite(payload, .init = empty, .fini = empty);

static void expect(int rc, const char *payload)
{
    cr_assert_eq(rc, 0, "%s", why);
    cr_assert_str_eq(text.data, payload);
    empty();
}

static void expect_invalid(int rc, const char *member)
{
    cr_assert_eq(rc, PAYLOAD_INVALID);
    cr_assert_eq(strncmp(why, member, strlen(member)), 0, "%s", why);
    empty();
}

/* A string of `count` times `piece`. */
static char *many(const char *piece, size_t count)
{
    const size_t len = strlen(piece);
    char *string = mem_zalloc(count * len + 1, 1);

    for (size_t i = 0; i < count; i++) {
        memcpy(string + i * len, piece, len);
    }
    return string;
}

Test(payload, a_stage_names_where_it_comes_from_and_when)
{
    expect(payload_stage(&text, NULL, "a", 0, why),
           "{\"fromStage\":null,\"toStage\":\"a\",\"timestamp\":\"1970-01-01T00:00:00.000Z\"}");
    expect(payload_stage(&text, "a \"b\"", "\n", 1795414577123, why),
           "{\"fromStage\":\"a \\\"b\\\"\",\"toStage\":\"\\n\","
           "\"timestamp\":\"2026-11-23T06:16:17.123Z\"}");
}

Test(payload, a_stage_has_1_to_128_bytes_of_utf_8)
{
    char *longest = many("x", 128), *longer = many("x", 129), *huge = many("x", 1 << 20);

    cr_assert_eq(payload_stage(&text, NULL, longest, 0, why), 0);
    empty();
    expect_invalid(payload_stage(&text, NULL, longer, 0, why), "stage");
    expect_invalid(payload_stage(&text, NULL, huge, 0, why), "stage");
    expect_invalid(payload_stage(&text, NULL, "", 0, why), "stage");
    expect_invalid(payload_stage(&text, NULL, NULL, 0, why), "stage");
    expect_invalid(payload_stage(&text, NULL, "\xff", 0, why), "stage");
    mem_free(longest);
    mem_free(longer);
    mem_free(huge);
}

static int update(double percentage, uint64_t done, uint64_t total, double speed)
{
    const struct payload_update update = {percentage, "a", done, total, speed};

    return payload_update(&text, &update, why);
}

Test(payload, an_update_tells_what_is_known)
{
    expect(update(0, 0, 0, -1), "{\"percentage\":0,\"stage\":\"a\"}");
    expect(update(42.5, 0, 0, -1), "{\"percentage\":42.500,\"stage\":\"a\"}");
    expect(update(100, 1, 2, 3.25), "{\"percentage\":100,\"stage\":\"a\",\"bytesProcessed\":1,"
                                    "\"bytesTotal\":2,\"processingSpeed\":3.250}");
    expect(update(1.0 / 3, UINT64_MAX, UINT64_MAX, 1e18),
           "{\"percentage\":0.333,\"stage\":\"a\",\"bytesProcessed\":18446744073709551615,"
           "\"bytesTotal\":18446744073709551615,\"processingSpeed\":1000000000000000000}");
}

Test(payload, a_percentage_is_a_number_from_0_to_100)
{
    expect_invalid(update(-0.001, 0, 0, -1), "percentage");
    expect(update(100.00000000000007, 0, 0, -1), "{\"percentage\":100,\"stage\":\"a\"}");
    expect(update(-1e-9, 0, 0, -1), "{\"percentage\":0,\"stage\":\"a\"}");
    expect_invalid(update(100.001, 0, 0, -1), "percentage");
    expect_invalid(update((double)NAN, 0, 0, -1), "percentage");
    expect_invalid(update((double)INFINITY, 0, 0, -1), "percentage");
}

Test(payload, the_end_has_a_result_and_a_duration)
{
    expect(payload_complete(&text, "/r\\", 1.5, 4096, why),
           "{\"resultUrl\":\"/r\\\\\",\"duration\":1.500}");
    expect(payload_complete(&text, "", 0, 4096, why), "{\"resultUrl\":\"\",\"duration\":0}");
    expect_invalid(payload_complete(&text, NULL, 0, 4096, why), "result_url");
    expect_invalid(payload_complete(&text, "\xc3", 0, 4096, why), "result_url");
    expect_invalid(payload_complete(&text, "/", (double)NAN, 4096, why), "seconds");
    expect_invalid(payload_complete(&text, "/", -1, 4096, why), "seconds");
}

Test(payload, a_result_that_does_not_fit_is_refused)
{
    char *fits = many("x", 4096 - strlen("{\"resultUrl\":\"\",\"duration\":0}"));
    char *escaped = many("\n", 2100), *huge = many("x", 1 << 20);

    cr_assert_eq(payload_complete(&text, fits, 0, 4096, why), 0);
    cr_assert_eq(text.len, 4096);
    empty();
    expect_invalid(payload_complete(&text, escaped, 0, 4096, why), "result_url");
    expect_invalid(payload_complete(&text, huge, 0, 4096, why), "result_url");
    mem_free(fits);
    mem_free(escaped);
    mem_free(huge);
}

Test(payload, an_error_has_a_code_and_a_message)
{
    expect(payload_error(&text, "A", "b", true, 4096, why),
           "{\"code\":\"A\",\"message\":\"b\",\"retryable\":true}");
    expect(payload_error(&text, "A", NULL, false, 4096, why),
           "{\"code\":\"A\",\"message\":\"\",\"retryable\":false}");
    expect_invalid(payload_error(&text, NULL, "", false, 4096, why), "code");
    expect_invalid(payload_error(&text, "", "", false, 4096, why), "code");
    expect_invalid(payload_error(&text, "\xff", "", false, 4096, why), "code");
}

Test(payload, the_message_of_an_error_is_mended)
{
    expect(payload_error(&text, "A", "a\xff\xc3(\"\xed\xa0\x80\xf0\x9f", false, 4096, why),
           "{\"code\":\"A\",\"message\":\"a?"
           "?(\\\"?????\",\"retryable\":false}");
}

Test(payload, the_message_of_an_error_is_cut_between_characters)
{
    static const char *const pieces[] = {"x",  "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                         "\n", "\x01",     "\xff",         "\"\\"};

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        char *message = many(pieces[i], 1 << 18);
        struct json_value value;
        size_t offset;

        cr_assert_eq(payload_error(&text, "A", message, true, 300, why), 0);
        cr_assert_leq(text.len, 300);
        cr_assert_gt(text.len, 280);
        cr_assert_eq(json_check((struct span){text.data, text.len}, &value, &offset), 0);
        empty();
        mem_free(message);
    }
}

Test(payload, without_memory_there_is_none)
{
    mem_fail_nth(1);
    cr_assert_eq(payload_stage(&text, NULL, "a", 0, why), -ENOMEM);
    empty();
    mem_fail_nth(1);
    cr_assert_eq(update(1, 0, 0, -1), -ENOMEM);
    empty();
    mem_fail_nth(1);
    cr_assert_eq(payload_complete(&text, "", 0, 4096, why), -ENOMEM);
    empty();
    mem_fail_nth(1);
    cr_assert_eq(payload_error(&text, "A", "", false, 4096, why), -ENOMEM);
}
