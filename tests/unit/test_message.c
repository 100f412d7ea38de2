#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "proto/message.h"

static struct span span_of(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}

static bool is_text(struct span span, const char *text)
{
    return text ? span.at && span.len == strlen(text) && memcmp(span.at, text, span.len) == 0
                : !span.at;
}

static struct client_message parsed(const char *text, const char *default_task_id)
{
    struct client_message message;
    struct client_message_error error = {.text = ""};

    memset(&message, 0xAA, sizeof(message));
    cr_assert_eq(client_message_parse(span_of(text), default_task_id, &message, &error), 0,
                 "%s: %s", text, error.text);
    return message;
}

static struct client_message_error refused(const char *text, const char *default_task_id)
{
    struct client_message message, untouched;
    struct client_message_error error;

    memset(&untouched, 0xAA, sizeof(untouched));
    message = untouched;
    memset(&error, 0xAA, sizeof(error));
    cr_assert_eq(client_message_parse(span_of(text), default_task_id, &message, &error),
                 MESSAGE_INVALID, "%s was accepted", text);
    cr_assert_arr_eq(&message, &untouched, sizeof(message));
    return error;
}

Test(message, a_subscription_is_read_with_all_its_members)
{
    struct client_message message =
        parsed("{\"rev\":\"k1-1795414577000001\",\"token\":\"a.b-_.c\",\"taskId\":\"Job:1.a_~-\","
               "\"type\":\"subscribe\"}",
               "other");

    cr_assert_eq(message.type, CLIENT_SUBSCRIBE);
    cr_assert_str_eq(message.task.task_id, "Job:1.a_~-");
    cr_assert(is_text(message.token, "a.b-_.c"));
    cr_assert(message.task.has_rev);
    cr_assert_eq(message.task.rev.n, 1795414577000001u);
    cr_assert(is_text(message.timestamp, NULL));
}

Test(message, the_messages_of_adr_001_are_read)
{
    struct client_message message;

    message = parsed("{\"type\":\"subscribe\",\"taskId\":\"task-1\",\"token\":\"x\"}", NULL);
    cr_assert_eq(message.type, CLIENT_SUBSCRIBE);
    cr_assert_not(message.task.has_rev);
    message = parsed("{\"type\":\"unsubscribe\",\"taskId\":\"task-1\"}", NULL);
    cr_assert_eq(message.type, CLIENT_UNSUBSCRIBE);
    cr_assert_str_eq(message.task.task_id, "task-1");
    message = parsed("{\"type\":\"get_state\",\"taskId\":\"task-1\"}", NULL);
    cr_assert_eq(message.type, CLIENT_GET_STATE);
    message = parsed("{\"type\":\"ping\",\"timestamp\":1732342577123}", NULL);
    cr_assert_eq(message.type, CLIENT_PING);
    cr_assert(is_text(message.timestamp, "1732342577123"));
    cr_assert_str_eq(message.task.task_id, "");
}

Test(message, the_url_names_the_task_where_the_message_does_not)
{
    cr_assert_str_eq(parsed("{\"type\":\"subscribe\",\"token\":\"x\"}", "url").task.task_id, "url");
    cr_assert_str_eq(parsed("{\"type\":\"unsubscribe\"}", "url").task.task_id, "url");
    cr_assert_str_eq(parsed("{\"type\":\"get_state\",\"taskId\":\"m\"}", "url").task.task_id, "m");
    cr_assert_str_eq(parsed("{\"type\":\"ping\"}", "url").task.task_id, "");
}

Test(message, names_and_task_ids_may_be_written_with_escapes)
{
    struct client_message message =
        parsed("{\"\\u0074ype\":\"\\u0067et_state\",\"task\\u0049d\":\"a\\u002Db\"}", NULL);

    cr_assert_eq(message.type, CLIENT_GET_STATE);
    cr_assert_str_eq(message.task.task_id, "a-b");
}

Test(message, a_rev_of_null_is_none)
{
    cr_assert_not(
        parsed("{\"type\":\"get_state\",\"taskId\":\"a\",\"rev\":null}", NULL).task.has_rev);
}

