#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "proto/redis_contract.h"

#define TIME "2026-11-23T06:16:17.123Z"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static bool span_equals(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

/* ── Revisions ───────────────────────────────────────────────────────────────────────────────── */

Test(redis_contract, a_rev_is_read_and_written_as_the_same_text)
{
    const char *texts[] = {"hof6jnz635-1795415613426833", "0-1", "zzzzzzzzzzzzz-9007199254740991"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char buffer[REV_TEXT_SIZE];
        struct rev rev;

        cr_assert_eq(rev_parse(span_of(texts[i]), &rev), 0, "%s", texts[i]);
        rev_format(buffer, &rev);
        cr_assert_str_eq(buffer, texts[i]);
    }
}

Test(redis_contract, what_is_no_rev_is_refused)
{
    const char *texts[] = {
        "",
        "-",
        "a",
        "a-",
        "-1",
        "a-0",
        "a-01",
        "A-1",
        "a-1x",
        "a-1 ",
        " a-1",
        "a-+1",
        "a--1",
        "a-1-",
        "a_b-1",
        "\xc3\xa4-1",
        "a-1.0",
        "zzzzzzzzzzzzzz-1",
        "a-9007199254740992",
        "a-18446744073709551617",
        "a-99999999999999999999999999",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct rev rev = {.n = 7};

        cr_assert_eq(rev_parse(span_of(texts[i]), &rev), REDIS_CONTRACT_INVALID, "%s", texts[i]);
        cr_assert_eq(rev.n, 7, "%s", texts[i]);
    }
    struct rev rev;
    cr_assert_eq(rev_parse((struct span){NULL, 0}, &rev), REDIS_CONTRACT_INVALID);
    cr_assert_eq(rev_parse((struct span){"a-1\0", 4}, &rev), REDIS_CONTRACT_INVALID);
}

Test(redis_contract, revs_are_of_the_same_run_whatever_their_n)
{
    struct rev a, b, longer;

    cr_assert_eq(rev_parse(span_of("abc-1"), &a), 0);
    cr_assert_eq(rev_parse(span_of("abc-2"), &b), 0);
    cr_assert_eq(rev_parse(span_of("abcd-1"), &longer), 0);
    cr_assert(rev_same_run(&a, &b));
    cr_assert_not(rev_same_run(&a, &longer));
}

/* ── Names ───────────────────────────────────────────────────────────────────────────────────── */

Test(redis_contract, a_task_id_has_1_to_128_of_its_characters)
{
    char longest[TASK_ID_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    cr_assert(task_id_is_valid("a", 1));
    cr_assert(task_id_is_valid("AZaz09._~:-", 11));
    cr_assert(task_id_is_valid(longest, TASK_ID_MAX));
    cr_assert_not(task_id_is_valid(longest, TASK_ID_MAX + 1));
    cr_assert_not(task_id_is_valid("", 0));
}

Test(redis_contract, of_all_bytes_only_those_66_are_in_a_task_id)
{
    const char *others = "._~:-";

    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        bool expected = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                        (c >= 'a' && c <= 'z') || (c != '\0' && strchr(others, c));
        cr_assert_eq(task_id_is_valid(&c, 1), expected, "byte %d", byte);
    }
}

