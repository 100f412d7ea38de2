#include "proto/payload_rules.h"

#include <criterion/criterion.h>

static bool is_valid(enum task_message_type type, const char *text)
{
    struct json_value payload;
    size_t offset;

    cr_assert_eq(json_check(SPAN_OF(text), &payload, &offset), 0, "%s", text);
    return payload_is_valid(type, payload);
}

Test(payload_rules, each_type_has_its_members)
{
    cr_assert(is_valid(TASK_PROGRESS_UPDATE, "{\"percentage\":0,\"stage\":\"a\"}"));
    cr_assert(is_valid(TASK_PROGRESS_UPDATE, "{\"percentage\":100,\"stage\":\"a\",\"bytesTotal\":5,"
                                             "\"more\":[null]}"));
    cr_assert(is_valid(TASK_STAGE_CHANGE, "{\"fromStage\":null,\"toStage\":\"a\"}"));
    cr_assert(is_valid(TASK_TIME_ESTIMATE, "{\"estimatedTimeRemaining\":1e3,\"confidence\":0.5}"));
    cr_assert(is_valid(TASK_COMPLETE, "{\"resultUrl\":\"\",\"duration\":0}"));
    cr_assert(is_valid(TASK_ERROR, "{\"code\":\"C\",\"message\":\"\",\"scope\":\"task\"}"));
    cr_assert(is_valid(TASK_RESET, "{}"));
}

Test(payload_rules, a_member_that_is_missing_or_wrong_is_found)
{
    static const struct {
        enum task_message_type type;
        const char *text;
    } cases[] = {
        {TASK_PROGRESS_UPDATE, "{\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":-0.1,\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":100.000001,\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":100.1,\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":\"1\",\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":null,\"stage\":\"a\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1,\"stage\":\"\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1,\"stage\":null}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1,\"stage\":\"a\",\"bytesTotal\":1e400}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1,\"stage\":\"a\",\"timestamp\":\"now\"}"},
        {TASK_PROGRESS_UPDATE, "{\"percentage\":1,\"percentage\":101,\"stage\":\"a\"}"},
        {TASK_STAGE_CHANGE, "{\"toStage\":\"a\"}"},
        {TASK_STAGE_CHANGE, "{\"fromStage\":1,\"toStage\":\"a\"}"},
        {TASK_TIME_ESTIMATE, "{\"estimatedTimeRemaining\":1,\"confidence\":1.5}"},
        {TASK_COMPLETE, "{\"resultUrl\":1,\"duration\":0}"},
        {TASK_ERROR, "{\"code\":\"\",\"message\":\"m\"}"},
        {TASK_ERROR, "{\"code\":\"C\",\"message\":\"m\",\"retryable\":1}"},
        {TASK_ERROR, "{\"code\":\"C\",\"message\":\"m\",\"scope\":\"request\"}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_not(is_valid(cases[i].type, cases[i].text), "%s", cases[i].text);
    }
}

Test(payload_rules, a_stage_has_at_most_128_bytes)
{
    char text[256] = "{\"percentage\":1,\"stage\":\"";
    const size_t head = strlen(text);

    memset(text + head, 'x', STAGE_MAX);
    strcpy(text + head + STAGE_MAX, "\"}");
    cr_assert(is_valid(TASK_PROGRESS_UPDATE, text));
    strcpy(text + head + STAGE_MAX, "x\"}");
    cr_assert_not(is_valid(TASK_PROGRESS_UPDATE, text));
}

Test(payload_rules, times_are_iso_8601)
{
    static const char *const good[] = {
        "2026-11-23T06:16",
        "2026-11-23T06:16:17",
        "2026-11-23T06:16:17.1Z",
        "2024-02-29T00:00Z",
        "2000-02-29T23:59:59.999999999+05:30",
        "2026-11-23T06:16-23:59",
    };
    static const char *const bad[] = {
        "",
        "2026-11-23",
        "2026-11-23T",
        "2026-11-23T06",
        "2026-11-23T06:16:",
        "2026-13-01T00:00Z",
        "2026-00-01T00:00Z",
        "2026-04-31T00:00Z",
        "2026-02-29T00:00Z",
        "1900-02-29T00:00Z",
        "2026-11-23T24:00Z",
        "2026-11-23T06:60Z",
        "2026-11-23T06:16:60Z",
        "2026-11-23T06:16:17.Z",
        "2026-11-23T06:16:17z",
        "2026-11-23T06:16+24:00",
        "2026-11-23T06:16+05",
        "26-11-23T06:16",
        "2026-11-23 06:16",
        "2026-11-23T06:16Z ",
        "2000-02-29T23:59:59.9999999999+05:301",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert(timestamp_is_valid(SPAN_OF(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_assert_not(timestamp_is_valid(SPAN_OF(bad[i])), "%s", bad[i]);
    }
}

Test(payload_rules, a_range_takes_an_error_of_rounding)
{
    cr_expect(
        is_valid(TASK_PROGRESS_UPDATE, "{\"percentage\":100.00000000000007,\"stage\":\"a\"}"));
    cr_expect(is_valid(TASK_PROGRESS_UPDATE, "{\"percentage\":-1e-15,\"stage\":\"a\"}"));
    cr_expect(is_valid(TASK_TIME_ESTIMATE,
                       "{\"estimatedTimeRemaining\":1,\"confidence\":1.0000000000000002}"));
    cr_expect_not(
        is_valid(TASK_TIME_ESTIMATE, "{\"estimatedTimeRemaining\":-1e-15,\"confidence\":1}"),
        "a range with one end has no error of rounding");
}