Test(message, members_that_the_type_does_not_have_are_ignored)
{
    struct client_message message =
        parsed("{\"type\":\"ping\",\"taskId\":7,\"token\":[],\"rev\":{},\"x\":1,\"x\":2,"
               "\"Type\":\"y\",\"timestamp\":0}",
               NULL);

    cr_assert_eq(message.type, CLIENT_PING);
    cr_assert_str_eq(message.task.task_id, "");
    cr_assert_str_eq(parsed("{\"type\":\"ping\",\"taskId\":\"a\"}", NULL).task.task_id, "");
    message = parsed("{\"type\":\"unsubscribe\",\"taskId\":\"a\",\"token\":1,\"rev\":2,"
                     "\"timestamp\":\"\"}",
                     NULL);
    cr_assert(is_text(message.token, NULL));
    cr_assert_not(message.task.has_rev);
    cr_assert(is_text(message.timestamp, NULL));
}

Test(message, a_timestamp_is_handed_on_as_it_was_written)
{
    static const char *const numbers[] = {
        "0", "-0", "1e3", "1.50", "-1E-7", "12345678901234567890123456789012",
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct text pong = TEXT_EMPTY;
        char ping[128], expected[128];
        snprintf(ping, sizeof(ping), "{\"type\":\"ping\",\"timestamp\": %s }", numbers[i]);
        snprintf(expected, sizeof(expected), "{\"type\":\"pong\",\"timestamp\":%s}", numbers[i]);
        message_pong(&pong, parsed(ping, NULL).timestamp);
        cr_assert_str_eq(pong.data, expected);
        text_deinit(&pong);
    }
}

#define ID_RULE "taskId must be " TASK_ID_FORM
#define TYPE_RULE "type must be subscribe, unsubscribe, get_state or ping"
#define TOKEN_RULE "token must have at least one character, and no escapes"
#define REV_RULE "rev must be one that a message came with"

Test(message, what_is_wrong_is_told_with_the_member_at_fault)
{
    static const struct {
        const char *text, *expected;
        enum error_code code;
        const char *task_id;
    } cases[] = {
        {"", "the message must be JSON: it is not from byte 0 on", ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"ping\"", "the message must be JSON: it is not from byte 14 on",
         ERROR_INVALID_MESSAGE, "url"},
        {"ping", "the message must be JSON: it is not from byte 0 on", ERROR_INVALID_MESSAGE,
         "url"},
        {"[]", "the message must be a JSON object", ERROR_INVALID_MESSAGE, "url"},
        {"\"ping\"", "the message must be a JSON object", ERROR_INVALID_MESSAGE, "url"},
        {"null", "the message must be a JSON object", ERROR_INVALID_MESSAGE, "url"},
        {"{}", "type is missing", ERROR_INVALID_MESSAGE, "url"},
        {"{\"Type\":\"ping\"}", "type is missing", ERROR_INVALID_MESSAGE, "url"},
        {"{\"taskId\":\"a\"}", "type is missing", ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":null}", "type must be a string", ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":1,\"taskId\":\"a\"}", "type must be a string", ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":[\"ping\"]}", "type must be a string", ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"\"}", TYPE_RULE, ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"Ping\"}", TYPE_RULE, ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"ping\\u0000\"}", TYPE_RULE, ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"progress_update\",\"taskId\":\"a\"}", TYPE_RULE, ERROR_INVALID_MESSAGE, "a"},
        /* twice */
        {"{\"type\":\"ping\",\"type\":\"ping\"}", "type must come only once", ERROR_INVALID_MESSAGE,
         "url"},
        {"{\"type\":\"ping\",\"\\u0074ype\":\"ping\"}", "type must come only once",
         ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"taskId\":\"a\"}", "taskId must come only once",
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"token\":\"x\",\"token\":\"x\",\"taskId\":\"a\"}",
         "token must come only once", ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"rev\":null,\"rev\":null}",
         "rev must come only once", ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"ping\",\"timestamp\":1,\"timestamp\":1}", "timestamp must come only once",
         ERROR_INVALID_MESSAGE, "url"},
        /* taskId */
        {"{\"type\":\"subscribe\",\"taskId\":1}", "taskId must be a string", ERROR_INVALID_MESSAGE,
         ""},
        {"{\"type\":\"subscribe\",\"taskId\":null}", "taskId must be a string",
         ERROR_INVALID_MESSAGE, ""},
        {"{\"type\":\"unsubscribe\",\"taskId\":[\"a\"]}", "taskId must be a string",
         ERROR_INVALID_MESSAGE, ""},
        {"{\"type\":\"get_state\",\"taskId\":\"\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"a b\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\".\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"..\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"a*\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\\u0000\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"\\u00e4\"}", ID_RULE, ERROR_INVALID_TASK_ID, ""},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\\\",\\\"type\"}", ID_RULE, ERROR_INVALID_TASK_ID,
         ""},
        /* token */
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":null}", "token must be a string",
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":{}}", "token must be a string",
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"\"}", TOKEN_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\" \\n\"}", TOKEN_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"\\\\n\"}", TOKEN_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"\\nx\"}", TOKEN_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"token\":\"a\\u002eb\"}", TOKEN_RULE, ERROR_INVALID_MESSAGE,
         "url"},
        /* rev */
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"rev\":1}", "rev must be a string or null",
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"subscribe\",\"taskId\":\"a\",\"rev\":\"\"}", REV_RULE, ERROR_INVALID_MESSAGE,
         "a"},
        {"{\"type\":\"get_state\",\"taskId\":\"a\",\"rev\":\"k1-\"}", REV_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        {"{\"type\":\"get_state\",\"taskId\":\"a\",\"rev\":\"k1\\u002d1\"}", REV_RULE,
         ERROR_INVALID_MESSAGE, "a"},
        /* timestamp */
        {"{\"type\":\"ping\",\"timestamp\":\"1\"}", "timestamp must be a number",
         ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"ping\",\"timestamp\":null}", "timestamp must be a number",
         ERROR_INVALID_MESSAGE, "url"},
        {"{\"type\":\"ping\",\"timestamp\":123456789012345678901234567890123}",
         "timestamp must be of at most 32 characters", ERROR_INVALID_MESSAGE, "url"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_message_error error = refused(cases[i].text, "url");
        cr_expect_str_eq(error.text, cases[i].expected, "%s: %s", cases[i].text, error.text);
        cr_expect_eq(error.code, cases[i].code, "%s", cases[i].text);
        cr_expect_str_eq(error.task_id, cases[i].task_id, "%s: %s", cases[i].text, error.task_id);
    }
}

