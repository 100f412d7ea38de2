#include "broker/session/miss_limit.h"

#include <sys/random.h>

#include "common/mem.h"
#include "common/siphash.h"

#define BUCKETS 1024

/* All zeros is a full bucket. */
struct miss_bucket {
    double taken; /* of MISS_BURST */
    uint64_t now_ms;
};

struct miss_limit {
    uint8_t key[SIPHASH_KEY_LEN];
    struct miss_bucket buckets[BUCKETS];
};

struct miss_limit *miss_limit_new(void)
{
    struct miss_limit *limit = mem_zalloc(1, sizeof(*limit));

    if (limit && getrandom(limit->key, sizeof(limit->key), 0) != (ssize_t)sizeof(limit->key)) {
        mem_free(limit);
        return NULL;
    }
    return limit;
}

void miss_limit_free(struct miss_limit *limit)
{
    mem_free(limit);
}

struct miss_bucket *miss_limit_find(struct miss_limit *limit, struct span token)
{
    return &limit->buckets[siphash(limit->key, token.at, token.len) % BUCKETS];
}

bool miss_bucket_take(struct miss_bucket *bucket, uint64_t now_ms)
{
    bucket->taken -= (double)(now_ms - bucket->now_ms) * MISS_RATE / 1000;
    bucket->now_ms = now_ms;
    if (bucket->taken < 0) {
        bucket->taken = 0;
    }
    if (bucket->taken > MISS_BURST - 1) {
        return false;
    }
    bucket->taken += 1;
    return true;
}

void miss_bucket_give_back(struct miss_bucket *bucket)
{
    bucket->taken -= 1;
}
