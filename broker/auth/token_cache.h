/* Tokens that were found good, so that nobody has to check them twice.
 *
 * Receives   the digest of a token's text, and the token
 * Hands on   the token again, for the same digest
 * Owns       a reference to each token it holds
 *
 * Bounded by number and by bytes: who was not asked for the longest time goes first. It knows no
 * time; a token that has expired is found like any other, and auth takes it out.
 */
#ifndef PROGRESSD_BROKER_AUTH_TOKEN_CACHE_H
#define PROGRESSD_BROKER_AUTH_TOKEN_CACHE_H

#include "broker/auth/token.h"
#include "common/list.h"
#include "common/map.h"

/* Of SHA-256. */
#define TOKEN_DIGEST_SIZE 32

struct token_cache {
    struct map entries; /* by digest */
    struct list recent; /* the entries, the one last asked for at the front */
    uint32_t max_tokens;
    size_t max_bytes;
    size_t bytes;
};

void token_cache_init(struct token_cache *cache, uint32_t max_tokens, size_t max_bytes);
void token_cache_deinit(struct token_cache *cache);

/* The token, lent, or NULL. */
struct token *token_cache_get(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE]);

/* Remembers a token whose digest isn't in the cache (asserted), with a reference of its own. When
 * memory is out, or the token alone is above the bound, it doesn't, which nobody needs to know. */
void token_cache_add(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE],
                     struct token *token);

/* Forgets it, if it is there. */
void token_cache_remove(struct token_cache *cache, const uint8_t digest[TOKEN_DIGEST_SIZE]);

#endif