Test(message, without_a_task_in_the_url_one_must_be_named)
{
    struct client_message_error error = refused("{\"type\":\"subscribe\",\"token\":\"x\"}", NULL);

    cr_assert_eq(error.code, ERROR_INVALID_MESSAGE);
    cr_assert_str_eq(error.text, "taskId is missing");
    cr_assert_str_eq(error.task_id, "");
}

/* ── Several tasks ───────────────────────────────────────────────────────────────────────────── */

static void expect_task(const struct client_message *message, struct client_task_walk *walk,
                        const char *task_id, uint64_t n)
{
    struct client_message_error error = {.text = ""};
    struct client_task task;

    memset(&task, 0xAA, sizeof(task));
    cr_assert_eq(client_message_next_task(message, walk, &task, &error), 0, "%s", error.text);
    cr_assert_str_eq(task.task_id, task_id);
    cr_assert_eq(task.has_rev, n > 0);
    cr_assert(n == 0 || task.rev.n == n);
}

static void expect_refused_task(const struct client_message *message, struct client_task_walk *walk,
                                const char *task_id, enum error_code code, const char *text)
{
    struct client_message_error error;
    struct client_task task;

    cr_assert_eq(client_message_next_task(message, walk, &task, &error), MESSAGE_INVALID);
    cr_assert_eq(error.code, code);
    cr_assert_str_eq(error.task_id, task_id);
    cr_assert_str_eq(error.text, text);
}

static void expect_no_more(const struct client_message *message, struct client_task_walk *walk)
{
    struct client_message_error error;
    struct client_task task;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(client_message_next_task(message, walk, &task, &error), MESSAGE_END);
    }
}

Test(message, one_task_is_walked_as_several_are)
{
    struct client_message message = parsed("{\"type\":\"get_state\",\"rev\":\"k1-5\"}", "url");
    struct client_task_walk walk = {0};

    cr_assert_eq(message.task_count, 1);
    expect_task(&message, &walk, "url", 5);
    expect_no_more(&message, &walk);
}

Test(message, a_ping_names_no_task)
{
    struct client_message message = parsed("{\"type\":\"ping\",\"taskIds\":[\"a\"]}", "url");
    struct client_task_walk walk = {0};

    cr_assert_eq(message.task_count, 0);
    expect_no_more(&message, &walk);
}

