/* One character as JSON writes it in a string where it must be escaped (RFC 8259, 7). */
#ifndef PROGRESSD_COMMON_JSON_ESCAPE_H
#define PROGRESSD_COMMON_JSON_ESCAPE_H

#include <stdint.h>
#include <stdio.h>

#include "common/result.h"

#define JSON_ESCAPE_SIZE sizeof("\\u0000")

/* Writes the escape of a character of up to 16 bits, and a NUL. Returns its length: 2 or 6. */
static inline size_t json_escape(uint16_t character, char ret_escape[JSON_ESCAPE_SIZE])
{
    static const char shorts[][2] = {
        {'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};

    for (size_t i = 0; i < ARRAY_LEN(shorts); i++) {
        if (character == (unsigned char)shorts[i][0]) {
            ret_escape[0] = '\\';
            ret_escape[1] = shorts[i][1];
            ret_escape[2] = '\0';
            return 2;
        }
    }
    return (size_t)snprintf(ret_escape, JSON_ESCAPE_SIZE, "\\u%04x", character);
}

#endif