Test(redis_contract, a_prefix_ends_in_its_only_colon)
{
    char longest[PREFIX_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    longest[PREFIX_MAX - 1] = longest[PREFIX_MAX] = ':';
    cr_assert(prefix_is_valid("progress:", 9));
    cr_assert(prefix_is_valid("A-z_09:", 7));
    cr_assert(prefix_is_valid(longest, PREFIX_MAX));
    longest[PREFIX_MAX - 1] = 'x';
    cr_assert_not(prefix_is_valid(longest, PREFIX_MAX + 1));
    cr_assert_not(prefix_is_valid("", 0));
    cr_assert_not(prefix_is_valid(":", 1));
    cr_assert_not(prefix_is_valid("progress", 8));
    cr_assert_not(prefix_is_valid("a:b:", 4));
    cr_assert_not(prefix_is_valid("a*:", 3));
    cr_assert_not(prefix_is_valid("a\0:", 3));
}

Test(redis_contract, the_task_id_of_a_key_is_what_follows_its_prefix)
{
    cr_assert(span_equals(task_id_of_key(span_of("progress:a:b"), "progress:"), "a:b"));
    cr_assert_null(task_id_of_key(span_of("progress:"), "progress:").at);
    cr_assert_null(task_id_of_key(span_of("progress"), "progress:").at);
    cr_assert_null(task_id_of_key(span_of("other:a"), "progress:").at);
    cr_assert_null(task_id_of_key(span_of("progress:!recorder"), "progress:").at);
    cr_assert_null(task_id_of_key((struct span){NULL, 0}, "progress:").at);
}

Test(redis_contract, fields_of_a_hash_are_told_apart)
{
    enum task_message_type type = TASK_RESET;

    cr_assert_eq(hash_field_of(span_of("run"), &type), HASH_FIELD_RUN);
    cr_assert_eq(hash_field_of(span_of("n"), &type), HASH_FIELD_N);
    cr_assert_eq(hash_field_of(span_of("stages"), &type), HASH_FIELD_STAGES);
    cr_assert_eq(hash_field_of(span_of("_end"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(span_of("_alive"), &type), HASH_FIELD_ALIVE);
    cr_assert_eq(hash_field_of(span_of("reset"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(span_of("completed"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(span_of(""), &type), HASH_FIELD_OTHER);
    cr_assert_eq(type, TASK_RESET);
    cr_assert_eq(hash_field_of(span_of("complete"), &type), HASH_FIELD_MESSAGE);
    cr_assert_eq(type, TASK_COMPLETE);
}

/* ── Messages of a task ──────────────────────────────────────────────────────────────────────── */

#define MESSAGE \
    "{\"type\":\"progress_update\",\"taskId\":\"a:1\",\"rev\":\"abc-42\",\"payload\":{\"p\":1}}"

Test(redis_contract, the_head_of_a_message_is_recognised)
{
    struct task_message message;

    cr_assert_eq(task_message_parse(span_of(MESSAGE), &message), 0);
    cr_assert_eq(message.type, TASK_PROGRESS_UPDATE);
    cr_assert(span_equals(message.task_id, "a:1"));
    cr_assert_eq(message.rev.n, 42);
    cr_assert_eq(message.rev.run_len, 3);
    cr_assert(span_equals(message.payload, "{\"p\":1}"));
}

Test(redis_contract, no_beginning_of_a_message_is_a_message)
{
    struct task_message message;

    for (size_t len = 0; len < strlen(MESSAGE); len++) {
        char *cut = mem_alloc(len > 0 ? len : 1); /* so that the sanitizer sees a byte too far */
        memcpy(cut, MESSAGE, len);
        cr_assert_eq(task_message_parse((struct span){cut, len}, &message), REDIS_CONTRACT_INVALID,
                     "%zu", len);
        mem_free(cut);
    }
}

Test(redis_contract, what_progress_lua_would_not_make_is_no_message)
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
        cr_assert_eq(task_message_parse(span_of(texts[i]), &message), REDIS_CONTRACT_INVALID, "%s",
                     texts[i]);
    }
}

Test(redis_contract, a_reset_is_written_as_it_is_recognised)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;
    struct task_message message;
    struct rev rev;

    cr_assert_eq(rev_parse(span_of("abc-42"), &rev), 0);
    task_message_reset(&text, "a:1", &rev);
    cr_assert_eq(task_message_parse((struct span){text.data, text.len}, &message), 0);
    cr_assert_eq(message.type, TASK_RESET);
    cr_assert_eq(message.rev.n, 42);
    cr_assert(span_equals(message.task_id, "a:1"));
    cr_assert(span_equals(message.payload, "{}"));
}

static bool ends(enum task_message_type type, const char *payload)
{
    struct task_message message = {.type = type, .payload = span_of(payload)};
    return task_message_ends(&message);
}

Test(redis_contract, a_task_ends_with_complete_and_with_an_error_that_nothing_follows)
{
    cr_assert(ends(TASK_COMPLETE, "{}"));
    cr_assert(ends(TASK_COMPLETE, "{\"retryable\":true}"));
    cr_assert(ends(TASK_ERROR, "{}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":false}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":\"true\"}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":true,\"retryable\":false}"));
    cr_assert(ends(TASK_ERROR, "{\"details\":{\"retryable\":true}}"));
    cr_assert(ends(TASK_ERROR, "{\"retryable\":true"));
    cr_assert_not(ends(TASK_ERROR, "{\"retryable\":true}"));
    cr_assert_not(ends(TASK_ERROR, "{\"retryable\":false,\"retry\\u0061ble\": true }"));
    cr_assert_not(ends(TASK_PROGRESS_UPDATE, "{}"));
    cr_assert_not(ends(TASK_RESET, "{}"));
}

/* ── Stages ──────────────────────────────────────────────────────────────────────────────────── */

static int follow(struct text *stages, enum task_message_type type, const char *payload)
{
    struct task_message message = {.type = type, .payload = span_of(payload)};
    return stages_follow(stages, &message);
}

static int update(struct text *stages, const char *stage)
{
    char payload[1024];
    snprintf(payload, sizeof(payload), "{\"stage\":%s,\"timestamp\":\"" TIME "\"}", stage);
    return follow(stages, TASK_PROGRESS_UPDATE, payload);
}

#define ENTRY(stage) "{\"stage\":\"" stage "\",\"timestamp\":\"" TIME "\"}"

Test(redis_contract, an_update_enters_its_stage_if_it_isnt_the_last)
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

Test(redis_contract, a_stage_change_enters_its_stage_in_any_case)
{
    const char *payload = "{\"fromStage\":null,\"toStage\":\"a\",\"timestamp\":\"" TIME "\"}";
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(follow(&stages, TASK_STAGE_CHANGE, payload), 0);
    cr_assert_eq(follow(&stages, TASK_STAGE_CHANGE, payload), 0);
    cr_assert_str_eq(stages.data, "[" ENTRY("a") "," ENTRY("a") "]");
}

Test(redis_contract, names_of_stages_may_look_like_the_stages_around_them)
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

Test(redis_contract, only_the_last_32_stages_are_kept)
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

Test(redis_contract, other_messages_and_broken_payloads_enter_no_stage)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(follow(&stages, TASK_COMPLETE, "{\"stage\":\"a\",\"timestamp\":\"" TIME "\"}"), 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{\"stage\":\"a\"}"), 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{\"stage\":1,\"timestamp\":\"" TIME "\"}"),
                 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{\"stage\":\"a\""), 0);
    cr_assert_eq(follow(&stages, TASK_PROGRESS_UPDATE, "{}"), 0);
    cr_assert_eq(stages.len, 0);
}

Test(redis_contract, stages_that_somebody_spoilt_begin_anew)
{
    const char *spoilt[] = {"", "[]", "{}", "x", "[{\"stage\":\"a\"", "[1]", "[{\"stage\":\"}]"};

    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

        text_puts(&stages, spoilt[i]);
        cr_assert_eq(update(&stages, "\"b\""), 0);
        cr_assert_str_eq(stages.data, "[" ENTRY("b") "]");
    }
}

Test(redis_contract, a_reset_leaves_no_stages)
{
    CLEANUP(text_deinit) struct text stages = TEXT_EMPTY;

    cr_assert_eq(update(&stages, "\"a\""), 0);
    cr_assert_eq(follow(&stages, TASK_RESET, "{}"), 0);
    cr_assert_eq(stages.len, 0);
}

Test(redis_contract, out_of_memory_leaves_the_stages_as_they_were)
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

/* ── The function library ────────────────────────────────────────────────────────────────────── */

Test(redis_contract, a_deadline_is_a_whole_number_of_microseconds)
{
    static const char *const none[] = {"", "x", "-1", "1.5", "1x", " 1", "18446744073709551616"};

    cr_assert_eq(alive_deadline(span_of("1795415613426833")), 1795415613426833);
    cr_assert_eq(alive_deadline(span_of("1")), 1);
    cr_assert_eq(alive_deadline((struct span){NULL, 0}), UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        cr_assert_eq(alive_deadline(span_of(none[i])), UINT64_MAX, "%s", none[i]);
    }
}

Test(redis_contract, the_librarys_head_tells_its_version_and_settings)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;
    struct library_head head;

    progress_library(&text, 60, 16384);
    cr_assert_not(text_failed(&text));
    cr_assert_eq(progress_library_head((struct span){text.data, text.len}, &head), 0);
    cr_assert_eq(head.version, progress_library_version);
    cr_assert_eq(head.state_ttl_s, 60);
    cr_assert_eq(head.max_payload, 16384);
    cr_assert_not_null(strstr(text.data, "\nlocal STATE_TTL, MAX_PAYLOAD = 60, 16384\n"));
    cr_assert_not_null(strstr(text.data, "redis.register_function(\"progress_publish\""));
}

