#include "broker/auth/token.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "broker/auth/token_parts.h"
#include "common/mem.h"
#include "proto/task_key.h"

/* The end of the year 9999: what is later is in milliseconds, by mistake, or nonsense. */
#define LATEST_S 253402300799.0

enum { EXP, NBF, ISS, AUD, TASKS, TASK_ID, CLAIM_COUNT };
static const char *const claim_names[CLAIM_COUNT] = {"exp", "nbf", "iss", "aud", "tasks", "taskId"};

/* The names while they are gathered: none is longer than its text in the claims. */
struct names {
    char data[TOKEN_MAX];
    size_t len;
};

struct token *token_ref(struct token *token)
{
    token->refs++;
    return token;
}

void token_unref(struct token *token)
{
    if (token && --token->refs == 0) {
        mem_free(token);
    }
}

void token_unref_at(struct token **token)
{
    token_unref(*token);
}

/* ── Tasks ───────────────────────────────────────────────────────────────────────────────────── */

static bool name_is_valid(const char *name, size_t len)
{
    if (len > 0 && name[len - 1] == '*') {
        return len == 1 || task_id_beginning_is_valid(name, len - 1);
    }
    return task_id_is_valid(name, len);
}

static int add_name(const struct json_value *value, struct names *names)
{
    char name[TASK_ID_MAX + 2]; /* with a * and room for a NUL */
    size_t len;

    if (value->kind != JSON_STRING ||
        json_string_decode(value->raw, name, sizeof(name), &len) != 0 ||
        !name_is_valid(name, len)) {
        return TOKEN_CLAIMS;
    }
    memcpy(names->data + names->len, name, len);
    names->len += len;
    names->data[names->len++] = '\0';
    return 0;
}

static int read_names(const struct json_value claims[], struct names *names)
{
    size_t position = 0;
    struct json_value element;

    if (claims[TASK_ID].raw.at && add_name(&claims[TASK_ID], names) != 0) {
        return TOKEN_CLAIMS;
    }
    if (claims[TASKS].raw.at) {
        if (claims[TASKS].kind != JSON_ARRAY) {
            return TOKEN_CLAIMS;
        }
        while (json_next_element(claims[TASKS], &position, &element) == 0) {
            if (add_name(&element, names) != 0) {
                return TOKEN_CLAIMS;
            }
        }
    }
    return names->len > 0 ? 0 : TOKEN_CLAIMS;
}

bool token_names(const struct token *token, const char *task_id)
{
    size_t task_id_len = strlen(task_id);
    const char *end = token->names + token->names_len;

    for (const char *name = token->names; name < end;) {
        size_t len = strlen(name);

        if (name[len - 1] == '*') {
            if (task_id_len >= len - 1 && memcmp(task_id, name, len - 1) == 0) {
                return true;
            }
        } else if (len == task_id_len && memcmp(task_id, name, len) == 0) {
            return true;
        }
        name += len + 1;
    }
    return false;
}

/* ── Time, issuer, audience ──────────────────────────────────────────────────────────────────── */

/* A time in seconds since 1970, which may have a fraction (RFC 7519, 2, NumericDate). */
static int token_read_time(const struct json_value *claim, int64_t *ret_us)
{
    if (claim->kind != JSON_NUMBER) {
        return TOKEN_CLAIMS;
    }
    const double seconds = json_number(claim->raw);
    if (!(seconds >= 0 && seconds <= LATEST_S)) {
        return TOKEN_CLAIMS;
    }
    *ret_us = (int64_t)floor(seconds * 1e6);
    return 0;
}

static int read_times(const struct json_value claims[], int64_t leeway_us, struct token *times)
{
    int64_t not_before_us;

    if (!claims[EXP].raw.at || token_read_time(&claims[EXP], &times->expires_us) != 0) {
        return TOKEN_CLAIMS;
    }
    times->valid_until_us = times->expires_us + leeway_us;
    times->valid_from_us = INT64_MIN;
    if (claims[NBF].raw.at) {
        if (token_read_time(&claims[NBF], &not_before_us) != 0) {
            return TOKEN_CLAIMS;
        }
        times->valid_from_us = not_before_us - leeway_us;
    }
    return 0;
}

static bool is_string(const struct json_value *value, const char *text)
{
    return value->raw.at && value->kind == JSON_STRING && json_string_is(value->raw, text);
}

/* `aud` is one string, or an array of them of which one is enough (RFC 7519, 4.1.3). */
static bool has_audience(const struct json_value *aud, const char *audience)
{
    size_t position = 0;
    struct json_value element;

    if (!aud->raw.at || aud->kind != JSON_ARRAY) {
        return is_string(aud, audience);
    }
    while (json_next_element(*aud, &position, &element) == 0) {
        if (is_string(&element, audience)) {
            return true;
        }
    }
    return false;
}

/* ── The whole ───────────────────────────────────────────────────────────────────────────────── */

static struct token *token_new(const struct token *times, const struct names *names)
{
    size_t size = sizeof(struct token) + names->len;
    struct token *token = mem_alloc(size);

    if (!token) {
        return NULL;
    }
    *token = *times;
    token->refs = 1;
    token->size = (uint32_t)size;
    token->names_len = (uint32_t)names->len;
    memcpy(token->names, names->data, names->len);
    return token;
}

int token_from_claims(struct span claims, const struct token_rules *rules, struct token **ret_token)
{
    struct json_value object, values[CLAIM_COUNT];
    struct token times = {0};
    struct names names;
    size_t offset;

    names.len = 0;
    if (claims.len > sizeof(names.data) || json_check_lenient(claims, &object, &offset) != 0 ||
        object.kind != JSON_OBJECT ||
        token_members(object, claim_names, CLAIM_COUNT, values) != 0 ||
        read_times(values, rules->leeway_us, &times) != 0 || read_names(values, &names) != 0) {
        return TOKEN_CLAIMS;
    }
    if (rules->issuer && !is_string(&values[ISS], rules->issuer)) {
        return TOKEN_ISSUER;
    }
    if (rules->audience && !has_audience(&values[AUD], rules->audience)) {
        return TOKEN_AUDIENCE;
    }
    struct token *token = token_new(&times, &names);
    if (!token) {
        return -ENOMEM;
    }
    *ret_token = token;
    return 0;
}
