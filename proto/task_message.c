#include "proto/task_message.h"

#include "proto/payload_rules.h"
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

struct json_value task_message_payload(const struct task_message *message)
{
    return (struct json_value){JSON_OBJECT, message->payload};
}

int task_message_parse(struct span text, struct task_message *ret_message)
{
    struct task_message message;
    struct json_value payload;
    struct span type, rev;
    size_t offset;

    if (!span_take(&text, "{\"type\":\"") || !span_take_until(&text, '"', &type) ||
        !span_take(&text, "\",\"taskId\":\"") || !span_take_until(&text, '"', &message.task_id) ||
        !span_take(&text, "\",\"rev\":\"") || !span_take_until(&text, '"', &rev) ||
        !span_take(&text, "\",\"payload\":")) {
        return TASK_MESSAGE_INVALID;
    }
    if (!span_ends_with(text, "}")) {
        return TASK_MESSAGE_INVALID;
    }
    message.payload = (struct span){text.at, text.len - 1};
    if (!task_message_type_of(type, &message.type) ||
        !task_id_is_valid(message.task_id.at, message.task_id.len) ||
        rev_parse(rev, &message.rev) != 0) {
        return TASK_MESSAGE_INVALID;
    }
    if (json_check(message.payload, &payload, &offset) != 0 || payload.kind != JSON_OBJECT ||
        payload.raw.len != message.payload.len || !payload_is_valid(message.type, payload)) {
        return TASK_MESSAGE_INVALID;
    }
    *ret_message = message;
    return 0;
}

void task_message_reset(struct text *text, const char *task_id, const struct rev *rev)
{
    char rev_text[REV_TEXT_SIZE];

    text_printf(text, "{\"type\":\"reset\",\"taskId\":\"%s\",\"rev\":", task_id);
    if (rev) {
        rev_format(rev_text, rev);
        text_printf(text, "\"%s\",\"payload\":{}}", rev_text);
    } else {
        text_puts(text, "null,\"payload\":{}}");
    }
}

bool task_message_ends(const struct task_message *message)
{
    struct json_value retryable;

    if (message->type == TASK_COMPLETE) {
        return true;
    }
    return message->type == TASK_ERROR &&
           !(json_find(task_message_payload(message), "retryable", &retryable) == 0 &&
             span_is(retryable.raw, "true"));
}