Test(redis_contract, a_newer_library_is_known_as_such)
{
    struct library_head head;

    cr_assert_eq(progress_library_head(span_of("#!lua name=progress\n"
                                               "-- progressd library version=4294967295 "
                                               "state_ttl=1 max_payload=2 more=3\nreturn"),
                                       &head),
                 0);
    cr_assert_eq(head.version, UINT32_MAX);
}

Test(redis_contract, somebody_elses_library_is_known_as_such)
{
    const char *codes[] = {
        "",
        "#!lua name=progress\n",
        "#!lua name=progress\nredis.register_function('progress_publish', f)",
        "#!lua name=progress\n-- progressd library version=x state_ttl=1 max_payload=2\n",
        "#!lua name=progress\n-- progressd library version=1 state_ttl=1\n",
        "#!lua name=progress\n-- progressd library version=1 state_ttl=1 max_payload=2",
        "#!lua name=progress\n-- progressd library version=4294967296 state_ttl=1 max_payload=2\n",
        "#!lua name=other\n-- progressd library version=1 state_ttl=1 max_payload=2\n",
    };
    struct library_head head;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        cr_assert_eq(progress_library_head(span_of(codes[i]), &head), REDIS_CONTRACT_INVALID, "%s",
                     codes[i]);
    }
}

