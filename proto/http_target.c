#include "proto/http_target.h"

#include <string.h>
#include <strings.h>

/* Where path and query begin in absolute form; NULL when it isn't an http URL. */
static const char *skip_authority(struct span url)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (url.len > len && strncasecmp(url.at, schemes[i], len) == 0) {
            const char *at = url.at + len, *end = url.at + url.len;
            while (at < end && *at != '/' && *at != '?') {
                at++;
            }
            return at;
        }
    }
    return NULL;
}

const char *http_target_divide(struct span text, struct http_target *ret_target)
{
    const char *at = text.at, *end = text.at + text.len, *question_mark;
    struct http_target target = {{NULL, 0}, {NULL, 0}};

    if (memchr(at, '#', text.len)) {
        return "the target may not have a fragment";
    }
    if (*at != '/') {
        at = skip_authority(text);
        if (!at) {
            return "the target must be a path or an http URL";
        }
    }
    question_mark = memchr(at, '?', (size_t)(end - at));
    if (question_mark) {
        target.query = (struct span){question_mark + 1, (size_t)(end - question_mark - 1)};
        end = question_mark;
    }
    target.path = end > at ? (struct span){at, (size_t)(end - at)} : (struct span){"/", 1};
    *ret_target = target;
    return NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_percent_decode(struct span text, char *buffer, size_t size, size_t *ret_len)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '%') {
            int high = i + 1 < text.len ? hex_value(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return HTTP_TARGET_BAD;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (len == size) {
            return HTTP_TARGET_BAD;
        }
        buffer[len++] = c;
    }
    *ret_len = len;
    return 0;
}