Test(message, several_tasks_are_named_each_with_its_rev)
{
    static const char *const types[] = {"subscribe", "get_state"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct client_task_walk walk = {0};
        struct client_message message;
        char text[256];

        snprintf(text, sizeof(text),
                 "{\"type\":\"%s\",\"token\":\"t\",\"taskIds\":[\"a\", \"b\",\"\\u0063\"],"
                 "\"revs\":[\"k1-5\",null, \"k1-7\"]}",
                 types[i]);
        message = parsed(text, "url");
        cr_assert_eq(message.task_count, 3);
        expect_task(&message, &walk, "a", 5);
        expect_task(&message, &walk, "b", 0);
        expect_task(&message, &walk, "c", 7);
        expect_no_more(&message, &walk);
    }
}

Test(message, several_tasks_need_no_revs)
{
    struct client_message message =
        parsed("{\"type\":\"unsubscribe\",\"taskIds\":[\"a\",\"a\"],\"revs\":7}", NULL);
    struct client_task_walk walk = {0};

    cr_assert_eq(message.task_count, 2);
    expect_task(&message, &walk, "a", 0);
    expect_task(&message, &walk, "a", 0);
    expect_no_more(&message, &walk);
}

Test(message, one_wrong_task_of_several_is_refused_alone)
{
    struct client_message message =
        parsed("{\"type\":\"subscribe\",\"token\":\"t\",\"taskIds\":[\"a\",\"b c\",\"d\",\"e\"],"
               "\"revs\":[null,null,\"no rev\",\"k1-9\"]}",
               "url");
    struct client_task_walk walk = {0};

    expect_task(&message, &walk, "a", 0);
    expect_refused_task(&message, &walk, "", ERROR_INVALID_TASK_ID,
                        "taskIds[1] must be " TASK_ID_FORM);
    expect_refused_task(&message, &walk, "d", ERROR_INVALID_MESSAGE,
                        "revs[2] must be one that a message came with");
    expect_task(&message, &walk, "e", 9);
    expect_no_more(&message, &walk);
}

Test(message, a_list_of_tasks_that_is_none_is_refused_whole)
{
    static const struct {
        const char *members, *expected;
    } cases[] = {
        {"\"taskIds\":\"a\"", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":null", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":{\"a\":1}", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":[]", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":[\"a\",1]", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":[\"a\",null]", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":[[\"a\"]]", "taskIds must be an array of 1 to 1000 strings"},
        {"\"taskIds\":[\"a\"],\"taskIds\":[\"a\"]", "taskIds must come only once"},
        {"\"taskIds\":[\"a\"],\"taskId\":\"a\"", "taskId and taskIds must not come together"},
        {"\"taskIds\":[\"a\"],\"revs\":[]",
         "revs must be an array of strings and nulls, as long as taskIds"},
        {"\"taskIds\":[\"a\"],\"revs\":[null,null]",
         "revs must be an array of strings and nulls, as long as taskIds"},
        {"\"taskIds\":[\"a\"],\"revs\":[5]",
         "revs must be an array of strings and nulls, as long as taskIds"},
        {"\"taskIds\":[\"a\"],\"revs\":null",
         "revs must be an array of strings and nulls, as long as taskIds"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_message_error error;
        char text[256];

        snprintf(text, sizeof(text), "{\"type\":\"subscribe\",%s}", cases[i].members);
        error = refused(text, "url");
        cr_expect_str_eq(error.text, cases[i].expected, "%s: %s", text, error.text);
        cr_expect_eq(error.code, ERROR_INVALID_MESSAGE);
    }
}

Test(message, several_tasks_are_accepted_up_to_the_limit)
{
    for (int count = TASK_IDS_MAX; count <= TASK_IDS_MAX + 1; count++) {
        struct text text = TEXT_EMPTY;

        text_puts(&text, "{\"type\":\"unsubscribe\",\"taskIds\":[\"0\"");
        for (int i = 1; i < count; i++) {
            text_printf(&text, ",\"%d\"", i);
        }
        text_puts(&text, "]}");
        if (count == TASK_IDS_MAX) {
            cr_assert_eq(parsed(text.data, NULL).task_count, TASK_IDS_MAX);
        } else {
            cr_assert_eq(refused(text.data, NULL).code, ERROR_INVALID_MESSAGE);
        }
        text_deinit(&text);
    }
}

Test(message, task_ids_are_accepted_up_to_the_limit)
{
    char id[TASK_ID_MAX + 2], text[256];

    memset(id, 'x', sizeof(id));
    for (int len = TASK_ID_MAX; len <= TASK_ID_MAX + 1; len++) {
        snprintf(text, sizeof(text), "{\"type\":\"get_state\",\"taskId\":\"%.*s\"}", len, id);
        if (len == TASK_ID_MAX) {
            cr_assert_eq(strlen(parsed(text, NULL).task.task_id), TASK_ID_MAX);
        } else {
            cr_assert_eq(refused(text, NULL).code, ERROR_INVALID_TASK_ID);
        }
    }
}

Test(message, white_space_at_a_tokens_end_is_no_part_of_it)
{
    static const char *const ends[] = {"", "\\n", "\\r\\n", " ", "\\t \\n\\n"};
    char text[128];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"x.n%s\"}", ends[i]);
        cr_assert(span_is(parsed(text, NULL).token, "x.n"), "%s", text);
    }
}

