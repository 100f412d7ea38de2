#include "proto/task_message.h"

#include "proto/json.h"
#include "proto/task_key.h"

bool task_message_type_of(struct span name, enum task_message_type *ret_type)
{
    for (enum task_message_type type = 0; type < TASK_MESSAGE_TYPES; type++) {
        if (span_is(name, task_message_type_name(type))) {
            *ret_type = type;
            return true;
        }
    }
    return false;
}

int task_message_parse(struct span text, struct task_message *ret_message)
{
    struct task_message message;
    struct span type, rev;

    if (!span_take(&text, "{\"type\":\"") || !span_take_until(&text, '"', &type) ||
        !span_take(&text, "\",\"taskId\":\"") || !span_take_until(&text, '"', &message.task_id) ||
        !span_take(&text, "\",\"rev\":\"") || !span_take_until(&text, '"', &rev) ||
        !span_take(&text, "\",\"payload\":")) {
        return TASK_MESSAGE_INVALID;
    }
    message.payload = (struct span){text.at, text.len - (text.len > 0)};
    if (!span_ends_with(text, "}") || !span_begins_with(message.payload, "{") ||
        !span_ends_with(message.payload, "}") || message.payload.len < 2) {
        return TASK_MESSAGE_INVALID;
    }
    if (!task_message_type_of(type, &message.type) ||
        !task_id_is_valid(message.task_id.at, message.task_id.len) ||
        rev_parse(rev, &message.rev) != 0) {
        return TASK_MESSAGE_INVALID;
    }
    *ret_message = message;
    return 0;
}

void task_message_reset(struct text *text, const char *task_id, const struct rev *rev)
{
    char rev_text[REV_TEXT_SIZE];

    rev_format(rev_text, rev);
    text_printf(text, "{\"type\":\"reset\",\"taskId\":\"%s\",\"rev\":\"%s\",\"payload\":{}}",
                task_id, rev_text);
}

/* A member of a message's payload, or false: it has none, or the payload isn't JSON, which no
 * message made by progress.lua has. */
static bool payload_member(const struct task_message *message, const char *name,
                           struct json_value *ret_value)
{
    struct json_value payload;
    size_t offset;

    return json_check(message->payload, &payload, &offset) == 0 && payload.kind == JSON_OBJECT &&
           json_find(payload, name, ret_value) == 0;
}

bool task_message_ends(const struct task_message *message)
{
    struct json_value retryable;

    if (message->type == TASK_COMPLETE) {
        return true;
    }
    return message->type == TASK_ERROR &&
           !(payload_member(message, "retryable", &retryable) && span_is(retryable.raw, "true"));
}
