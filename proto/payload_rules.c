#include "proto/payload_rules.h"

enum payload_kind {
    PAYLOAD_NUMBER,
    PAYLOAD_STRING,
    PAYLOAD_BOOLEAN,
    PAYLOAD_TIMESTAMP,
    PAYLOAD_ENUM,
};

struct payload_rule {
    const char *name;
    const char *value;
    double min, max; /* of a string's length in bytes; max 0: any */
    uint8_t type;    /* enum task_message_type */
    uint8_t kind;    /* enum payload_kind */
    bool required, nullable;
};

static const struct payload_rule rules[] = {
#define RULE(type, name, kind, required, nullable, min, max, value) \
    {name, value, min, max, type, kind, required, nullable},
    PAYLOAD_RULES(RULE)
#undef RULE
};

/* ── Times ───────────────────────────────────────────────────────────────────────────────────── */

/* Takes a number of just so many digits. */
static bool take_digits(struct span *rest, size_t count, unsigned *ret_number)
{
    unsigned number = 0;

    if (rest->len < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (rest->at[i] < '0' || rest->at[i] > '9') {
            return false;
        }
        number = number * 10 + (unsigned)(rest->at[i] - '0');
    }
    rest->at += count;
    rest->len -= count;
    *ret_number = number;
    return true;
}

static bool take_date(struct span *rest)
{
    static const uint8_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;

    if (!take_digits(rest, 4, &year) || !span_take(rest, "-") || !take_digits(rest, 2, &month) ||
        !span_take(rest, "-") || !take_digits(rest, 2, &day)) {
        return false;
    }
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1]) {
        return false;
    }
    return month != 2 || day < 29 || (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

static bool take_hour_and_minute(struct span *rest)
{
    unsigned hour, minute;

    return take_digits(rest, 2, &hour) && hour < 24 && span_take(rest, ":") &&
           take_digits(rest, 2, &minute) && minute < 60;
}

static bool take_seconds(struct span *rest)
{
    unsigned second, digit;

    if (!span_take(rest, ":")) {
        return true;
    }
    if (!take_digits(rest, 2, &second) || second > 59) {
        return false;
    }
    if (!span_take(rest, ".")) {
        return true;
    }
    if (!take_digits(rest, 1, &digit)) {
        return false;
    }
    while (take_digits(rest, 1, &digit)) {
    }
    return true;
}

bool timestamp_is_valid(struct span text)
{
    if (text.len > TIMESTAMP_MAX || !take_date(&text) || !span_take(&text, "T") ||
        !take_hour_and_minute(&text) || !take_seconds(&text)) {
        return false;
    }
    if (text.len == 0 || span_is(text, "Z")) {
        return true;
    }
    return (span_take(&text, "+") || span_take(&text, "-")) && take_hour_and_minute(&text) &&
           text.len == 0;
}

/* ── Members ─────────────────────────────────────────────────────────────────────────────────── */

static bool is_timestamp(struct json_value value)
{
    char text[TIMESTAMP_MAX];
    size_t len;

    return value.kind == JSON_STRING &&
           json_string_decode(value.raw, text, sizeof(text), &len) == 0 &&
           timestamp_is_valid((struct span){text, len});
}

/* The longest string with a limit of its own. */
#define STRING_MAX STAGE_MAX

static bool string_fits(const struct payload_rule *rule, struct json_value value)
{
    char text[STRING_MAX];
    size_t len;

    if (value.kind != JSON_STRING) {
        return false;
    }
    if (rule->max == 0) {
        return rule->min == 0 || value.raw.len > strlen("\"\"");
    }
    assert(rule->max <= STRING_MAX);
    return json_string_decode(value.raw, text, (size_t)rule->max, &len) == 0 && len >= rule->min;
}

static bool number_fits(const struct payload_rule *rule, struct json_value value)
{
    if (value.kind != JSON_NUMBER) {
        return false;
    }
    const double number = json_number(value.raw);
    return number >= rule->min && number <= rule->max;
}

static bool fits(const struct payload_rule *rule, struct json_value value)
{
    if (value.kind == JSON_NULL) {
        return rule->nullable;
    }
    switch ((enum payload_kind)rule->kind) {
    case PAYLOAD_NUMBER:
        return number_fits(rule, value);
    case PAYLOAD_STRING:
        return string_fits(rule, value);
    case PAYLOAD_BOOLEAN:
        return value.kind == JSON_BOOL;
    case PAYLOAD_TIMESTAMP:
        return is_timestamp(value);
    case PAYLOAD_ENUM:
        return value.kind == JSON_STRING && json_string_is(value.raw, rule->value);
    }
    return false;
}

bool payload_is_valid(enum task_message_type type, struct json_value payload)
{
    struct json_value value;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].type != type) {
            continue;
        }
        if (json_find(payload, rules[i].name, &value) != 0) {
            if (rules[i].required) {
                return false;
            }
        } else if (!fits(&rules[i], value)) {
            return false;
        }
    }
    return true;
}
