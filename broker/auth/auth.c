#include "broker/auth/auth.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "broker/auth/signature.h"
#include "broker/auth/token_cache.h"
#include "broker/auth/token_parts.h"
#include "common/mem.h"

_Static_assert(SHA256_DIGEST_LENGTH == TOKEN_DIGEST_SIZE, "the cache is asked by SHA-256");

_Static_assert(TOKEN_MAX == 16384, "AUTH_TOO_LONG says so");

struct auth_key {
    char *kid; /* NULL: the key has no name */
    enum jwt_key_algorithm algorithm;
    struct signature_key *signature;
};

struct auth {
    struct auth_key *keys;
    size_t key_count;
    char *issuer, *audience; /* NULL: not asked */
    int64_t leeway_us;
    struct token_cache cache;
};

static const struct {
    const char *name, *text;
} failures[AUTH_FAILURE_COUNT] = {
#define X(value, label, sentence) [value] = {label, sentence},
    AUTH_FAILURES(X)
#undef X
};

const char *auth_failure_name(enum auth_failure failure)
{
    return failures[failure].name;
}

const char *auth_failure_text(enum auth_failure failure)
{
    return failures[failure].text;
}

/* ── Life ────────────────────────────────────────────────────────────────────────────────────── */

static int auth_copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text ? mem_strndup(text, strlen(text)) : NULL;
    return text && !*ret_copy ? -ENOMEM : 0;
}

/* On failure `parsed` may hold part of the key. */
static int parse_key(const struct jwt_key *key, struct auth_key *parsed)
{
    parsed->algorithm = key->algorithm;
    int rc = signature_key_new(key, &parsed->signature);
    return rc ? rc : auth_copy_text(key->kid, &parsed->kid);
}

static int parse_keys(const struct config_keys *keys, struct auth *auth)
{
    if (keys->count == 0) {
        return 0;
    }
    auth->keys = mem_zalloc(keys->count, sizeof(*auth->keys));
    if (!auth->keys) {
        return -ENOMEM;
    }
    while (auth->key_count < keys->count) {
        size_t i = auth->key_count++;
        int rc = parse_key(&keys->items[i], &auth->keys[i]);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

struct auth *auth_new(const struct config *config)
{
    struct auth *auth = mem_zalloc(1, sizeof(*auth));

    if (!auth) {
        return NULL;
    }
    auth->leeway_us = (int64_t)config->jwt_leeway_ms * 1000;
    token_cache_init(&auth->cache, AUTH_CACHE_TOKENS, AUTH_CACHE_BYTES);
    if (parse_keys(&config->jwt_keys, auth) != 0 ||
        auth_copy_text(config->jwt_issuer, &auth->issuer) != 0 ||
        auth_copy_text(config->jwt_audience, &auth->audience) != 0) {
        auth_free(auth);
        return NULL;
    }
    return auth;
}

void auth_free(struct auth *auth)
{
    if (!auth) {
        return;
    }
    token_cache_deinit(&auth->cache);
    for (size_t i = 0; i < auth->key_count; i++) {
        signature_key_free(auth->keys[i].signature);
        mem_free(auth->keys[i].kid);
    }
    mem_free(auth->keys);
    mem_free(auth->issuer);
    mem_free(auth->audience);
    mem_free(auth);
}

uint32_t auth_cached(const struct auth *auth)
{
    return auth->cache.entries.count;
}

/* ── Checking ────────────────────────────────────────────────────────────────────────────────── */

static int auth_refuse(enum auth_failure why, enum auth_failure *ret_why)
{
    *ret_why = why;
    return AUTH_REFUSED;
}

/* The key that the token names; without a name the only one, or the only one without a name, of
 * which config allows no second. NULL: there is none. */
static const struct auth_key *find_key(const struct auth *auth, struct span kid)
{
    if (!kid.at && auth->key_count == 1) {
        return &auth->keys[0];
    }
    for (size_t i = 0; i < auth->key_count; i++) {
        const char *own = auth->keys[i].kid;

        if (kid.at ? own && json_string_is(kid, own) : !own) {
            return &auth->keys[i];
        }
    }
    return NULL;
}

static int check_time(const struct token *token, int64_t now_us, enum auth_failure *ret_why)
{
    if (now_us >= token->valid_until_us) {
        return auth_refuse(AUTH_EXPIRED, ret_why);
    }
    return now_us < token->valid_from_us ? auth_refuse(AUTH_NOT_YET_VALID, ret_why) : 0;
}

static int read_claims(const struct auth *auth, struct span claims, struct token **ret_token,
                       enum auth_failure *ret_why)
{
    const struct token_rules rules = {auth->issuer, auth->audience, auth->leeway_us};

    switch (token_from_claims(claims, &rules, ret_token)) {
    case 0:
        return 0;
    case TOKEN_CLAIMS:
        return auth_refuse(AUTH_CLAIMS, ret_why);
    case TOKEN_ISSUER:
        return auth_refuse(AUTH_ISSUER, ret_why);
    case TOKEN_AUDIENCE:
        return auth_refuse(AUTH_AUDIENCE, ret_why);
    default:
        return -ENOMEM;
    }
}

/* Checks everything but the time. */
static int verify(const struct auth *auth, struct span text, struct token **ret_token,
                  enum auth_failure *ret_why)
{
    struct token_parts parts;

    if (token_parts_read(text, &parts) != 0) {
        return auth_refuse(AUTH_MALFORMED, ret_why);
    }
    const struct auth_key *key = find_key(auth, parts.kid);
    if (!key) {
        return auth_refuse(AUTH_UNKNOWN_KEY, ret_why);
    }
    if (!json_string_is(parts.algorithm, jwt_key_algorithm_name(key->algorithm))) {
        return auth_refuse(AUTH_ALGORITHM, ret_why);
    }
    int rc = signature_check(key->signature, parts.signed_text, parts.signature);
    if (rc) {
        return rc == SIGNATURE_WRONG ? auth_refuse(AUTH_SIGNATURE, ret_why) : rc;
    }
    return read_claims(auth, parts.claims, ret_token, ret_why);
}

int auth_verify(struct auth *auth, struct span text, int64_t now_us, struct token **ret_token,
                enum auth_failure *ret_why)
{
    CLEANUP(token_unref_at) struct token *token = NULL;
    uint8_t digest[TOKEN_DIGEST_SIZE];
    bool was_cached = true;
    int rc = 0;

    if (text.len == 0) {
        return auth_refuse(AUTH_MISSING, ret_why);
    }
    if (text.len > TOKEN_MAX) {
        return auth_refuse(AUTH_TOO_LONG, ret_why);
    }
    SHA256((const unsigned char *)text.at, text.len, digest);
    struct token *cached = token_cache_get(&auth->cache, digest);
    if (cached) {
        token = token_ref(cached);
    } else {
        was_cached = false;
        rc = verify(auth, text, &token, ret_why);
    }
    if (rc == 0) {
        rc = check_time(token, now_us, ret_why);
    }
    if (rc == 0 && !was_cached) {
        token_cache_add(&auth->cache, digest, token);
    } else if (rc && was_cached) {
        token_cache_remove(&auth->cache, digest);
    }
    if (rc == 0) {
        *ret_token = TAKE(token);
    }
    return rc;
}
