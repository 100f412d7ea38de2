#include "proto/plain_message.h"

#include <stdio.h>

#include "proto/json.h"
#include "proto/task_key.h"

#define WHY_SIZE 128

/* Some programs write it in front of everything, and it means nothing in UTF-8. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static int plain_message_refuse(char ret_why[WHY_SIZE], const char *why)
{
    snprintf(ret_why, WHY_SIZE, "%s", why);
    return PLAIN_MESSAGE_INVALID;
}

/* A job may leave the task id out, since the channel names it; it may not name another. */
static bool names_task(struct json_value message, struct span task_id)
{
    char expected[TASK_ID_MAX + 1];
    struct json_value given;

    if (json_find(message, "taskId", &given) != 0) {
        return true;
    }
    snprintf(expected, sizeof(expected), "%.*s", (int)task_id.len, task_id.at);
    return given.kind == JSON_STRING && json_string_is(given.raw, expected);
}

int plain_message_parse(struct span text, struct span task_id, struct span *ret_type,
                        struct span *ret_payload, char ret_why[WHY_SIZE])
{
    struct json_value message, type, payload;
    const size_t skipped = span_take(&text, BYTE_ORDER_MARK) ? strlen(BYTE_ORDER_MARK) : 0;
    size_t offset;

    if (json_check(text, &message, &offset) != 0) {
        snprintf(ret_why, WHY_SIZE, "the message is not JSON: see its byte %zu",
                 skipped + offset + 1);
        return PLAIN_MESSAGE_INVALID;
    }
    if (message.kind != JSON_OBJECT) {
        return plain_message_refuse(ret_why, "the message must be an object");
    }
    if (json_find(message, "type", &type) != 0 || type.kind != JSON_STRING) {
        return plain_message_refuse(ret_why, "type must be a string");
    }
    if (!names_task(message, task_id)) {
        return plain_message_refuse(ret_why, "taskId must be the one in the channel's name");
    }
    if (json_find(message, "payload", &payload) != 0 || payload.kind != JSON_OBJECT) {
        return plain_message_refuse(ret_why, "payload must be an object");
    }
    *ret_type = (struct span){type.raw.at + 1, type.raw.len - 2};
    *ret_payload = payload.raw;
    return 0;
}
