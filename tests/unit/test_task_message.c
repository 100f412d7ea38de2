#include "proto/task_message.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "common/mem.h"
#include "proto/task_key.h"

#define PAYLOAD "{\"percentage\":1,\"stage\":\"s\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"p\":1}"
#define MESSAGE_OF(payload) \
    "{\"type\":\"progress_update\",\"taskId\":\"a:1\",\"rev\":\"abc-42\",\"payload\":" payload "}"
#define MESSAGE MESSAGE_OF(PAYLOAD)

Test(task_message, the_head_of_a_message_is_recognised)
{
    struct task_message message;

    cr_assert_eq(task_message_parse(SPAN_OF(MESSAGE), &message), 0);
    cr_assert_eq(message.type, TASK_PROGRESS_UPDATE);
    cr_assert(span_is(message.task_id, "a:1"));
    cr_assert_eq(message.rev.n, 42);
    cr_assert_eq(message.rev.run_len, 3);
    cr_assert(span_is(message.payload, PAYLOAD));
}

Test(task_message, no_beginning_of_a_message_is_a_message)
{
    struct task_message message;

    for (size_t len = 0; len < strlen(MESSAGE); len++) {
        char *cut = mem_alloc(len > 0 ? len : 1); /* so that the sanitizer sees a byte too far */
        memcpy(cut, MESSAGE, len);
        cr_assert_eq(task_message_parse((struct span){cut, len}, &message), TASK_MESSAGE_INVALID,
                     "%zu", len);
        mem_free(cut);
    }
}

Test(task_message, what_progress_lua_would_not_make_is_no_message)
{
    const char *texts[] = {
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":{}",
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":[]}",
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":}",
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\"}",
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc\",\"payload\":{}}",
        "{\"type\":\"reset\",\"taskId\":\"\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{\"type\":\"reset\",\"taskId\":\"a b\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{\"type\":\"resets\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{\"type\":\"\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{ \"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{\"taskId\":\"a\",\"type\":\"reset\",\"rev\":\"abc-42\",\"payload\":{}}",
        "{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":\"abc-42\",\"payload\":{}}\n",
    };
    struct task_message message;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_eq(task_message_parse(SPAN_OF(texts[i]), &message), TASK_MESSAGE_INVALID, "%s",
                     texts[i]);
    }
}

Test(task_message, a_payload_that_progress_publish_would_refuse_makes_no_message)
{
    const char *payloads[] = {
        "{oops}",
        "{}",
        "{\"percentage\":1}",
        "{\"percentage\":101,\"stage\":\"s\"}",
        "{\"percentage\":01,\"stage\":\"s\"}",
        "{\"percentage\":1,\"stage\":\"\xff\"}",
        "{\"percentage\":1,\"stage\":\"\xed\xa0\x80\"}",
        "{\"percentage\":1,\"stage\":\"a\nb\"}",
        "{\"percentage\":1,\"stage\":\"s\"} ",
        " {\"percentage\":1,\"stage\":\"s\"}",
        "{\"percentage\":1,\"stage\":\"s\"},\"type\":{}",
        "{\"percentage\":1,\"stage\":\"s\"}}{",
    };
    struct task_message message;

    cr_assert_eq(
        task_message_parse(SPAN_OF(MESSAGE_OF("{\"percentage\":1,\"stage\":\"s\"}")), &message), 0);
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        char text[512];

        snprintf(text, sizeof(text), MESSAGE_OF("%s"), payloads[i]);
        cr_assert_eq(task_message_parse(SPAN_OF(text), &message), TASK_MESSAGE_INVALID, "%s",
                     payloads[i]);
    }
}

Test(task_message, the_reset_of_a_state_that_is_gone_has_no_rev)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;

    task_message_reset(&text, "a:1", NULL);
    cr_assert_str_eq(text.data,
                     "{\"type\":\"reset\",\"taskId\":\"a:1\",\"rev\":null,\"payload\":{}}");
}

Test(task_message, a_reset_is_written_as_it_is_recognised)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;
    struct task_message message;
    struct rev rev;

    cr_assert_eq(rev_parse(SPAN_OF("abc-42"), &rev), 0);
    task_message_reset(&text, "a:1", &rev);
    cr_assert_eq(task_message_parse((struct span){text.data, text.len}, &message), 0);
    cr_assert_eq(message.type, TASK_RESET);
    cr_assert_eq(message.rev.n, 42);
    cr_assert(span_is(message.task_id, "a:1"));
    cr_assert(span_is(message.payload, "{}"));
}

static bool ends(enum task_message_type type, const char *payload)
{
    struct task_message message = {.type = type, .payload = SPAN_OF(payload)};
    return task_message_ends(&message);
}

Test(task_message, a_task_ends_with_complete_and_with_an_error_that_nothing_follows)
{
    cr_assert(ends(TASK_COMPLETE, "{}"));
    cr_assert(ends(TASK_COMPLETE, "{\"retryable\":true}"));
    cr_assert(ends(TASK_ERROR, "{}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":false}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":\"true\"}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":true,\"retryable\":false}"));
    cr_assert(ends(TASK_ERROR, "{\"details\":{\"retryable\":true}}"));
    cr_assert_not(ends(TASK_ERROR, "{\"retryable\":true}"));
    cr_assert_not(ends(TASK_ERROR, "{\"retryable\":false,\"retry\\u0061ble\": true }"));
    cr_assert_not(ends(TASK_PROGRESS_UPDATE, "{}"));
    cr_assert_not(ends(TASK_RESET, "{}"));
}
