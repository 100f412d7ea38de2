#include "proto/task_key.h"

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool task_id_beginning_is_valid(const char *text, size_t len)
{
    if (len == 0 || len > TASK_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_alphanumeric(text[i]) && (text[i] == '\0' || !strchr("._~:-", text[i]))) {
            return false;
        }
    }
    return true;
}

bool task_id_is_valid(const char *text, size_t len)
{
    const bool is_step = (len == 1 || len == 2) && text[0] == '.' && text[len - 1] == '.';

    return !is_step && task_id_beginning_is_valid(text, len);
}

bool prefix_is_valid(const char *text, size_t len)
{
    if (len < 2 || len > PREFIX_MAX || text[len - 1] != ':') {
        return false;
    }
    for (size_t i = 0; i < len - 1; i++) {
        if (!is_alphanumeric(text[i]) && text[i] != '_' && text[i] != '-') {
            return false;
        }
    }
    return true;
}

struct span task_id_of_key(struct span key, const char *prefix)
{
    if (!span_take(&key, prefix) || !task_id_is_valid(key.at, key.len)) {
        return (struct span){NULL, 0};
    }
    return key;
}
