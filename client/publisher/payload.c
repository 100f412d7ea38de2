#include "client/publisher/payload.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json_escape.h"
#include "common/utc_time.h"
#include "proto/message_tables.h"
#include "proto/utf8.h"

/* A percentage may be outside of its range by so much: sums of fractions are a little off. */
#define PERCENTAGE_SLACK 0.001

/* More of a code is no code. */
#define CODE_MAX 128

static int payload_invalid(char ret_why[PAYLOAD_WHY_SIZE], const char *why)
{
    snprintf(ret_why, PAYLOAD_WHY_SIZE, "%s", why);
    return PAYLOAD_INVALID;
}

static int finished(const struct text *text)
{
    return text_failed(text) ? -ENOMEM : 0;
}

/* A number as JSON has it, whatever the locale: at most three decimals. */
static void put_number(struct text *text, double number)
{
    const double thousandths = round(number * 1000);

    if (thousandths >= 9e15) {
        text_printf(text, "%.0f", number);
        return;
    }
    const uint64_t whole = (uint64_t)thousandths;
    text_printf(text, "%llu", (unsigned long long)(whole / 1000));
    if (whole % 1000 > 0) {
        text_printf(text, ".%03u", (unsigned)(whole % 1000));
    }
}

static bool is_stage(const char *stage)
{
    const size_t len = stage ? strnlen(stage, STAGE_MAX + 1) : 0;

    return len >= 1 && len <= STAGE_MAX && utf8_is_valid(stage, len);
}

int payload_stage(struct text *text, const char *from, const char *to, uint64_t now_ms,
                  char ret_why[PAYLOAD_WHY_SIZE])
{
    char timestamp[UTC_TIME_SIZE];

    if (!is_stage(to)) {
        return payload_invalid(ret_why, "stage must be 1 to 128 bytes of UTF-8");
    }
    utc_time_format(now_ms, timestamp);
    text_puts(text, "{\"fromStage\":");
    if (from) {
        text_json_string(text, from, strlen(from));
    } else {
        text_puts(text, "null");
    }
    text_puts(text, ",\"toStage\":");
    text_json_string(text, to, strlen(to));
    text_printf(text, ",\"timestamp\":\"%s\"}", timestamp);
    return finished(text);
}

int payload_update(struct text *text, const struct payload_update *update,
                   char ret_why[PAYLOAD_WHY_SIZE])
{
    if (!(update->percentage > -PERCENTAGE_SLACK && update->percentage < 100 + PERCENTAGE_SLACK)) {
        return payload_invalid(ret_why, "percentage must be a number from 0 to 100");
    }
    text_puts(text, "{\"percentage\":");
    put_number(text, fmin(fmax(update->percentage, 0), 100));
    text_puts(text, ",\"stage\":");
    text_json_string(text, update->stage, strlen(update->stage));
    if (update->bytes_total > 0) {
        text_printf(text, ",\"bytesProcessed\":%llu,\"bytesTotal\":%llu",
                    (unsigned long long)update->bytes_done,
                    (unsigned long long)update->bytes_total);
    }
    if (update->speed >= 0) {
        text_puts(text, ",\"processingSpeed\":");
        put_number(text, update->speed);
    }
    text_puts(text, "}");
    return finished(text);
}

int payload_complete(struct text *text, const char *result_url, double seconds, size_t max,
                     char ret_why[PAYLOAD_WHY_SIZE])
{
    const size_t len = result_url ? strnlen(result_url, max + 1) : 0;

    if (!result_url || len > max || !utf8_is_valid(result_url, len)) {
        return payload_invalid(ret_why, "result_url must be UTF-8 that fits into a payload");
    }
    if (!isfinite(seconds) || seconds < 0) {
        return payload_invalid(ret_why, "seconds must be a number from 0 up");
    }
    text_puts(text, "{\"resultUrl\":");
    text_json_string(text, result_url, len);
    text_puts(text, ",\"duration\":");
    put_number(text, seconds);
    text_puts(text, "}");
    if (!text_failed(text) && text->len > max) {
        return payload_invalid(ret_why, "result_url must be UTF-8 that fits into a payload");
    }
    return finished(text);
}

/* How many bytes the valid character at `at` has; 0: there is none. */
static size_t character_len(const char *at)
{
    for (size_t len = 1; len <= 4 && at[len - 1] != '\0'; len++) {
        if (utf8_is_valid(at, len)) {
            return len;
        }
    }
    return 0;
}

/* Appends the inside of a JSON string, as much as `room` takes. */
static void put_mended(struct text *text, const char *message, size_t room)
{
    while (*message) {
        const size_t len = character_len(message);
        const unsigned char first = len == 0 ? '?' : (unsigned char)*message;
        const bool escaped = first < 0x20 || first == '"' || first == '\\';
        char escape[JSON_ESCAPE_SIZE];
        const size_t needed = escaped ? json_escape(first, escape) : len == 0 ? 1 : len;

        if (needed > room) {
            return;
        }
        text_append(text, escaped ? escape : len == 0 ? "?" : message, needed);
        room -= needed;
        message += len == 0 ? 1 : len;
    }
}

int payload_error(struct text *text, const char *code, const char *message, bool retryable,
                  size_t max, char ret_why[PAYLOAD_WHY_SIZE])
{
    static const char end[] = "\",\"retryable\":false}";
    const size_t code_len = code ? strnlen(code, CODE_MAX + 1) : 0;

    if (code_len == 0 || code_len > CODE_MAX || !utf8_is_valid(code, code_len)) {
        return payload_invalid(ret_why, "code must be 1 to 128 bytes of UTF-8");
    }
    text_puts(text, "{\"code\":");
    text_json_string(text, code, code_len);
    text_puts(text, ",\"message\":\"");
    if (text->len + sizeof(end) > max) {
        return payload_invalid(ret_why, "code must be shorter: it has to fit into a payload");
    }
    put_mended(text, message ? message : "", max - text->len - sizeof(end));
    text_puts(text, "\",\"retryable\":");
    text_puts(text, retryable ? "true}" : "false}");
    return finished(text);
}
