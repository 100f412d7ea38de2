#include "client/cli/token_source.h"

#include <errno.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/state_dir.h"

/* ── The key ─────────────────────────────────────────────────────────────────────────────────── */

/* The key that a broker without a configured one makes, as its configuration would name it. */
static int default_key(const struct token_settings *settings, char *source, size_t size, char *why)
{
    char directory[PATH_MAX];
    int rc = 0;

    if (settings->state_dir) {
        snprintf(directory, sizeof(directory), "%s", settings->state_dir);
    } else {
        rc = state_dir_default(environ, directory);
    }
    if (rc) {
        snprintf(why, TOKEN_WHY_SIZE, "no key and no state directory known: %s", strerror(-rc));
        return TOKEN_SOURCE_UNUSABLE;
    }
    if (snprintf(source, size, "HS256:%s/%s", directory, JWT_KEY_FILE) >= (int)size) {
        snprintf(why, TOKEN_WHY_SIZE, "the state directory's path is too long");
        return TOKEN_SOURCE_UNUSABLE;
    }
    return 0;
}

static jwt_alg_t algorithm_of(const struct jwt_key *key)
{
    switch (key->algorithm) {
    case JWT_KEY_HS256:
        return JWT_ALG_HS256;
    case JWT_KEY_HS384:
        return JWT_ALG_HS384;
    case JWT_KEY_HS512:
        return JWT_ALG_HS512;
    case JWT_KEY_RS256:
        return JWT_ALG_RS256;
    case JWT_KEY_RS384:
        return JWT_ALG_RS384;
    case JWT_KEY_RS512:
        return JWT_ALG_RS512;
    case JWT_KEY_ES256:
        return JWT_ALG_ES256;
    case JWT_KEY_ES384:
        return JWT_ALG_ES384;
    case JWT_KEY_ES512:
        return JWT_ALG_ES512;
    default: /* libjwt has no others */
        return JWT_ALG_NONE;
    }
}

static int token_source_read_key(struct token_source *source, char *why)
{
    const struct token_settings *settings = &source->settings;
    char made[PATH_MAX + 32], reason[JWT_KEY_WHY_SIZE];

    if (!settings->key) {
        int rc = default_key(settings, made, sizeof(made), why);
        if (rc) {
            return rc;
        }
    }
    int rc =
        jwt_key_read(settings->key ? settings->key : made, JWT_KEY_SIGNS, &source->key, reason);
    if (rc == JWT_KEY_INVALID) {
        snprintf(why, TOKEN_WHY_SIZE, "%s%s", reason,
                 settings->key ? ""
                               : "; a broker without a configured key makes one there: name its "
                                 "--state-dir, or the --key of another");
        return TOKEN_SOURCE_UNUSABLE;
    }
    source->has_key = rc == 0;
    if (rc == 0 && algorithm_of(&source->key) == JWT_ALG_NONE) {
        snprintf(why, TOKEN_WHY_SIZE, "tokens are not made with %s here: take an HS, RS or ES key",
                 jwt_key_algorithm_name(source->key.algorithm));
        jwt_key_deinit(&source->key);
        return TOKEN_SOURCE_UNUSABLE;
    }
    return rc;
}

int token_source_init(const struct token_settings *settings, struct token_source *ret_source,
                      char why[TOKEN_WHY_SIZE])
{
    struct token_source source = {.settings = *settings};
    int rc = 0;

    if (settings->token) {
        source.token = mem_strndup(settings->token, strcspn(settings->token, TOKEN_END));
        rc = source.token ? 0 : -ENOMEM;
    } else {
        rc = token_source_read_key(&source, why);
    }
    source.settings.token = source.settings.key = NULL;
    if (rc == 0) {
        *ret_source = source;
    }
    return rc;
}

void token_source_deinit(struct token_source *source)
{
    if (source->has_key) {
        jwt_key_deinit(&source->key);
    }
    mem_free(source->token);
}

bool token_source_renews(const struct token_source *source)
{
    return source->has_key;
}

/* ── Tokens ──────────────────────────────────────────────────────────────────────────────────── */

static void write_claim(struct text *text, const char *name, const char *value)
{
    if (value) {
        text_printf(text, ",\"%s\":", name);
        text_json_string(text, value, strlen(value));
    }
}

static void write_claims(const struct token_source *source, char *const *tasks, size_t count,
                         struct text *text)
{
    const long long now = (long long)time(NULL);

    text_puts(text, "{\"tasks\":[");
    for (size_t i = 0; i < count; i++) {
        text_append(text, ",", i > 0);
        text_json_string(text, tasks[i], strlen(tasks[i]));
    }
    text_printf(text, "],\"iat\":%lld,\"exp\":%lld", now, now + source->settings.ttl_s);
    write_claim(text, "iss", source->settings.issuer);
    write_claim(text, "aud", source->settings.audience);
    text_puts(text, "}");
}

static int sign(const struct jwt_key *key, const char *claims, struct text *text)
{
    jwt_t *jwt = NULL;
    char *token = NULL;

    if (jwt_new(&jwt)) {
        return -ENOMEM;
    }
    if (jwt_add_grants_json(jwt, claims) == 0 &&
        (!key->kid || jwt_add_header(jwt, "kid", key->kid) == 0) &&
        jwt_set_alg(jwt, algorithm_of(key), key->secret, (int)key->secret_len) == 0) {
        token = jwt_encode_str(jwt);
    }
    if (token) {
        text_puts(text, token);
        free(token); /* libjwt before 1.12 has no call for it */
    }
    jwt_free(jwt);
    return !token ? -EIO : text_failed(text) ? -ENOMEM : 0;
}

int token_source_get(const struct token_source *source, char *const *tasks, size_t count,
                     struct text *text)
{
    struct text claims = TEXT_EMPTY;
    int rc;

    if (!source->has_key) {
        text_puts(text, source->token);
        return text_failed(text) ? -ENOMEM : 0;
    }
    write_claims(source, tasks, count, &claims);
    rc = text_failed(&claims) ? -ENOMEM : sign(&source->key, claims.data, text);
    text_deinit(&claims);
    return rc;
}
