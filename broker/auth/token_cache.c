#include "broker/auth/token_cache.h"

#include <string.h>

#include "common/mem.h"

struct entry {
    struct list link; /* in token_cache.recent */
    uint8_t digest[TOKEN_DIGEST_SIZE];
    struct token *token;
};

static struct entry *entry_of(struct list *link)
{
    return CONTAINER_OF(link, struct entry, link);
}

static size_t bytes_of(const struct token *token)
{
    return sizeof(struct entry) + token->size;
}

void token_cache_init(struct token_cache *cache, uint32_t max_tokens, size_t max_bytes)
{
    map_init(&cache->entries);
    list_init(&cache->recent);
    cache->max_tokens = max_tokens;
    cache->max_bytes = max_bytes;
    cache->bytes = 0;
}

static void token_cache_drop(struct token_cache *cache, struct entry *entry)
{
    map_remove(&cache->entries, entry->digest, sizeof(entry->digest));
    list_remove(&entry->link);
    cache->bytes -= bytes_of(entry->token);
    token_unref(entry->token);
    mem_free(entry);
}

void token_cache_deinit(struct token_cache *cache)
{
    LIST_EACH (link, &cache->recent) {
        token_cache_drop(cache, entry_of(link));
    }
    map_deinit(&cache->entries);
}

struct token *token_cache_get(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE])
{
    struct entry *entry = map_get(&cache->entries, digest, TOKEN_DIGEST_SIZE);

    if (!entry) {
        return NULL;
    }
    list_remove(&entry->link);
    list_prepend(&cache->recent, &entry->link);
    return entry->token;
}

void token_cache_add(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE],
                     struct token *token)
{
    struct entry *entry = mem_alloc(sizeof(*entry));

    if (!entry) {
        return;
    }
    memcpy(entry->digest, digest, sizeof(entry->digest));
    if (map_add(&cache->entries, entry->digest, sizeof(entry->digest), entry) != 0) {
        mem_free(entry);
        return;
    }
    entry->token = token_ref(token);
    list_init(&entry->link);
    list_prepend(&cache->recent, &entry->link);
    cache->bytes += bytes_of(token);
    while (cache->entries.count > cache->max_tokens || cache->bytes > cache->max_bytes) {
        token_cache_drop(cache, entry_of(cache->recent.prev));
    }
}

void token_cache_remove(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE])
{
    struct entry *entry = map_get(&cache->entries, digest, TOKEN_DIGEST_SIZE);

    if (entry) {
        token_cache_drop(cache, entry);
    }
}
