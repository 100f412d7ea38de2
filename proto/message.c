#include "proto/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utc_time.h"

/* ── What a client says ──────────────────────────────────────────────────────────────────────── */

enum member { MEMBER_TYPE, MEMBER_TASK_ID, MEMBER_TOKEN, MEMBER_REV, MEMBER_TIMESTAMP, MEMBERS };

static const char *const member_names[MEMBERS] = {
    [MEMBER_TYPE] = "type", [MEMBER_TASK_ID] = "taskId",      [MEMBER_TOKEN] = "token",
    [MEMBER_REV] = "rev",   [MEMBER_TIMESTAMP] = "timestamp",
};

/* A message in the course of being read. */
struct reading {
    struct json_value values[MEMBERS]; /* raw.at is NULL where there is none */
    struct client_message message;
    struct client_message_error error;
};

PRINTF_LIKE(3, 4)
static int refuse(struct reading *reading, enum error_code code, const char *format, ...)
{
    va_list arguments;

    reading->error.code = code;
    va_start(arguments, format);
    vsnprintf(reading->error.text, sizeof(reading->error.text), format, arguments);
    va_end(arguments);
    return MESSAGE_INVALID;
}

static bool is_present(const struct reading *reading, enum member member)
{
    return reading->values[member].raw.at;
}

static struct span without_quotes(struct json_value string)
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
        return refuse(reading, ERROR_INVALID_MESSAGE, "type is missing");
    }
    if (value.kind != JSON_STRING) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "type must be a string");
    }
    for (enum client_type type = 0; type < CLIENT_TYPES; type++) {
        if (json_string_is(value.raw, client_type_name(type))) {
            reading->message.type = type;
            return 0;
        }
    }
    return refuse(reading, ERROR_INVALID_MESSAGE,
                  "type must be subscribe, unsubscribe, get_state or ping");
}

static int check_task_id(struct reading *reading, const char *default_task_id)
{
    struct client_message *message = &reading->message;

    if (!is_present(reading, MEMBER_TASK_ID)) {
        if (!default_task_id) {
            return refuse(reading, ERROR_INVALID_MESSAGE, "taskId is missing");
        }
        snprintf(message->task_id, sizeof(message->task_id), "%s", default_task_id);
        return 0;
    }
    if (reading->values[MEMBER_TASK_ID].kind != JSON_STRING) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "taskId must be a string");
    }
    if (message->task_id[0] == '\0') {
        return refuse(reading, ERROR_INVALID_TASK_ID,
                      "taskId must be 1 to %d of A-Z a-z 0-9 . _ ~ : -", TASK_ID_MAX);
    }
    return 0;
}

static int read_token(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_TOKEN];
    struct span token;

    if (!is_present(reading, MEMBER_TOKEN)) {
        return 0;
    }
    if (value.kind != JSON_STRING) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "token must be a string");
    }
    token = without_quotes(value);
    if (token.len == 0 || token.len > TOKEN_MAX || memchr(token.at, '\\', token.len)) {
        return refuse(reading, ERROR_INVALID_MESSAGE,
                      "token must be 1 to %d characters without escapes", TOKEN_MAX);
    }
    reading->message.token = token;
    return 0;
}

static int read_rev(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_REV];

    if (!is_present(reading, MEMBER_REV) || value.kind == JSON_NULL) {
        return 0;
    }
    if (value.kind != JSON_STRING) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "rev must be a string or null");
    }
    if (rev_parse(without_quotes(value), &reading->message.rev) != 0) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "rev must be one that a message came with");
    }
    reading->message.has_rev = true;
    return 0;
}

static int read_timestamp(struct reading *reading)
{
    struct json_value value = reading->values[MEMBER_TIMESTAMP];

    if (!is_present(reading, MEMBER_TIMESTAMP)) {
        return 0;
    }
    if (value.kind != JSON_NUMBER) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "timestamp must be a number");
    }
    if (value.raw.len > PING_TIMESTAMP_MAX) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "timestamp must be of at most %d characters",
                      PING_TIMESTAMP_MAX);
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
        reading->message.task_id[0] = '\0';
        return read_timestamp(reading);
    }
    result = check_task_id(reading, default_task_id);
    if (result == 0 && reading->message.type == CLIENT_SUBSCRIBE) {
        result = read_token(reading);
    }
    if (result == 0 && reading->message.type != CLIENT_UNSUBSCRIBE) {
        result = read_rev(reading);
    }
    return result;
}

static int read_message(struct reading *reading, struct span text, const char *default_task_id)
{
    struct json_value object;
    const char *repeated;
    size_t offset;

    if (json_check(text, &object, &offset) != 0) {
        return refuse(reading, ERROR_INVALID_MESSAGE,
                      "the message must be JSON: it is not from byte %zu on", offset);
    }
    if (object.kind != JSON_OBJECT) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "the message must be a JSON object");
    }
    collect_members(reading, object, &repeated);
    if (is_present(reading, MEMBER_TASK_ID)) { /* first of all, for errors to name it */
        read_named_task_id(reading->values[MEMBER_TASK_ID], reading->message.task_id);
        memcpy(reading->error.task_id, reading->message.task_id, sizeof(reading->error.task_id));
    }
    if (repeated) {
        return refuse(reading, ERROR_INVALID_MESSAGE, "%s must come only once", repeated);
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
                        struct span stages, int64_t expires_at)
{
    char formatted_rev[REV_TEXT_SIZE], formatted_time[UTC_TIME_SIZE];
    uint64_t milliseconds;

    assert(expires_at >= 0);
    if (__builtin_mul_overflow((uint64_t)expires_at, UINT64_C(1000), &milliseconds)) {
        milliseconds = UINT64_MAX;
    }
    utc_time_format(milliseconds, formatted_time);
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

void message_unsubscribed(struct text *text, const char *task_id, const char *reason)
{
    begin_message(text, "unsubscribed", task_id);
    text_puts(text, "\"reason\":");
    put_string(text, reason);
    text_puts(text, "}}");
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
