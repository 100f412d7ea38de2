/* What checked strings and numbers mean. The scanner in json.c has been over them: every escape is
 * whole. A high surrogate has its low one behind it unless the check was the lenient one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"

/* ── Strings ─────────────────────────────────────────────────────────────────────────────────── */

static struct span without_quotes(struct span raw)
{
    assert(raw.len >= 2 && raw.at[0] == '"' && raw.at[raw.len - 1] == '"');
    return (struct span){raw.at + 1, raw.len - 2};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint32_t hex_value(char c)
{
    return (uint32_t)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* The UTF-16 code unit of the escape \uXXXX at `at`. */
static uint32_t code_unit_at(const char *at)
{
    return hex_value(at[2]) << 12 | hex_value(at[3]) << 8 | hex_value(at[4]) << 4 |
           hex_value(at[5]);
}

/* RFC 3629, 3. Returns the number of bytes. */
static size_t encode_utf8(uint32_t character, char bytes[4])
{
    static const uint8_t lead[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    size_t len = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

    for (size_t i = len - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (character & 0x3F));
        character >>= 6;
    }
    bytes[0] = (char)(lead[len] | character);
    return len;
}

/* Whether an escape stands at `at` that means a low surrogate. A string's last byte is its quote,
 * so there is one to look at. */
static bool is_low_surrogate_at(const char *at)
{
    return at[0] == '\\' && at[1] == 'u' && (code_unit_at(at) & 0xFC00) == 0xDC00;
}

/* A lone surrogate is encoded like any other code unit, which makes no UTF-8. */
static size_t decode_unicode_escape(const char **at, char bytes[4])
{
    uint32_t character = code_unit_at(*at);

    *at += 6;
    if (character >= 0xD800 && character <= 0xDBFF && is_low_surrogate_at(*at)) {
        character = 0x10000 + ((character - 0xD800) << 10) + (code_unit_at(*at) - 0xDC00);
        *at += 6;
    }
    return encode_utf8(character, bytes);
}

/* What stands at *at within a string: a byte that is its own meaning, or an escape. Moves *at
 * behind it, and returns how many bytes it means. */
static size_t decode_next(const char **at, char bytes[4])
{
    static const char meanings[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                       ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

    if (**at != '\\') {
        bytes[0] = *(*at)++;
        return 1;
    }
    if ((*at)[1] == 'u') {
        return decode_unicode_escape(at, bytes);
    }
    bytes[0] = meanings[(uint8_t)(*at)[1]];
    *at += 2;
    return 1;
}

bool json_string_is(struct span raw, const char *text)
{
    struct span inside = without_quotes(raw);
    const char *at = inside.at, *end = inside.at + inside.len;
    size_t text_len = strlen(text);
    char bytes[4];

    while (at < end) {
        size_t len = decode_next(&at, bytes);
        if (len > text_len || memcmp(bytes, text, len) != 0) {
            return false;
        }
        text += len;
        text_len -= len;
    }
    return text_len == 0;
}

int json_string_decode(struct span raw, char *buffer, size_t size, size_t *ret_len)
{
    struct span inside = without_quotes(raw);
    const char *at = inside.at, *end = inside.at + inside.len;
    size_t len = 0;
    char bytes[4];

    while (at < end) {
        size_t added = decode_next(&at, bytes);
        if (added > size - len) {
            return JSON_TOO_LONG;
        }
        memcpy(buffer + len, bytes, added);
        len += added;
    }
    *ret_len = len;
    return 0;
}

/* ── Numbers ─────────────────────────────────────────────────────────────────────────────────── */

/* No double, and no midpoint between two, has more significant digits than 768; of further ones
 * only counts whether one isn't 0. */
#define DIGITS_MAX 769

/* Exponents beyond decide by themselves; the limit leaves room for sums with a text's length. */
#define EXPONENT_MAX 1000000000000

/* A number as 0.d1d2d3… x 10^exponent, as strtod(3) takes it in any locale and of any length. */
struct decimal {
    char digits[DIGITS_MAX];
    size_t len;
    int64_t exponent;
};

static void decimal_add_digit(struct decimal *decimal, char digit)
{
    if (decimal->len < DIGITS_MAX) {
        decimal->digits[decimal->len++] = digit;
    } else if (digit != '0' && decimal->digits[DIGITS_MAX - 1] == '0') {
        decimal->digits[DIGITS_MAX - 1] = '1';
    }
}

/* Returns where the digits end. */
static const char *decimal_read_digits(struct decimal *decimal, const char *at, const char *end)
{
    bool fraction = false;

    for (; at < end; at++) {
        if (*at == '.') {
            fraction = true;
        } else if (!is_digit(*at)) {
            break;
        } else if (decimal->len == 0 && *at == '0') {
            decimal->exponent -= fraction;
        } else {
            decimal_add_digit(decimal, *at);
            decimal->exponent += !fraction;
        }
    }
    return at;
}

/* The exponent's value; 0 when there is none. */
static int64_t read_exponent(const char *at, const char *end)
{
    bool negative = end - at > 1 && at[1] == '-';
    int64_t exponent = 0;

    for (; at < end; at++) {
        if (is_digit(*at) && exponent < EXPONENT_MAX) {
            exponent = exponent * 10 + (*at - '0');
        }
    }
    return negative ? -exponent : exponent;
}

double json_number(struct span raw)
{
    const char *at = raw.at, *end = raw.at + raw.len;
    struct decimal decimal = {.len = 0};
    char text[DIGITS_MAX + 32];
    bool negative = *at == '-';
    double number = 0;

    at = decimal_read_digits(&decimal, at + negative, end);
    if (decimal.len > 0) {
        int64_t exponent = decimal.exponent + read_exponent(at, end) - (int64_t)decimal.len;
        snprintf(text, sizeof(text), "%.*se%lld", (int)decimal.len, decimal.digits,
                 (long long)exponent);
        number = strtod(text, NULL);
    }
    return negative ? -number : number;
}
