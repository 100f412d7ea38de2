/* Where progressctl takes its tokens from: one that it was given, or a key to make them with.
 *
 * Receives   options, from the commands; a key's file, which for a broker without a configured key
 *            is the one in its state directory
 * Hands on   tokens (RFC 7519): claims `tasks`, `iat`, `exp`, and `iss`, `aud` where asked
 * Owns       the key, or the token that was given
 */
#ifndef PROGRESSD_CLIENT_CLI_TOKEN_SOURCE_H
#define PROGRESSD_CLIENT_CLI_TOKEN_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/jwt_key.h"

#define TOKEN_TTL_DEFAULT_S 3600
#define TOKEN_TTL_MAX_S (10 * 365 * 86400)

/* White space, which a token out of a file may have behind it. */
#define TOKEN_END " \t\r\n"

/* What the user said; NULL where nothing. `token` and `key` are needed while the source is
 * initialised, the others as long as it lives. */
struct token_settings {
    const char *token; /* use this one, and no other; what follows TOKEN_END is no part of it */
    const char *key;   /* [KID=]ALG:SOURCE */
    const char *state_dir;
    const char *issuer, *audience;
    uint32_t ttl_s;
};

struct token_source {
    struct token_settings settings;
    char *token; /* the one that was given; NULL: they are made */
    struct jwt_key key;
    bool has_key;
};

enum token_source_outcome { TOKEN_SOURCE_UNUSABLE = 1 };

/* Reads the key, unless a token was given. 0 and *ret_source; TOKEN_SOURCE_UNUSABLE and in `why`
 * what is wrong; -ENOMEM. */
#define TOKEN_WHY_SIZE (JWT_KEY_WHY_SIZE + 256)
int token_source_init(const struct token_settings *settings, struct token_source *ret_source,
                      char why[TOKEN_WHY_SIZE]) MUST_CHECK;

void token_source_deinit(struct token_source *source);

/* Whether the next token will be another than the last. */
bool token_source_renews(const struct token_source *source);

/* Appends a token for `count` tasks, or beginnings of task ids that end in `*` (checked by the
 * caller): the one that was given, or a new one. 0; -ENOMEM; -EIO when it can't be signed. */
int token_source_get(const struct token_source *source, char *const *tasks, size_t count,
                     struct text *text) MUST_CHECK;

#endif
