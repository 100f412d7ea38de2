#include "proto/http_head.h"

#include <stdint.h>
#include <string.h>

/* RFC 9110, 5.6.2 */
static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_visible(uint8_t c)
{
    return c > ' ' && c < 0x7F;
}

/* RFC 9110, 5.5; bytes from 0x80 are opaque. */
static bool is_value_char(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 0x7F);
}

static const char *check_line_feed(struct http_head *head, char c, enum http_head_state next)
{
    head->state = next;
    return c == '\n' ? NULL : "a carriage return without a line feed";
}

static const char *check_request_line(struct http_head *head, char c)
{
    head->state = HTTP_HEAD_REQUEST_LINE;
    if (c == '\r') {
        head->state = HTTP_HEAD_REQUEST_LINE_LF;
        return head->spaces == 2 ? NULL : "the request line must be: method, target, HTTP version";
    }
    if (c == ' ') {
        head->spaces++;
        return NULL;
    }
    return is_visible((uint8_t)c) ? NULL : "a byte that may not stand in a request line";
}

static const char *check_field_name(struct http_head *head, char c)
{
    head->state = HTTP_HEAD_FIELD_NAME;
    if (c == ':') {
        head->state = HTTP_HEAD_FIELD_VALUE;
        return NULL;
    }
    return is_token_char((uint8_t)c) ? NULL : "a byte that may not stand in a header's name";
}

static const char *check_field_start(struct http_head *head, char c)
{
    switch (c) {
    case '\r':
        head->state = HTTP_HEAD_END_LF;
        return NULL;
    case ' ':
    case '\t':
        return "a header folded over lines";
    case ':':
        return "a header without a name";
    default:
        return check_field_name(head, c);
    }
}

static const char *check_field_value(struct http_head *head, char c)
{
    if (c == '\r') {
        head->state = HTTP_HEAD_FIELD_LF;
        return NULL;
    }
    return is_value_char((uint8_t)c) ? NULL : "a byte that may not stand in a header's value";
}

static const char *check_byte(struct http_head *head, char c)
{
    switch (head->state) {
    case HTTP_HEAD_START:
        if (c == '\r') {
            head->state = HTTP_HEAD_EMPTY_LINE_LF;
            return NULL;
        }
        return check_request_line(head, c);
    case HTTP_HEAD_EMPTY_LINE_LF:
        return check_line_feed(head, c, HTTP_HEAD_START);
    case HTTP_HEAD_REQUEST_LINE:
        return check_request_line(head, c);
    case HTTP_HEAD_REQUEST_LINE_LF:
    case HTTP_HEAD_FIELD_LF:
        return check_line_feed(head, c, HTTP_HEAD_FIELD_START);
    case HTTP_HEAD_FIELD_START:
        return check_field_start(head, c);
    case HTTP_HEAD_FIELD_NAME:
        return check_field_name(head, c);
    case HTTP_HEAD_FIELD_VALUE:
        return check_field_value(head, c);
    case HTTP_HEAD_END_LF:
        return check_line_feed(head, c, HTTP_HEAD_COMPLETE);
    case HTTP_HEAD_COMPLETE:
        break;
    }
    assert(!"no byte of a complete head is left");
    return NULL;
}

const char *http_head_check(struct http_head *head, const char *data, size_t len, size_t *ret_used)
{
    const char *error = NULL;
    size_t used = 0;

    while (used < len && !error && !http_head_is_complete(head)) {
        error = check_byte(head, data[used]);
        used += !error;
    }
    *ret_used = used;
    return error;
}
