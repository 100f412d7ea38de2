#include <criterion/criterion.h>
#include <string.h>

#include "broker/auth/token_cache.h"
#include "common/mem.h"

static struct token *new_token(const char *claims)
{
    static const struct token_rules rules;
    struct token *token = NULL;

    cr_assert_eq(token_from_claims((struct span){claims, strlen(claims)}, &rules, &token), 0);
    return token;
}

#define CLAIMS "{\"exp\":1,\"taskId\":\"a\"}"

static const uint8_t *digest(int number)
{
    static uint8_t bytes[TOKEN_DIGEST_SIZE];

    memcpy(bytes, &number, sizeof(number));
    return bytes;
}

Test(token_cache, a_token_is_found_by_its_digest_until_it_is_removed)
{
    struct token_cache cache;
    struct token *token = new_token(CLAIMS);

    token_cache_init(&cache, 10, 10000);
    cr_assert_null(token_cache_get(&cache, digest(1)));
    token_cache_add(&cache, digest(1), token);
    cr_assert_eq(token->refs, 2);
    cr_assert_eq(token_cache_get(&cache, digest(1)), token);
    cr_assert_null(token_cache_get(&cache, digest(2)));
    token_cache_remove(&cache, digest(2));
    token_cache_remove(&cache, digest(1));
    cr_assert_null(token_cache_get(&cache, digest(1)));
    cr_assert_eq(token->refs, 1);
    cr_assert_eq(cache.bytes, 0);
    token_cache_deinit(&cache);
    token_unref(token);
}

Test(token_cache, when_it_is_full_the_one_not_asked_for_the_longest_goes)
{
    struct token_cache cache;
    struct token *token = new_token(CLAIMS);

    token_cache_init(&cache, 3, 10000);
    for (int i = 0; i < 3; i++) {
        token_cache_add(&cache, digest(i), token);
    }
    cr_assert_not_null(token_cache_get(&cache, digest(0)));
    token_cache_add(&cache, digest(3), token);
    cr_assert_eq(cache.entries.count, 3);
    cr_assert_not_null(token_cache_get(&cache, digest(0)));
    cr_assert_null(token_cache_get(&cache, digest(1)));
    cr_assert_not_null(token_cache_get(&cache, digest(2)));
    cr_assert_not_null(token_cache_get(&cache, digest(3)));
    token_cache_deinit(&cache);
    cr_assert_eq(token->refs, 1);
    token_unref(token);
}

Test(token_cache, its_bytes_are_bounded_too)
{
    struct token_cache cache;
    struct token *small = new_token(CLAIMS);
    struct token *large =
        new_token("{\"exp\":1,\"tasks\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
                  "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"]}");

    token_cache_init(&cache, 10000, 1000);
    for (int i = 0; i < 100; i++) {
        token_cache_add(&cache, digest(i), small);
        cr_assert_leq(cache.bytes, 1000);
        cr_assert_not_null(token_cache_get(&cache, digest(i)));
    }
    uint32_t of_small = cache.entries.count;
    for (int i = 100; i < 200; i++) {
        token_cache_add(&cache, digest(i), large);
        cr_assert_leq(cache.bytes, 1000);
    }
    cr_assert_lt(cache.entries.count, of_small);
    cr_assert_eq(small->refs, 1);
    token_cache_deinit(&cache);

    token_cache_init(&cache, 10, 10);
    token_cache_add(&cache, digest(1), small);
    cr_assert_eq(cache.entries.count, 0);
    token_cache_deinit(&cache);
    token_unref(small);
    token_unref(large);
}

Test(token_cache, without_memory_a_token_is_not_remembered)
{
    struct token_cache cache;
    struct token *token = new_token(CLAIMS);

    token_cache_init(&cache, 10, 10000);
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail_nth(n);
        token_cache_add(&cache, digest(1), token);
        cr_assert_null(token_cache_get(&cache, digest(1)));
        cr_assert_eq(token->refs, 1);
    }
    token_cache_deinit(&cache);
    token_unref(token);
}
