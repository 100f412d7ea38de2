#include <criterion/criterion.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/token_source.h"

/* 32 bytes, the least that HS256 takes. */
#define SECRET "0123456789abcdef0123456789abcdef"
#define KEY "HS256:base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static char *const tasks[] = {"42", "a\"*"};

static jwt_t *decode(const struct token_settings *settings)
{
    struct token_source source;
    struct text token = TEXT_EMPTY;
    char why[TOKEN_WHY_SIZE];
    jwt_t *jwt = NULL;

    cr_assert_eq(token_source_init(settings, &source, why), 0, "%s", why);
    cr_assert(token_source_renews(&source));
    cr_assert_eq(token_source_get(&source, tasks, 2, &token), 0);
    cr_assert_eq(jwt_decode(&jwt, token.data, (const unsigned char *)SECRET, strlen(SECRET)), 0,
                 "%s", token.data);
    text_deinit(&token);
    token_source_deinit(&source);
    return jwt;
}

Test(token_source, a_token_names_its_tasks_and_its_time)
{
    jwt_t *jwt = decode(&(struct token_settings){.key = KEY, .ttl_s = 60});
    char *names = jwt_get_grants_json(jwt, "tasks");
    long now = (long)time(NULL);

    cr_expect_str_eq(names, "[\"42\",\"a\\\"*\"]");
    cr_expect_eq(jwt_get_grant_int(jwt, "exp") - jwt_get_grant_int(jwt, "iat"), 60);
    cr_expect_leq(labs(jwt_get_grant_int(jwt, "iat") - now), 5);
    cr_expect_null(jwt_get_grant(jwt, "iss"));
    cr_expect_null(jwt_get_header(jwt, "kid"));
    free(names);
    jwt_free(jwt);
}

Test(token_source, issuer_audience_and_the_keys_name_are_in_it_where_given)
{
    jwt_t *jwt = decode(&(struct token_settings){
        .key = "me=" KEY, .ttl_s = 60, .issuer = "shop \"1\"", .audience = "progress"});

    cr_expect_str_eq(jwt_get_grant(jwt, "iss"), "shop \"1\"");
    cr_expect_str_eq(jwt_get_grant(jwt, "aud"), "progress");
    cr_expect_str_eq(jwt_get_header(jwt, "kid"), "me");
    jwt_free(jwt);
}

Test(token_source, the_key_in_a_state_directory_is_found)
{
    char directory[] = "/tmp/test_token_source.XXXXXX", path[64];
    jwt_t *jwt;

    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/jwt.key", directory);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(SECRET "\n", file);
    fclose(file);
    jwt = decode(&(struct token_settings){.state_dir = directory, .ttl_s = 60});
    jwt_free(jwt);
    unlink(path);
    rmdir(directory);
}

Test(token_source, a_given_token_is_used_as_it_is_and_never_renewed)
{
    struct token_source source;
    struct text token = TEXT_EMPTY;
    char why[TOKEN_WHY_SIZE];

    cr_assert_eq(token_source_init(&(struct token_settings){.token = "a.b.c", .key = "nonsense"},
                                   &source, why),
                 0);
    cr_expect_not(token_source_renews(&source));
    cr_expect_eq(token_source_get(&source, tasks, 2, &token), 0);
    cr_expect_str_eq(token.data, "a.b.c");
    text_deinit(&token);
    token_source_deinit(&source);
}

Test(token_source, a_missing_key_is_told_with_what_to_do)
{
    struct token_source source;
    char why[TOKEN_WHY_SIZE] = "";

    cr_expect_eq(
        token_source_init(&(struct token_settings){.state_dir = "/nonexistent"}, &source, why),
        TOKEN_SOURCE_UNUSABLE);
    cr_expect_not_null(strstr(why, "/nonexistent/jwt.key"), "%s", why);
    cr_expect_not_null(strstr(why, "--state-dir"), "%s", why);
    cr_expect_eq(token_source_init(&(struct token_settings){.key = "HS256"}, &source, why),
                 TOKEN_SOURCE_UNUSABLE);
}
