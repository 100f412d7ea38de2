#include "broker/session/miss_limit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static unsigned taken(struct miss_bucket *bucket, uint64_t now_ms)
{
    unsigned count = 0;

    while (miss_bucket_take(bucket, now_ms)) {
        count++;
    }
    return count;
}

Test(miss_limit, a_token_has_a_burst_and_then_a_rate)
{
    struct miss_limit *limit = miss_limit_new();
    struct miss_bucket *bucket = miss_limit_find(limit, span_of("a.b.c"));

    cr_assert_eq(taken(bucket, 7000), MISS_BURST);
    cr_assert_eq(taken(bucket, 7000), 0);
    cr_assert_eq(taken(bucket, 8000), MISS_RATE);
    cr_assert_eq(taken(bucket, 8000000), MISS_BURST, "and no more, however long it was quiet");
    cr_assert_eq(miss_limit_find(limit, span_of("a.b.c")), bucket);
    miss_limit_free(limit);
}

Test(miss_limit, what_was_found_does_not_count)
{
    struct miss_limit *limit = miss_limit_new();
    struct miss_bucket *bucket = miss_limit_find(limit, span_of("a.b.c"));

    for (int i = 0; i < 3 * MISS_BURST; i++) {
        cr_assert(miss_bucket_take(bucket, 7000));
        miss_bucket_give_back(bucket);
    }
    cr_assert_eq(taken(bucket, 7000), MISS_BURST);
    miss_limit_free(limit);
}

Test(miss_limit, other_tokens_have_buckets_of_their_own)
{
    struct miss_limit *limit = miss_limit_new();
    struct miss_bucket *first = miss_limit_find(limit, span_of("token"));
    unsigned shared = 0;
    char token[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(token, sizeof(token), "token%d", i);
        shared += miss_limit_find(limit, span_of(token)) == first;
    }
    cr_assert_lt(shared, 20, "%u of 1000", shared);
    miss_limit_free(limit);
}

Test(miss_limit, out_of_memory_is_told)
{
    mem_fail_nth(1);
    cr_assert_null(miss_limit_new());
    mem_fail_nth(0);
    miss_limit_free(NULL);
}
