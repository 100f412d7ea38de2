#include "proto/task_hash.h"

enum hash_field hash_field_of(struct span name, enum task_message_type *ret_type)
{
    enum task_message_type type;

    if (span_is(name, "run")) {
        return HASH_FIELD_RUN;
    }
    if (span_is(name, "n")) {
        return HASH_FIELD_N;
    }
    if (span_is(name, "stages")) {
        return HASH_FIELD_STAGES;
    }
    if (span_is(name, "_alive")) {
        return HASH_FIELD_ALIVE;
    }
    if (!task_message_type_of(name, &type) || type == TASK_RESET) {
        return HASH_FIELD_OTHER;
    }
    *ret_type = type;
    return HASH_FIELD_MESSAGE;
}

uint64_t alive_deadline(struct span value)
{
    uint64_t deadline;

    return value.at && span_take_number(&value, UINT64_MAX - 1, &deadline) && value.len == 0
               ? deadline
               : UINT64_MAX;
}
