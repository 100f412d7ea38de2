#include "proto/task_stages.h"

#include <errno.h>

#include "proto/json.h"

/* A string's content, decoded. */
struct decoded {
    char data[STAGE_MAX > TIMESTAMP_MAX ? STAGE_MAX : TIMESTAMP_MAX];
    size_t len;
};

static bool decode_member(struct json_value object, const char *name, struct decoded *ret_decoded)
{
    struct json_value value;

    return json_find(object, name, &value) == 0 && value.kind == JSON_STRING &&
           json_string_decode(value.raw, ret_decoded->data, sizeof(ret_decoded->data),
                              &ret_decoded->len) == 0;
}

/* Between two stages. No string can contain it, since a quote within one has a backslash before
 * it. */
#define BETWEEN_STAGES "\"},{\""
#define BETWEEN_STAGES_LEN (sizeof(BETWEEN_STAGES) - 1)

/* What progress.lua recognises as stages; of anything else it makes a new beginning. */
static bool are_stages(struct span stages)
{
    return stages.len >= strlen("[{\"stage\":\"\"}]") &&
           span_begins_with(stages, "[{\"stage\":\"") && span_ends_with(stages, "\"}]");
}

static struct span last_entry(struct span stages)
{
    const char *end = stages.at + stages.len - strlen("]");
    const char *at = end - BETWEEN_STAGES_LEN;

    while (at > stages.at && memcmp(at, BETWEEN_STAGES, BETWEEN_STAGES_LEN) != 0) {
        at--;
    }
    const char *begin = at + (at > stages.at ? strlen("\"},") : strlen("["));
    return (struct span){begin, (size_t)(end - begin)};
}

static bool is_last_stage(struct span stages, const struct decoded *stage)
{
    struct json_value entry;
    struct decoded last;
    size_t offset;

    return are_stages(stages) && json_check(last_entry(stages), &entry, &offset) == 0 &&
           entry.kind == JSON_OBJECT && decode_member(entry, "stage", &last) &&
           last.len == stage->len && memcmp(last.data, stage->data, stage->len) == 0;
}

/* The stages that stay when one more is to come, each with what separates it from the next. */
static struct span stages_to_keep(struct span stages)
{
    const char *second = NULL, *at = stages.at + 1, *end = stages.at + stages.len - 1;
    unsigned count = 1;

    for (;;) {
        const char *found = memmem(at, (size_t)(end - at), BETWEEN_STAGES, BETWEEN_STAGES_LEN);
        if (!found) {
            break;
        }
        at = found + strlen("\"},");
        second = second ? second : at;
        count++;
    }
    if (count >= STAGES_MAX && second) {
        return (struct span){second, (size_t)(end - second)};
    }
    return (struct span){stages.at + 1, stages.len - 2};
}

static int enter_stage(struct text *stages, const struct decoded *stage,
                       const struct decoded *timestamp)
{
    struct span old = {stages->data, stages->len};
    struct text new = TEXT_EMPTY;

    text_puts(&new, "[");
    if (are_stages(old)) {
        struct span kept = stages_to_keep(old);
        text_append(&new, kept.at, kept.len);
        text_puts(&new, ",");
    }
    text_puts(&new, "{\"stage\":");
    text_json_string(&new, stage->data, stage->len);
    text_puts(&new, ",\"timestamp\":");
    text_json_string(&new, timestamp->data, timestamp->len);
    text_puts(&new, "}]");
    if (text_failed(&new)) {
        text_deinit(&new);
        return -ENOMEM;
    }
    text_deinit(stages);
    *stages = new;
    return 0;
}

bool stages_are_valid(struct span stages)
{
    struct json_value array, entry;
    struct decoded stage, timestamp;
    size_t offset, position = 0, count = 0;

    if (json_check(stages, &array, &offset) != 0 || array.kind != JSON_ARRAY) {
        return false;
    }
    for (; json_next_element(array, &position, &entry) == 0; count++) {
        if (entry.kind != JSON_OBJECT || !decode_member(entry, "stage", &stage) ||
            !decode_member(entry, "timestamp", &timestamp)) {
            return false;
        }
    }
    return count <= STAGES_MAX;
}

int stages_follow(struct text *stages, const struct task_message *message)
{
    const char *member = task_message_type_stage(message->type);
    struct decoded stage, timestamp;
    const struct json_value payload = task_message_payload(message);

    if (message->type == TASK_RESET) {
        text_deinit(stages);
        return 0;
    }
    if (!member || !decode_member(payload, member, &stage) ||
        !decode_member(payload, "timestamp", &timestamp)) {
        return 0;
    }
    if (!task_message_type_enters_again(message->type) &&
        is_last_stage((struct span){stages->data, stages->len}, &stage)) {
        return 0;
    }
    return enter_stage(stages, &stage, &timestamp);
}
