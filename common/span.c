#include "common/span.h"

bool span_equals(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool span_is(struct span span, const char *text)
{
    return span_equals(span, SPAN_OF(text));
}

bool span_begins_with(struct span span, const char *text)
{
    const size_t len = strlen(text);

    return span.len >= len && memcmp(span.at, text, len) == 0;
}

bool span_ends_with(struct span span, const char *text)
{
    const size_t len = strlen(text);

    return span.len >= len && memcmp(span.at + span.len - len, text, len) == 0;
}

bool span_take(struct span *rest, const char *text)
{
    if (!span_begins_with(*rest, text)) {
        return false;
    }
    rest->at += strlen(text);
    rest->len -= strlen(text);
    return true;
}

bool span_take_until(struct span *rest, char end, struct span *ret_taken)
{
    const char *found = rest->len > 0 ? memchr(rest->at, end, rest->len) : NULL;

    if (!found) {
        return false;
    }
    *ret_taken = (struct span){rest->at, (size_t)(found - rest->at)};
    rest->len -= ret_taken->len;
    rest->at = found;
    return true;
}

bool span_take_number(struct span *rest, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t len = 0;

    for (; len < rest->len && rest->at[len] >= '0' && rest->at[len] <= '9'; len++) {
        unsigned digit = (unsigned)(rest->at[len] - '0');
        if ((len == 0 && digit == 0) || digit > max || number > (max - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (len == 0) {
        return false;
    }
    rest->at += len;
    rest->len -= len;
    *ret_number = number;
    return true;
}
