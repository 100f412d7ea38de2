#include "proto/task_stages.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "common/mem.h"
#include "proto/json.h"

#define TIME "2026-11-23T06:16:17.123Z"

static int follow(struct text *stages, enum task_message_type type, const char *payload)
{
    struct task_message message = {.type = type, .payload = SPAN_OF(payload)};
    return stages_follow(stages, &message);
}

static int update(struct text *stages, const char *stage)
{
    char payload[1024];
    snprintf(payload, sizeof(payload), "{\"stage\":%s,\"timestamp\":\"" TIME "\"}", stage);
    return follow(stages, TASK_PROGRESS_UPDATE, payload);
}

#define ENTRY(stage) "{\"stage\":\"" stage "\",\"timestamp\":\"" TIME "\"}"

Test(task_stages, an_update_enters_its_stage_if_it_isnt_the_last)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(update(&stages, "\"a\""), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("a") "]");
    cr_assert_eq(update(&stages, "\"\\u0061\""), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("a") "]");
    cr_assert_eq(update(&stages, "\"b\""), 0);
    cr_assert_eq(update(&stages, "\"b\""), 0);
    cr_assert_eq(update(&stages, "\"a\""), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("a") "," ENTRY("b") "," ENTRY("a") "]");
}

Test(task_stages, a_stage_change_enters_its_stage_in_any_case)
{
    const char *payload = "{\"fromStage\":null,\"toStage\":\"a\",\"timestamp\":\"" TIME "\"}";
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(follow(&stages, TASK_STAGE_CHANGE, payload), 0);
    cr_assert_eq(follow(&stages, TASK_STAGE_CHANGE, payload), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("a") "," ENTRY("a") "]");
}

Test(task_stages, names_of_stages_may_look_like_the_stages_around_them)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(update(&stages, "\"\\\"},{\\\"stage\\\":\\\"x\""), 0);
    cr_assert_eq(update(&stages, "\"\\\"},{\\\"stage\\\":\\\"x\""), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("\\\"},{\\\"stage\\\":\\\"x") "]");
    cr_assert_eq(update(&stages, "\"\\\\\""), 0);
    cr_assert_eq(update(&stages, "\"\\u0000\\u001f\\n\\u00e4\""), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("\\\"},{\\\"stage\\\":\\\"x") "," ENTRY(
                                      "\\\\") "," ENTRY("\\u0000\\u001f\\n\xc3\xa4") "]");
}

Test(task_stages, only_the_last_32_stages_are_kept)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;
    struct json_value array, element, stage;
    size_t position = 0, offset, count = 0;

    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "\"%d\"", i);
        cr_assert_eq(update(&stages, name), 0);
    }
    cr_assert_eq(json_check((struct span){stages.data, stages.len}, &array, &offset), 0);
    while (json_next_element(array, &position, &element) == 0) {
        char name[16];
        snprintf(name, sizeof(name), "%zu", 100 - STAGES_MAX + count++);
        cr_assert_eq(json_find(element, "stage", &stage), 0);
        cr_assert(json_string_is(stage.raw, name));
    }
    cr_assert_eq(count, STAGES_MAX);
}

Test(task_stages, other_messages_and_broken_payloads_enter_no_stage)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(follow(&stages, TASK_COMPLETE, "{\"stage\":\"a\",\"timestamp\":\"" TIME "\"}"), 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{\"stage\":\"a\"}"), 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{\"stage\":1,\"timestamp\":\"" TIME "\"}"),
                 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{}"), 0);
    cr_assert_eq(stages.len, 0);
}

Test(task_stages, stages_that_somebody_spoilt_begin_anew)
{
    const char *spoilt[] = {"", "[]", "{}", "x", "[{\"stage\":\"a\"", "[1]", "[{\"stage\":\"}]"};

    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

        text_puts(&stages, spoilt[i]);
        cr_assert_eq(update(&stages, "\"b\""), 0);
        cr_assert_str_eq(stages.data, "[" ENTRY("b") "]");
    }
}

Test(task_stages, a_reset_leaves_no_stages)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(update(&stages, "\"a\""), 0);
    cr_assert_eq(follow(&stages, TASK_RESET, "{}"), 0);
    cr_assert_eq(stages.len, 0);
}

Test(task_stages, out_of_memory_leaves_the_stages_as_they_were)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;
    unsigned failures = 0;
    int result;

    cr_assert_eq(update(&stages, "\"a\""), 0);
    do {
        mem_fail_nth(++failures);
        result = update(&stages, "\"b\"");
        mem_fail_nth(0);
        cr_assert(result == 0 || result == -ENOMEM);
        cr_assert_str_eq(stages.data,
                         result == 0 ? "[" ENTRY("a") "," ENTRY("b") "]" : "[" ENTRY("a") "]");
    } while (result != 0);
    cr_assert_gt(failures, 1);
}
