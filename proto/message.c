#include "proto/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utc_time.h"

/* ── What a client says ──────────────────────────────────────────────────────────────────────── */

enum member {
    MEMBER_TYPE,
    MEMBER_TASK_ID,
    MEMBER_TASK_IDS,
    MEMBER_TOKEN,
    MEMBER_REV,
    MEMBER_REVS,
    MEMBER_TIMESTAMP,
    MEMBERS,
};

static const char *const member_names[MEMBERS] = {
    [MEMBER_TYPE] = "type",           [MEMBER_TASK_ID] = "taskId", [MEMBER_TASK_IDS] = "taskIds",
    [MEMBER_TOKEN] = "token",         [MEMBER_REV] = "rev",        [MEMBER_REVS] = "revs",
    [MEMBER_TIMESTAMP] = "timestamp",
};

/* A message in the course of being read. */
struct reading {
    struct json_value values[MEMBERS]; /* raw.at is NULL where there is none */
    struct client_message message;
    struct client_message_error error;
};

PRINTF_LIKE(3, 4)
static int message_refuse(struct client_message_error *error, enum error_code code,
                          const char *format, ...)
{
    va_list arguments;

    error->code = code;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return MESSAGE_INVALID;
}

static bool is_present(const struct reading *reading, enum member member)
{
    return reading->values[member].raw.at;
}

static struct span message_without_quotes(struct json_value string)
{
    return (struct span){string.raw.at + 1, string.raw.len - 2};
}

/* Finds the members. *ret_repeated is one that comes twice, or NULL. */
static void collect_members(struct reading *reading, struct json_value object,
                            const char **ret_repeated)
{
    struct json_value value;
    struct span name;
    size_t position = 0;

    *ret_repeated = NULL;
    while (json_next_member(object, &position, &name, &value) == 0) {
        for (enum member member = 0; member < MEMBERS; member++) {
            if (!json_string_is(name, member_names[member])) {
                continue;
            }
            if (is_present(reading, member)) {
                *ret_repeated = member_names[member];
            }
            reading->values[member] = value;
        }
    }
}

/* Leaves `task_id` empty when the value isn't a task id. */
static void read_named_task_id(struct json_value value, char task_id[TASK_ID_MAX + 1])
{
    char decoded[TASK_ID_MAX];
    size_t len;

    if (value.kind == JSON_STRING &&
        json_string_decode(value.raw, decoded, sizeof(decoded), &len) == 0 &&
        task_id_is_valid(decoded, len)) {
        memcpy(task_id, decoded, len);
        task_id[len] = '\0';
    }
}

static int read_type(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_TYPE];

    if (!is_present(reading, MEMBER_TYPE)) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "type is missing");
    }
    if (value.kind != JSON_STRING) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "type must be a string");
    }
    for (enum client_type type = 0; type < CLIENT_TYPES; type++) {
        if (json_string_is(value.raw, client_type_name(type))) {
            reading->message.type = type;
            return 0;
        }
    }
    return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                          "type must be " CLIENT_TYPE_NAMES);
}

/* ── The tasks it names ──────────────────────────────────────────────────────────────────────── */

#define REV_RULE "must be one that a message came with"

static int read_one_task_id(struct reading *reading, const char *default_task_id)
{
    struct client_task *task = &reading->message.task;

    if (!is_present(reading, MEMBER_TASK_ID)) {
        if (!default_task_id) {
            return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "taskId is missing");
        }
        snprintf(task->task_id, sizeof(task->task_id), "%s", default_task_id);
        return 0;
    }
    if (reading->values[MEMBER_TASK_ID].kind != JSON_STRING) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "taskId must be a string");
    }
    if (task->task_id[0] == '\0') {
        return message_refuse(&reading->error, ERROR_INVALID_TASK_ID,
                              "taskId must be " TASK_ID_FORM);
    }
    return 0;
}

static int read_one_rev(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_REV];
    struct client_task *task = &reading->message.task;

    if (!is_present(reading, MEMBER_REV) || value.kind == JSON_NULL) {
        return 0;
    }
    if (value.kind != JSON_STRING) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "rev must be a string or null");
    }
    if (rev_parse(message_without_quotes(value), &task->rev) != 0) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "rev " REV_RULE);
    }
    task->has_rev = true;
    return 0;
}

static bool has_revs(enum client_type type)
{
    return type == CLIENT_SUBSCRIBE || type == CLIENT_GET_STATE;
}

static int read_one_task(struct reading *reading, const char *default_task_id)
{
    int rc = read_one_task_id(reading, default_task_id);

    if (rc == 0 && has_revs(reading->message.type)) {
        rc = read_one_rev(reading);
    }
    reading->message.task_count = 1;
    return rc;
}

