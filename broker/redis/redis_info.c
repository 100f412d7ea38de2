#include "broker/redis/redis_info.h"

#include <string.h>

/* The value of "name:value\r\n", or {NULL, 0}. */
static struct span info_field(struct span text, const char *name)
{
    const size_t name_len = strlen(name);
    const char *at = text.at, *end = text.at + text.len;

    while (at < end) {
        const char *line_end = memchr(at, '\r', (size_t)(end - at));
        if (!line_end) {
            line_end = end;
        }
        if ((size_t)(line_end - at) > name_len && memcmp(at, name, name_len) == 0 &&
            at[name_len] == ':') {
            at += name_len + 1;
            return (struct span){at, (size_t)(line_end - at)};
        }
        if (end - line_end < 2) {
            break;
        }
        at = line_end + 2;
    }
    return (struct span){NULL, 0};
}

static bool info_says(struct span text, const char *name, const char *expected)
{
    return span_is(info_field(text, name), expected);
}

/* The whole number that the value begins with, or 0. */
static unsigned info_number(struct span text, const char *name)
{
    struct span value = info_field(text, name);
    unsigned number = 0;

    for (size_t i = 0; i < value.len && value.at[i] >= '0' && value.at[i] <= '9'; i++) {
        if (number > 100000000) {
            return 0;
        }
        number = number * 10 + (unsigned)(value.at[i] - '0');
    }
    return number;
}

void redis_info_read(struct span text, struct redis_info *ret_info)
{
    *ret_info = (struct redis_info){
        .mode = info_says(text, "redis_mode", "sentinel")  ? REDIS_SENTINEL
                : info_says(text, "redis_mode", "cluster") ? REDIS_CLUSTER
                                                           : REDIS_STANDALONE,
        .version = info_number(text, "redis_version"),
        .is_loading = info_says(text, "loading", "1") || info_says(text, "async_loading", "1"),
        .is_master = info_says(text, "role", "master"),
        .process_id = (int)info_number(text, "process_id"),
        .run_id = info_field(text, "run_id"),
        .maxmemory_policy = info_field(text, "maxmemory_policy"),
    };
}

/* Functions came with Redis 7.0; Valkey says that its redis_version is 7.2 or more. */
const char *redis_info_objection(const struct redis_info *info)
{
    if (info->mode == REDIS_SENTINEL) {
        return "this is a Sentinel, which holds no data; name the master it watches";
    }
    if (info->mode == REDIS_CLUSTER) {
        return "this is a node of a Redis Cluster, which is not supported; name a single server";
    }
    if (info->version < 7) {
        return "Redis is older than 7.0, which knows no functions";
    }
    if (info->is_loading) {
        return "Redis is still loading its data";
    }
    if (!info->is_master) {
        return "Redis is a replica; name the master";
    }
    return NULL;
}

bool redis_info_evicts(const struct redis_info *info)
{
    return info->maxmemory_policy.at && !span_is(info->maxmemory_policy, "noeviction");
}
