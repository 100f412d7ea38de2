#include "broker/auth/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/auth/jwks.h"
#include "broker/auth/signature.h"
#include "broker/auth/token_cache.h"
#include "broker/auth/token_parts.h"
#include "common/log.h"
#include "common/mem.h"

_Static_assert(SHA256_DIGEST_LENGTH == TOKEN_DIGEST_SIZE, "the cache is asked by SHA-256");

_Static_assert(TOKEN_MAX == 16384, "AUTH_TOO_LONG says so");

struct auth_key {
    char *kid; /* NULL: the key has no name */
    enum jwt_key_algorithm algorithm;
    struct signature_key *signature;
};

struct auth_keys {
    struct auth_key *items;
    size_t count;
};

#define MODULE "auth"

struct auth {
    struct auth_keys keys; /* the configuration's */
    struct auth_keys set;  /* those of the file of jwt-jwks */
    char *set_path;        /* NULL: there is none */
    struct stat set_file;  /* as it was when it was last read */
    struct timer set_timer;
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

static void free_keys(struct auth_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        signature_key_free(keys->items[i].signature);
        mem_free(keys->items[i].kid);
    }
    mem_free(keys->items);
    *keys = (struct auth_keys){NULL, 0};
}

/* 0, or -ENOMEM and no keys. */
static int parse_keys(const struct jwt_key *sources, size_t count, struct auth_keys *ret_keys)
{
    struct auth_keys keys = {count > 0 ? mem_zalloc(count, sizeof(*keys.items)) : NULL, 0};

    if (count > 0 && !keys.items) {
        return -ENOMEM;
    }
    while (keys.count < count) {
        size_t i = keys.count++;
        int rc = parse_key(&sources[i], &keys.items[i]);
        if (rc) {
            free_keys(&keys);
            return rc;
        }
    }
    *ret_keys = keys;
    return 0;
}

/* ── The key set ─────────────────────────────────────────────────────────────────────────────── */

/* A set that can't be used leaves the keys as they are. Tokens that were found good by keys of
 * before are forgotten. */
static void take_set(struct auth *auth, struct span text)
{
    CLEANUP(mem_free_at) struct jwks *jwks = mem_zalloc(1, sizeof(*jwks));
    struct text left_out = TEXT_EMPTY;
    struct auth_keys keys;
    const char *why = "out of memory";

    int rc = jwks ? jwks_read(text, jwks, &left_out, &why) : -ENOMEM;
    if (rc == 0) {
        rc = parse_keys(jwks->keys, jwks->count, &keys);
    }
    log_lines(LOG_WARN, MODULE, "a key of jwt-jwks was left out", left_out.data);
    if (rc == 0) {
        free_keys(&auth->set);
        auth->set = keys;
        token_cache_deinit(&auth->cache);
        token_cache_init(&auth->cache, AUTH_CACHE_TOKENS, AUTH_CACHE_BYTES);
        log_event(LOG_INFO, MODULE, "keys of jwt-jwks taken up",
                  LOG_INT("keys", (int64_t)keys.count));
    } else {
        log_event(LOG_ERROR, MODULE, "jwt-jwks can't be used, the keys stay as they were",
                  LOG_TEXT("file", auth->set_path), LOG_TEXT("why", why));
    }
    if (jwks) {
        jwks_deinit(jwks);
    }
    text_deinit(&left_out);
}

/* 0 or -errno. A file that is too long is read in part, and found too long. */
static int read_set(const char *path, struct text *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char part[4096];
    ssize_t len = 0;

    if (fd < 0) {
        return -errno;
    }
    while (text->len <= JWKS_SIZE_MAX && (len = read(fd, part, sizeof(part))) > 0) {
        text_append(text, part, (size_t)len);
    }
    int rc = len < 0 ? -errno : text_failed(text) ? -ENOMEM : 0;
    close(fd);
    return rc;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the set if its file is another than before. */
static void look_at_set(struct auth *auth)
{
    struct text text = TEXT_EMPTY;
    struct stat now = {0};

    int rc = stat(auth->set_path, &now) < 0 ? -errno : 0;
    if (rc == 0 && is_same_file(&now, &auth->set_file)) {
        return;
    }
    rc = rc ? rc : read_set(auth->set_path, &text);
    if (rc == 0) {
        auth->set_file = now;
        take_set(auth, (struct span){text.data, text.len});
    } else {
        log_event(LOG_ERROR, MODULE, "jwt-jwks can't be read, the keys stay as they were",
                  LOG_TEXT("file", auth->set_path), LOG_TEXT("why", strerror(-rc)));
    }
    text_deinit(&text);
}

static void auth_on_look(struct timer *timer)
{
    struct auth *auth = CONTAINER_OF(timer, struct auth, set_timer);

    look_at_set(auth);
    timer_set(&auth->loop->wheel, timer, loop_now(auth->loop) + AUTH_JWKS_LOOK_MS);
}

/* ── Life of the whole ───────────────────────────────────────────────────────────────────────── */

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
    timer_init(&auth->set_timer, auth_on_look);
    if (parse_keys(config->jwt_keys.items, config->jwt_keys.count, &auth->keys) != 0 ||
        auth_copy_text(config->jwt_jwks, &auth->set_path) != 0 ||
        auth_copy_text(config->jwt_issuer, &auth->issuer) != 0 ||
        auth_copy_text(config->jwt_audience, &auth->audience) != 0) {
        auth_free(auth);
        return NULL;
    }
    if (auth->set_path) {
        auth_on_look(&auth->set_timer);
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
    if (timer_is_set(&auth->set_timer)) {
        timer_cancel(&auth->loop->wheel, &auth->set_timer);
    }
    free_keys(&auth->keys);
    free_keys(&auth->set);
    mem_free(auth->set_path);
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
    const struct auth_keys *const all[] = {&auth->keys, &auth->set};
    const bool is_only = auth->keys.count + auth->set.count == 1;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        for (size_t j = 0; j < all[i]->count; j++) {
            const char *own = all[i]->items[j].kid;

            if (kid.at ? own && json_string_is(kid, own) : is_only || !own) {
                return &all[i]->items[j];
            }
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