/* How many elements an array has, if all are strings, or null where that is allowed; else -1. */
static int count_strings(struct json_value array, bool nullable)
{
    struct json_value element;
    size_t position = 0;
    int count = 0;

    if (array.kind != JSON_ARRAY) {
        return -1;
    }
    while (json_next_element(array, &position, &element) == 0) {
        if (element.kind != JSON_STRING && !(nullable && element.kind == JSON_NULL)) {
            return -1;
        }
        count++;
    }
    return count;
}

/* Only the form; the elements are looked at one by one, in client_message_next_task(). */
static int read_several_tasks(struct reading *reading)
{
    struct client_message *message = &reading->message;
    const int count = count_strings(reading->values[MEMBER_TASK_IDS], false);

    if (is_present(reading, MEMBER_TASK_ID)) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "taskId and taskIds must not come together");
    }
    if (count < 1 || count > TASK_IDS_MAX) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "taskIds must be an array of 1 to %d strings", TASK_IDS_MAX);
    }
    message->task_ids = reading->values[MEMBER_TASK_IDS];
    message->task_count = (uint32_t)count;
    if (has_revs(message->type) && is_present(reading, MEMBER_REVS)) {
        if (count_strings(reading->values[MEMBER_REVS], true) != count) {
            return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                                  "revs must be an array of strings and nulls, as long as taskIds");
        }
        message->revs = reading->values[MEMBER_REVS];
    }
    return 0;
}

/* Without the spaces and line ends that the string `inside` of quotes ends in. */
static struct span without_trailing_space(struct span inside)
{
    for (;;) {
        const char *end = inside.at + inside.len;

        if (inside.len >= 1 && end[-1] == ' ') {
            inside.len--;
        } else if (inside.len >= 2 && end[-2] == '\\' &&
                   (end[-1] == 'n' || end[-1] == 'r' || end[-1] == 't')) {
            inside.len -= 2;
        } else {
            return inside;
        }
    }
}

static int read_token(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_TOKEN];
    struct span token;

    if (!is_present(reading, MEMBER_TOKEN)) {
        return 0;
    }
    if (value.kind != JSON_STRING) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "token must be a string");
    }
    token = without_trailing_space(message_without_quotes(value));
    if (token.len == 0 || memchr(token.at, '\\', token.len)) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "token must have at least one character, and no escapes");
    }
    reading->message.token = token;
    return 0;
}

static int read_timestamp(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_TIMESTAMP];

    if (!is_present(reading, MEMBER_TIMESTAMP)) {
        return 0;
    }
    if (value.kind != JSON_NUMBER) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "timestamp must be a number");
    }
    if (value.raw.len > PING_TIMESTAMP_MAX) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "timestamp must be of at most %d characters", PING_TIMESTAMP_MAX);
    }
    reading->message.timestamp = value.raw;
    return 0;
}

/* Reads the members that a message of its type has; those of other types are ignored. */
static int read_members(struct reading *reading, const char *default_task_id)
{
    int result = read_type(reading);

    if (result) {
        return result;
    }
    if (reading->message.type == CLIENT_PING) {
        reading->message.task.task_id[0] = '\0';
        return read_timestamp(reading);
    }
    result = is_present(reading, MEMBER_TASK_IDS) ? read_several_tasks(reading)
                                                  : read_one_task(reading, default_task_id);
    if (result == 0 && reading->message.type == CLIENT_SUBSCRIBE) {
        result = read_token(reading);
    }
    return result;
}

static int read_message(struct reading *reading, struct span text, const char *default_task_id)
{
    struct json_value object;
    const char *repeated;
    size_t offset;

    if (json_check(text, &object, &offset) != 0) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "the message must be JSON: it is not from byte %zu on", offset);
    }
    if (object.kind != JSON_OBJECT) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE,
                              "the message must be a JSON object");
    }
    collect_members(reading, object, &repeated);
    if (is_present(reading, MEMBER_TASK_ID)) { /* first of all, for errors to name it */
        read_named_task_id(reading->values[MEMBER_TASK_ID], reading->message.task.task_id);
        memcpy(reading->error.task_id, reading->message.task.task_id,
               sizeof(reading->error.task_id));
    }
    if (repeated) {
        return message_refuse(&reading->error, ERROR_INVALID_MESSAGE, "%s must come only once",
                              repeated);
    }
    return read_members(reading, default_task_id);
}

int client_message_parse(struct span text, const char *default_task_id,
                         struct client_message *ret_message, struct client_message_error *ret_error)
{
    struct reading reading;
    int result;

