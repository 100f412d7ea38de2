#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json_escape.h"
#include "common/mem.h"

#define FIRST_CAPACITY 256

void text_deinit(struct text *text)
{
    mem_free(text->data);
    *text = TEXT_EMPTY;
}

/* Makes room for `len` more bytes and the NUL. False, now and for good, when out of memory. */
static bool reserve(struct text *text, size_t len)
{
    if (text->failed) {
        return false;
    }
    if (len < text->capacity - text->len) {
        return true;
    }
    size_t needed;
    if (__builtin_add_overflow(text->len, len, &needed) || needed > SIZE_MAX / 2) {
        text->failed = true;
        return false;
    }
    size_t capacity = text->capacity ? text->capacity : FIRST_CAPACITY;
    while (capacity <= needed) {
        capacity *= 2;
    }
    char *data = mem_realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_append(struct text *text, const void *data, size_t len)
{
    if (len == 0 || !reserve(text, len)) {
        return;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = '\0';
}

void text_puts(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);

    assert(len >= 0);
    if (len == 0 || !reserve(text, (size_t)len)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text->data + text->len, (size_t)len + 1, format, args);
    va_end(args);
    text->len += (size_t)len;
}

void text_json_string(struct text *text, const void *data, size_t len)
{
    const unsigned char *at = data;
    size_t plain = 0; /* where the run of bytes that need no escape began */

    text_append(text, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (at[i] >= 0x20 && at[i] != '"' && at[i] != '\\') {
            continue;
        }
        text_append(text, at + plain, i - plain);
        char escape[JSON_ESCAPE_SIZE];
        text_append(text, escape, json_escape(at[i], escape));
        plain = i + 1;
    }
    if (plain < len) {
        text_append(text, at + plain, len - plain);
    }
    text_append(text, "\"", 1);
}

bool text_failed(const struct text *text)
{
    return text->failed;
}

struct bytes *text_to_bytes(const struct text *text)
{
    if (text->failed || text->len > UINT32_MAX) {
        return NULL;
    }
    return bytes_copy(text->data, (uint32_t)text->len);
}
