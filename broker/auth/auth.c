#include "broker/auth/auth.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/time.h>

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
    struct loop *loop;
    struct check_queue queue;
    struct loop_due turn; /* due while the queue holds something */
};

static void auth_on_turn(struct loop_due *due);

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

struct auth *auth_new(const struct config *config, struct loop *loop)
{
    struct auth *auth = mem_zalloc(1, sizeof(*auth));

    if (!auth) {
        return NULL;
    }
    auth->leeway_us = (int64_t)config->jwt_leeway_ms * 1000;
    auth->loop = loop;
    token_cache_init(&auth->cache, AUTH_CACHE_TOKENS, AUTH_CACHE_BYTES);
    check_queue_init(&auth->queue, AUTH_WAITING_BYTES);
    loop_due_init(&auth->turn, auth_on_turn);
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
    loop_due_cancel(&auth->turn);
    check_queue_deinit(&auth->queue);
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

/* Takes the token apart, and finds its key: all that is quick. */
static int find_parts(const struct auth *auth, struct span text, struct token_parts *parts,
                      const struct auth_key **ret_key, enum auth_failure *ret_why)
{
    if (token_parts_read(text, parts) != 0) {
        return auth_refuse(AUTH_MALFORMED, ret_why);
    }
    const struct auth_key *key = find_key(auth, parts->kid);
    if (!key) {
        return auth_refuse(AUTH_UNKNOWN_KEY, ret_why);
    }
    if (!json_string_is(parts->algorithm, jwt_key_algorithm_name(key->algorithm))) {
        return auth_refuse(AUTH_ALGORITHM, ret_why);
    }
    *ret_key = key;
    return 0;
}

/* Checks the signature, and what the claims say; a good token is remembered. */
static int finish(struct auth *auth, const struct auth_key *key, const struct token_parts *parts,
                  const uint8_t digest[TOKEN_DIGEST_SIZE], int64_t now_us, struct token **ret_token,
                  enum auth_failure *ret_why)
{
    CLEANUP(token_unref_at) struct token *token = NULL;

    int rc = signature_check(key->signature, parts->signed_text, parts->signature);
    if (rc) {
        return rc == SIGNATURE_WRONG ? auth_refuse(AUTH_SIGNATURE, ret_why) : rc;
    }
    rc = read_claims(auth, parts->claims, &token, ret_why);
    if (rc == 0) {
        rc = check_time(token, now_us, ret_why);
    }
    if (rc == 0) {
        token_cache_add(&auth->cache, digest, token);
        *ret_token = TAKE(token);
    }
    return rc;
}

static int verify_cached(struct auth *auth, struct token *cached,
                         const uint8_t digest[TOKEN_DIGEST_SIZE], int64_t now_us,
                         struct token **ret_token, enum auth_failure *ret_why)
{
    int rc = check_time(cached, now_us, ret_why);

    if (rc) {
        token_cache_remove(&auth->cache, digest);
        return rc;
    }
    *ret_token = token_ref(cached);
    return 0;
}

static int verify_later(struct auth *auth, struct span text,
                        const uint8_t digest[TOKEN_DIGEST_SIZE], struct auth_check *check)
{
    check->text = text;
    int rc = check_queue_add(&auth->queue, digest, check);
    if (rc) {
        return rc == CHECK_QUEUE_FULL ? AUTH_BUSY : rc;
    }
    if (!list_is_linked(&auth->turn.link)) {
        loop_at_turn_end(auth->loop, &auth->turn);
    }
    return AUTH_LATER;
}

int auth_verify(struct auth *auth, struct span text, int64_t now_us, struct auth_check *check,
                struct token **ret_token, enum auth_failure *ret_why)
{
    uint8_t digest[TOKEN_DIGEST_SIZE];
    const struct auth_key *key;
    struct token_parts parts;

    if (text.len == 0) {
        return auth_refuse(AUTH_MISSING, ret_why);
    }
    if (text.len > TOKEN_MAX) {
        return auth_refuse(AUTH_TOO_LONG, ret_why);
    }
    SHA256((const unsigned char *)text.at, text.len, digest);
    struct token *cached = token_cache_get(&auth->cache, digest);
    if (cached) {
        return verify_cached(auth, cached, digest, now_us, ret_token, ret_why);
    }
    int rc = find_parts(auth, text, &parts, &key, ret_why);
    if (rc) {
        return rc;
    }
    return signature_is_slow(key->signature)
               ? verify_later(auth, text, digest, check)
               : finish(auth, key, &parts, digest, now_us, ret_token, ret_why);
}

/* ── Checking later ──────────────────────────────────────────────────────────────────────────── */

void auth_cancel(struct auth *auth, struct auth_check *check)
{
    if (auth_check_waits(check)) {
        check_queue_remove(&auth->queue, check);
    }
}

static int64_t auth_now_us(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000000 + now.tv_usec;
}

static struct auth_check *first_check(const struct queued_token *token)
{
    struct list *link = list_first(&token->checks);

    return link ? CONTAINER_OF(link, struct auth_check, link) : NULL;
}

/* Checks the token that waits longest, and tells all who wait for it. */
static void check_next(struct auth *auth)
{
    struct queued_token *next = check_queue_take(&auth->queue);
    struct auth_verdict verdict = {.rc = 0};
    const struct auth_key *key;
    struct token_parts parts;
    struct auth_check *check = first_check(next);

    verdict.rc = find_parts(auth, check->text, &parts, &key, &verdict.why);
    if (verdict.rc == 0) {
        verdict.rc =
            finish(auth, key, &parts, next->digest, auth_now_us(), &verdict.token, &verdict.why);
    }
    while ((check = first_check(next)) != NULL) {
        check_queue_remove(&auth->queue, check);
        check->on_checked(check, &verdict);
    }
    token_unref(verdict.token);
    mem_free(next);
}

static void auth_on_turn(struct loop_due *due)
{
    struct auth *auth = CONTAINER_OF(due, struct auth, turn);
    const uint64_t until_ns = uv_hrtime() + AUTH_TURN_US * UINT64_C(1000);

    while (!check_queue_is_empty(&auth->queue)) {
        check_next(auth);
        if (uv_hrtime() >= until_ns) {
            break;
        }
    }
    loop_due_cancel(due); /* somebody new may wait already */
    if (!check_queue_is_empty(&auth->queue)) {
        loop_next_turn(auth->loop, &auth->turn);
    }
}
