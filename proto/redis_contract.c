#include "proto/redis_contract.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/progress_lua.h" /* generated: the function library's body and version */

#define N_MAX ((UINT64_C(1) << 53) - 1)

/* ── Small things ────────────────────────────────────────────────────────────────────────────── */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

static bool span_begins(struct span span, const char *text)
{
    return span.len >= strlen(text) && memcmp(span.at, text, strlen(text)) == 0;
}

static bool span_ends(struct span span, const char *text)
{
    size_t len = strlen(text);

    return span.len >= len && memcmp(span.at + span.len - len, text, len) == 0;
}

/* Takes `text` off the front of what is left to read. */
static bool take(struct span *rest, const char *text)
{
    if (!span_begins(*rest, text)) {
        return false;
    }
    rest->at += strlen(text);
    rest->len -= strlen(text);
    return true;
}

/* Takes everything up to the next `end`, which stays. */
static bool take_until(struct span *rest, char end, struct span *ret_taken)
{
    const char *found = rest->len > 0 ? memchr(rest->at, end, rest->len) : NULL;

    if (!found) {
        return false;
    }
    *ret_taken = (struct span){rest->at, (size_t)(found - rest->at)};
    rest->len -= ret_taken->len;
    rest->at = found;
    return true;
}

/* Takes a whole number from 1 to `max` without leading zeros. */
static bool take_number(struct span *rest, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t len = 0;

    for (; len < rest->len && is_digit(rest->at[len]); len++) {
        unsigned digit = (unsigned)(rest->at[len] - '0');
        if ((len == 0 && digit == 0) || number > (max - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (len == 0) {
        return false;
    }
    rest->at += len;
    rest->len -= len;
    *ret_number = number;
    return true;
}

/* ── Revisions ───────────────────────────────────────────────────────────────────────────────── */

void rev_format(char buffer[REV_TEXT_SIZE], const struct rev *rev)
{
    snprintf(buffer, REV_TEXT_SIZE, "%.*s-%" PRIu64, rev->run_len, rev->run, rev->n);
}

int rev_parse(struct span text, struct rev *ret_rev)
{
    struct rev rev = {0};
    struct span run;

    if (!take_until(&text, '-', &run) || run.len == 0 || run.len > sizeof(rev.run)) {
        return REDIS_CONTRACT_INVALID;
    }
    for (size_t i = 0; i < run.len; i++) {
        if (!is_digit(run.at[i]) && !is_lower(run.at[i])) {
            return REDIS_CONTRACT_INVALID;
        }
    }
    if (!take(&text, "-") || !take_number(&text, N_MAX, &rev.n) || text.len > 0) {
        return REDIS_CONTRACT_INVALID;
    }
    memcpy(rev.run, run.at, run.len);
    rev.run_len = (uint8_t)run.len;
    *ret_rev = rev;
    return 0;
}

bool rev_same_run(const struct rev *a, const struct rev *b)
{
    return a->run_len == b->run_len && memcmp(a->run, b->run, a->run_len) == 0;
}

/* ── Names ───────────────────────────────────────────────────────────────────────────────────── */

bool task_id_is_valid(const char *text, size_t len)
{
    if (len == 0 || len > TASK_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_alphanumeric(text[i]) && (text[i] == '\0' || !strchr("._~:-", text[i]))) {
            return false;
        }
    }
    return true;
}

bool prefix_is_valid(const char *text, size_t len)
{
    if (len < 2 || len > PREFIX_MAX || text[len - 1] != ':') {
        return false;
    }
    for (size_t i = 0; i < len - 1; i++) {
        if (!is_alphanumeric(text[i]) && text[i] != '_' && text[i] != '-') {
            return false;
        }
    }
    return true;
}

struct span task_id_of_key(struct span key, const char *prefix)
{
    if (!take(&key, prefix) || !task_id_is_valid(key.at, key.len)) {
        return (struct span){NULL, 0};
    }
    return key;
}

static bool type_of_name(struct span name, enum task_message_type *ret_type)
{
    for (enum task_message_type type = 0; type < TASK_MESSAGE_TYPES; type++) {
        if (span_is(name, task_message_type_name(type))) {
            *ret_type = type;
            return true;
        }
    }
    return false;
}

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
    if (!type_of_name(name, &type) || type == TASK_RESET) {
        return HASH_FIELD_OTHER;
    }
    *ret_type = type;
    return HASH_FIELD_MESSAGE;
}

uint64_t alive_deadline(struct span value)
{
    uint64_t deadline;

    return value.at && take_number(&value, UINT64_MAX - 1, &deadline) && value.len == 0
               ? deadline
               : UINT64_MAX;
}

/* ── Messages of a task ──────────────────────────────────────────────────────────────────────── */

int task_message_parse(struct span text, struct task_message *ret_message)
{
    struct task_message message;
    struct span type, rev;

    if (!take(&text, "{\"type\":\"") || !take_until(&text, '"', &type) ||
        !take(&text, "\",\"taskId\":\"") || !take_until(&text, '"', &message.task_id) ||
        !take(&text, "\",\"rev\":\"") || !take_until(&text, '"', &rev) ||
        !take(&text, "\",\"payload\":")) {
        return REDIS_CONTRACT_INVALID;
    }
    message.payload = (struct span){text.at, text.len - (text.len > 0)};
    if (!span_ends(text, "}") || !span_begins(message.payload, "{") ||
        !span_ends(message.payload, "}") || message.payload.len < 2) {
        return REDIS_CONTRACT_INVALID;
    }
    if (!type_of_name(type, &message.type) ||
        !task_id_is_valid(message.task_id.at, message.task_id.len) ||
        rev_parse(rev, &message.rev) != 0) {
        return REDIS_CONTRACT_INVALID;
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

/* ── Stages ──────────────────────────────────────────────────────────────────────────────────── */

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
    return stages.len >= strlen("[{\"stage\":\"\"}]") && span_begins(stages, "[{\"stage\":\"") &&
           span_ends(stages, "\"}]");
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

int stages_follow(struct text *stages, const struct task_message *message)
{
    const char *member = task_message_type_stage(message->type);
    struct decoded stage, timestamp;
    struct json_value payload;
    size_t offset;

    if (message->type == TASK_RESET) {
        text_deinit(stages);
        return 0;
    }
    if (!member || json_check(message->payload, &payload, &offset) != 0 ||
        payload.kind != JSON_OBJECT || !decode_member(payload, member, &stage) ||
        !decode_member(payload, "timestamp", &timestamp)) {
        return 0;
    }
    if (!task_message_type_enters_again(message->type) &&
        is_last_stage((struct span){stages->data, stages->len}, &stage)) {
        return 0;
    }
    return enter_stage(stages, &stage, &timestamp);
}

/* ── The function library ────────────────────────────────────────────────────────────────────── */

const uint32_t progress_library_version = PROGRESS_LIBRARY_VERSION;

void progress_library(struct text *text, uint32_t state_ttl_s, uint32_t max_payload)
{
    assert(state_ttl_s >= 1 && state_ttl_s <= STATE_TTL_MAX_S);
    assert(max_payload >= PAYLOAD_MAX_LEAST && max_payload <= PAYLOAD_MAX_MOST);
    text_printf(text,
                "#!lua name=" PROGRESS_LIBRARY_NAME "\n"
                "-- progressd library version=%" PRIu32 " state_ttl=%" PRIu32
                " max_payload=%" PRIu32 "\n"
                "local STATE_TTL, MAX_PAYLOAD = %" PRIu32 ", %" PRIu32 "\n",
                progress_library_version, state_ttl_s, max_payload, state_ttl_s, max_payload);
    text_puts(text, progress_library_body);
}

int progress_library_head(struct span code, struct library_head *ret_head)
{
    uint64_t version, state_ttl_s, max_payload;

    /* Newer versions may have more settings behind these. */
    if (!take(&code, "#!lua name=" PROGRESS_LIBRARY_NAME "\n-- progressd library version=") ||
        !take_number(&code, UINT32_MAX, &version) || !take(&code, " state_ttl=") ||
        !take_number(&code, UINT32_MAX, &state_ttl_s) || !take(&code, " max_payload=") ||
        !take_number(&code, UINT32_MAX, &max_payload) ||
        (!span_begins(code, "\n") && !span_begins(code, " "))) {
        return REDIS_CONTRACT_INVALID;
    }
    *ret_head =
        (struct library_head){(uint32_t)version, (uint32_t)state_ttl_s, (uint32_t)max_payload};
    return 0;
}

/* ── Messages published with plain PUBLISH ───────────────────────────────────────────────────── */

#define WHY_SIZE 128

static int plain_message_refuse(char ret_why[WHY_SIZE], const char *why)
{
    snprintf(ret_why, WHY_SIZE, "%s", why);
    return REDIS_CONTRACT_INVALID;
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
    size_t offset;

    if (json_check(text, &message, &offset) != 0) {
        snprintf(ret_why, WHY_SIZE, "the message is not JSON: see its byte %zu", offset + 1);
        return REDIS_CONTRACT_INVALID;
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
