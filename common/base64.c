#include "common/base64.h"

static const char digits[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(enum base64_alphabet alphabet, const void *data, size_t len, char *buffer)
{
    const uint8_t *bytes = data;
    size_t written = 0;
    uint32_t bits = 0;
    unsigned pending = 0; /* low bits of `bits` that aren't written yet */

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        pending += 8;
        while (pending >= 6) {
            pending -= 6;
            buffer[written++] = digits[alphabet][bits >> pending & 63];
        }
    }
    if (pending > 0) {
        buffer[written++] = digits[alphabet][bits << (6 - pending) & 63];
    }
    while (alphabet == BASE64_STANDARD && written % 4 != 0) {
        buffer[written++] = '=';
    }
    buffer[written] = '\0';
    return written;
}

/* The digit's value, or -1. */
static int digit_value(enum base64_alphabet alphabet, char digit)
{
    if (digit >= 'A' && digit <= 'Z') {
        return digit - 'A';
    }
    if (digit >= 'a' && digit <= 'z') {
        return digit - 'a' + 26;
    }
    if (digit >= '0' && digit <= '9') {
        return digit - '0' + 52;
    }
    if (digit == digits[alphabet][62]) {
        return 62;
    }
    return digit == digits[alphabet][63] ? 63 : -1;
}

int base64_decode(enum base64_alphabet alphabet, const char *text, size_t len, uint8_t *buffer,
                  size_t *ret_len)
{
    size_t written = 0;
    uint32_t bits = 0;
    unsigned pending = 0; /* low bits of `bits` that aren't written yet */

    if (alphabet == BASE64_STANDARD) {
        if (len % 4 != 0) {
            return BASE64_INVALID;
        }
        for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++) {
            len--;
        }
    }
    if (len % 4 == 1) {
        return BASE64_INVALID;
    }
    for (size_t i = 0; i < len; i++) {
        int value = digit_value(alphabet, text[i]);

        if (value < 0) {
            return BASE64_INVALID;
        }
        bits = bits << 6 | (uint32_t)value;
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            buffer[written++] = (uint8_t)(bits >> pending);
        }
    }
    if ((bits & ((1U << pending) - 1)) != 0) {
        return BASE64_INVALID;
    }
    *ret_len = written;
    return 0;
}