/* ── Messages published with plain PUBLISH ───────────────────────────────────────────────────── */

Test(redis_contract, a_plain_message_is_taken_apart)
{
    const char *texts[] = {
        "{\"type\":\"complete\",\"taskId\":\"a:1\",\"payload\":{\"x\":1}}",
        "{\"type\":\"complete\",\"payload\":{\"x\":1}}",
        " { \"payload\" : {\"x\":1} , \"rev\" : 7 , \"type\" : \"complete\" } \n",
        "{\"taskId\":\"\\u0061:1\",\"type\":\"error\",\"type\":\"complete\",\"payload\":{\"x\":1}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span type, payload;
        char why[128];

        cr_assert_eq(plain_message_parse(span_of(texts[i]), span_of("a:1"), &type, &payload, why),
                     0, "%s", texts[i]);
        cr_assert(span_equals(type, "complete"));
        cr_assert(span_equals(payload, "{\"x\":1}"));
    }
}

Test(redis_contract, a_plain_message_is_refused_with_the_member_at_fault)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "the message is not JSON: see its byte 1"},
        {"hello", "the message is not JSON: see its byte 1"},
        {"{\"type\":\"complete\",}", "the message is not JSON: see its byte 20"},
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
            plain_message_parse(span_of(cases[i].text), span_of("a:1"), &type, &payload, why),
            REDIS_CONTRACT_INVALID, "%s", cases[i].text);
        cr_assert_str_eq(why, cases[i].why, "%s: %s", cases[i].text, why);
    }
}
