/* A text that grows while it is written: JSON, HTTP, metrics.
 *
 * Receives   pieces of a text that is too long or too loose for a fixed buffer
 * Hands on   the whole as a pointer and a length, or as counted bytes
 * Owns       its buffer
 *
 * Running out of memory is remembered, not reported piece by piece: check text_failed() once at
 * the end (or the NULL of text_to_bytes()).
 */
#ifndef PROGRESSD_COMMON_TEXT_H
#define PROGRESSD_COMMON_TEXT_H

#include <stdbool.h>

#include "common/bytes.h"

struct text {
    char *data; /* ends in NUL once anything was written; NULL before */
    size_t len, capacity;
    bool failed;
};

#define TEXT_EMPTY ((struct text){NULL, 0, 0, false})

/* Frees the buffer; the text is empty afterwards. */
void text_deinit(struct text *text);

void text_append(struct text *text, const void *data, size_t len);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends `len` bytes of valid UTF-8 as a JSON string, quotes included (RFC 8259, 7): `"`, `\`
 * and U+0000 to U+001F are escaped, nothing else is: \n, \r and \t so, other control characters
 * as \u001f, in lower case. json_string() in progress.lua does the same byte for byte. */
void text_json_string(struct text *text, const void *data, size_t len);

bool text_failed(const struct text *text);

/* What was written, as counted bytes (a copy); NULL when out of memory now or before. */
struct bytes *text_to_bytes(const struct text *text) MUST_CHECK;

#endif
