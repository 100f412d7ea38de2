/* JSON as RFC 8259 says, read in place: checked whole, then looked into by spans.
 *
 * Receives   one text
 * Hands on   spans of that text: the members of an object, the elements of an array
 * Owns       nothing; a span points into the text and lives as long
 *
 * cJSON builds a tree and accepts more than JSON (see docs/ARCHITECTURE.md), and what jobs send
 * is passed on byte for byte; so what the hot path needs is a strict check and the place of a few
 * members. All else that handles JSON uses cJSON.
 */
#ifndef PROGRESSD_PROTO_JSON_H
#define PROGRESSD_PROTO_JSON_H

#include "common/span.h"

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value: its raw text, quotes and brackets included, without white space around it. */
struct json_value {
    enum json_kind kind;
    struct span raw;
};

#define JSON_MAX_DEPTH 32

enum json_outcome { JSON_INVALID = 1, JSON_END, JSON_TOO_LONG };

/* Checks that `text` is one JSON value and nothing else but white space: RFC 8259 to the letter,
 * valid UTF-8 (RFC 3629), no BOM, at most JSON_MAX_DEPTH deep, lone surrogate escapes refused.
 * 0 and *ret_value, or JSON_INVALID and *ret_offset, the byte at fault. */
int json_check(struct span text, struct json_value *ret_value, size_t *ret_offset) MUST_CHECK;

/* The same for texts of which most is nobody's business here: RFC 8259's grammar alone, so lone
 * surrogate escapes are taken, and JSON_LENIENT_DEPTH levels. */
#define JSON_LENIENT_DEPTH 512
int json_check_lenient(struct span text, struct json_value *ret_value,
                       size_t *ret_offset) MUST_CHECK;

/* Walks the members of a checked object: *position starts at 0. 0 and the member (the name with
 * its quotes), or JSON_END. */
int json_next_member(struct json_value object, size_t *position, struct span *ret_name,
                     struct json_value *ret_value) MUST_CHECK;

/* Walks the elements of a checked array in the same way. */
int json_next_element(struct json_value array, size_t *position,
                      struct json_value *ret_value) MUST_CHECK;

/* The last member of that name in a checked object, as JSON.parse takes it; names are compared
 * decoded, and case counts. 0 or JSON_END. */
int json_find(struct json_value object, const char *name, struct json_value *ret_value) MUST_CHECK;

/* Whether a checked string, raw with its quotes, decodes to exactly `text`. */
bool json_string_is(struct span raw, const char *text);

/* Decodes a checked string into `buffer`. 0 and *ret_len, or JSON_TOO_LONG. The result holds
 * a NUL byte where the string has \u0000, and no UTF-8 where it has a lone surrogate. */
int json_string_decode(struct span raw, char *buffer, size_t size, size_t *ret_len) MUST_CHECK;

/* The value of a checked number, as JSON.parse gives it (infinite when out of range). */
double json_number(struct span raw);

#endif