Test(message, every_prefix_of_a_message_is_refused)
{
    const char *text = "{\"type\":\"subscribe\",\"taskId\":\"a\",\"token\":\"x\",\"rev\":null}";

    for (size_t len = 0; len < strlen(text); len++) {
        struct client_message message;
        struct client_message_error error;
        char *exact = mem_alloc(len > 0 ? len : 1);
        memcpy(exact, text, len);
        cr_assert_eq(client_message_parse((struct span){exact, len}, NULL, &message, &error),
                     MESSAGE_INVALID);
        mem_free(exact);
    }
}

static void check_text(struct text *text, const char *expected)
{
    cr_expect_str_eq(text->data, expected);
    text_deinit(text);
}

Test(message, messages_to_a_client_have_their_members_in_order)
{
    struct text text = TEXT_EMPTY;
    struct rev rev;

    cr_assert_eq(rev_parse(span_of("k1-42"), &rev), 0);
    message_subscribed(&text, "a", &rev, span_of("[{\"stage\":\"x\",\"timestamp\":\"y\"}]"),
                       1795414577250);
    check_text(&text, "{\"type\":\"subscribed\",\"taskId\":\"a\",\"payload\":{\"rev\":\"k1-42\","
                      "\"stages\":[{\"stage\":\"x\",\"timestamp\":\"y\"}],"
                      "\"expiresAt\":\"2026-11-23T06:16:17.250Z\"}}");
    message_subscribed(&text, "a", NULL, span_of("[]"), INT64_MAX);
    check_text(&text, "{\"type\":\"subscribed\",\"taskId\":\"a\",\"payload\":{\"rev\":null,"
                      "\"stages\":[],\"expiresAt\":\"9999-12-31T23:59:59.999Z\"}}");
    message_unsubscribed(&text, "a", UNSUBSCRIBED_TOKEN_EXPIRED);
    check_text(&text, "{\"type\":\"unsubscribed\",\"taskId\":\"a\","
                      "\"payload\":{\"reason\":\"TOKEN_EXPIRED\"}}");
    message_reconnect(&text, 12345);
    check_text(&text, "{\"type\":\"reconnect\",\"payload\":{\"afterMs\":12345}}");
    message_error(&text, "", ERROR_INVALID_MESSAGE, "\"x\" is missing");
    check_text(&text, "{\"type\":\"error\",\"taskId\":\"\",\"payload\":{\"code\":"
                      "\"INVALID_MESSAGE\",\"message\":\"\\\"x\\\" is missing\","
                      "\"retryable\":false,\"scope\":\"request\"}}");
    message_error(&text, "a", ERROR_UNAVAILABLE, "");
    check_text(&text, "{\"type\":\"error\",\"taskId\":\"a\",\"payload\":{\"code\":\"UNAVAILABLE\","
                      "\"message\":\"\",\"retryable\":true,\"scope\":\"request\"}}");
    message_pong(&text, (struct span){NULL, 0});
    check_text(&text, "{\"type\":\"pong\"}");
}

Test(message, running_out_of_memory_is_remembered_in_the_text)
{
    struct text text = TEXT_EMPTY;

    mem_fail_nth(1);
    message_error(&text, "a", ERROR_UNAVAILABLE, "x");
    mem_fail_nth(0);
    cr_assert(text_failed(&text));
    text_deinit(&text);
}