    memset(&reading, 0, sizeof(reading));
    snprintf(reading.error.task_id, sizeof(reading.error.task_id), "%s",
             default_task_id ? default_task_id : "");
    result = read_message(&reading, text, default_task_id);
    if (result) {
        *ret_error = reading.error;
    } else {
        *ret_message = reading.message;
    }
    return result;
}

/* The next element of an array that has one, as counting it has shown. */
static void next_counted(struct json_value array, size_t *position, struct json_value *ret_element)
{
    int rc = json_next_element(array, position, ret_element);

    assert(rc == 0);
    (void)rc;
}

int client_message_next_task(const struct client_message *message, struct client_task_walk *walk,
                             struct client_task *ret_task, struct client_message_error *ret_error)
{
    struct client_task task = {.has_rev = false};
    struct client_message_error error = {.code = ERROR_INVALID_TASK_ID};
    struct json_value id, rev = {.kind = JSON_NULL};
    const uint32_t index = walk->count;

    if (index >= message->task_count) {
        return MESSAGE_END;
    }
    walk->count++;
    if (!message->task_ids.raw.at) {
        *ret_task = message->task;
        return 0;
    }
    next_counted(message->task_ids, &walk->id_position, &id);
    if (message->revs.raw.at) {
        next_counted(message->revs, &walk->rev_position, &rev);
    }
    read_named_task_id(id, task.task_id);
    if (task.task_id[0] == '\0') {
        *ret_error = error;
        return message_refuse(ret_error, ERROR_INVALID_TASK_ID, "taskIds[%u] must be " TASK_ID_FORM,
                              index);
    }
    if (rev.kind != JSON_NULL) {
        if (rev_parse(message_without_quotes(rev), &task.rev) != 0) {
            memcpy(error.task_id, task.task_id, sizeof(error.task_id));
            *ret_error = error;
            return message_refuse(ret_error, ERROR_INVALID_MESSAGE, "revs[%u] " REV_RULE, index);
        }
        task.has_rev = true;
    }
    *ret_task = task;
    return 0;
}

/* ── What is said to a client ────────────────────────────────────────────────────────────────── */

static void put_string(struct text *text, const char *string)
{
    text_json_string(text, string, strlen(string));
}

/* {"type":…,"taskId":…,"payload":{ */
static void begin_message(struct text *text, const char *type, const char *task_id)
{
    text_printf(text, "{\"type\":\"%s\",\"taskId\":", type);
    put_string(text, task_id);
    text_puts(text, ",\"payload\":{");
}

void message_subscribed(struct text *text, const char *task_id, const struct rev *rev,
                        struct span stages, int64_t expires_at_ms)
{
    char formatted_rev[REV_TEXT_SIZE], formatted_time[UTC_TIME_SIZE];

    assert(expires_at_ms >= 0);
    utc_time_format((uint64_t)expires_at_ms, formatted_time);
    begin_message(text, "subscribed", task_id);
    if (rev) {
        rev_format(formatted_rev, rev);
        text_printf(text, "\"rev\":\"%s\"", formatted_rev);
    } else {
        text_puts(text, "\"rev\":null");
    }
    text_puts(text, ",\"stages\":");
    text_append(text, stages.at, stages.len);
    text_printf(text, ",\"expiresAt\":\"%s\"}}", formatted_time);
}

void message_token_expiring(struct text *text, const char *task_id)
{
    begin_message(text, "token_expiring", task_id);
    text_puts(text, "}}");
}

void message_unsubscribed(struct text *text, const char *task_id, const char *reason)
{
    begin_message(text, "unsubscribed", task_id);
    text_puts(text, "\"reason\":");
    put_string(text, reason);
    text_puts(text, "}}");
}

void message_reconnect(struct text *text, uint32_t after_ms)
{
    text_printf(text, "{\"type\":\"reconnect\",\"payload\":{\"afterMs\":%u}}", after_ms);
}

void message_error(struct text *text, const char *task_id, enum error_code code,
                   const char *message)
{
    begin_message(text, "error", task_id);
    text_printf(text, "\"code\":\"%s\",\"message\":", error_code_name(code));
    put_string(text, message);
    text_printf(text, ",\"retryable\":%s,\"scope\":\"request\"}}",
                error_code_is_retryable(code) ? "true" : "false");
}

void message_pong(struct text *text, struct span timestamp)
{
    text_puts(text, "{\"type\":\"pong\"");
    if (timestamp.at) {
        text_puts(text, ",\"timestamp\":");
        text_append(text, timestamp.at, timestamp.len);
    }
    text_puts(text, "}");
}
