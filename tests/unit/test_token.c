#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/auth/token.h"
#include "common/mem.h"

#define SPAN(text) ((struct span){text, strlen(text)})

static const struct token_rules no_rules;

static int outcome(const char *claims, const struct token_rules *rules)
{
    struct token *token = NULL;
    int rc = token_from_claims(SPAN(claims), rules, &token);

    cr_assert_eq(rc == 0, token != NULL);
    token_unref(token);
    return rc;
}

static struct token *read_claims(const char *claims)
{
    struct token *token = NULL;

    cr_assert_eq(token_from_claims(SPAN(claims), &no_rules, &token), 0, "%s", claims);
    return token;
}

/* Whether a token with these `tasks` names the task. */
static bool names(const char *tasks, const char *task_id)
{
    char claims[512];

    snprintf(claims, sizeof(claims), "{\"exp\":1,\"tasks\":%s}", tasks);
    struct token *token = read_claims(claims);
    bool is_named = token_names(token, task_id);
    token_unref(token);
    return is_named;
}

Test(token, a_task_is_named_exactly)
{
    cr_assert(names("[\"42\"]", "42"));
    cr_assert(names("[\"a\",\"42\",\"b\"]", "42"));
    cr_assert(names("[\"4\\u0032\"]", "42"));
    cr_assert_not(names("[\"42\"]", "4"));
    cr_assert_not(names("[\"42\"]", "421"));
    cr_assert_not(names("[\"Ab\"]", "ab"));
}

Test(token, a_star_at_the_end_names_all_that_begins_so)
{
    cr_assert(names("[\"42*\"]", "42"));
    cr_assert(names("[\"42*\"]", "421"));
    cr_assert(names("[\"x\",\"org:7:*\"]", "org:7:42"));
    cr_assert(names("[\"*\"]", "a"));
    cr_assert_not(names("[\"42*\"]", "4"));
    cr_assert_not(names("[\"42*\"]", "142"));
    cr_assert_not(names("[\"org:7:*\"]", "org:70:42"));
}

Test(token, task_id_and_tasks_may_both_be_there)
{
    struct token *token = read_claims("{\"taskId\":\"a\",\"exp\":1,\"tasks\":[\"b*\"]}");

    cr_assert(token_names(token, "a"));
    cr_assert(token_names(token, "bc"));
    cr_assert_not(token_names(token, "c"));
    token_unref(token);
    token = read_claims("{\"taskId\":\"a*\",\"exp\":1,\"tasks\":[]}");
    cr_assert(token_names(token, "ab"));
    token_unref(token);
}

Test(token, claims_that_name_no_task_or_what_is_none_are_refused)
{
    static const char *const claims[] = {
        "{\"exp\":1}",
        "{\"exp\":1,\"tasks\":[]}",
        "{\"exp\":1,\"tasks\":\"42\"}",
        "{\"exp\":1,\"tasks\":null}",
        "{\"exp\":1,\"tasks\":{\"42\":1}}",
        "{\"exp\":1,\"tasks\":[42]}",
        "{\"exp\":1,\"tasks\":[\"42\",null]}",
        "{\"exp\":1,\"tasks\":[\"42\",[\"43\"]]}",
        "{\"exp\":1,\"tasks\":[\"\"]}",
        "{\"exp\":1,\"tasks\":[\"4*2\"]}",
        "{\"exp\":1,\"tasks\":[\"**\"]}",
        "{\"exp\":1,\"tasks\":[\"a b\"]}",
        "{\"exp\":1,\"tasks\":[\"a/b\"]}",
        "{\"exp\":1,\"tasks\":[\"a\\u0000b\"]}",
        "{\"exp\":1,\"tasks\":[\"\\u0000*\"]}",
        "{\"exp\":1,\"taskId\":42}",
        "{\"exp\":1,\"taskId\":[\"42\"]}",
        "{\"exp\":1,\"taskId\":\"\",\"tasks\":[\"42\"]}",
        "{\"exp\":1,\"taskId\":\"42\",\"tasks\":null}",
        "{\"exp\":1,\"TaskId\":\"42\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        cr_assert_eq(outcome(claims[i], &no_rules), TOKEN_CLAIMS, "%s", claims[i]);
    }
}

Test(token, the_longest_task_id_is_named_and_a_longer_one_refused)
{
    char id[160], claims[256];

    for (int len = 127; len <= 129; len++) {
        memset(id, 'x', sizeof(id));
        id[len] = '\0';
        snprintf(claims, sizeof(claims), "{\"exp\":1,\"taskId\":\"%s\"}", id);
        cr_assert_eq(outcome(claims, &no_rules), len <= 128 ? 0 : TOKEN_CLAIMS);
        strcat(id, "*");
        snprintf(claims, sizeof(claims), "{\"exp\":1,\"taskId\":\"%s\"}", id);
        cr_assert_eq(outcome(claims, &no_rules), len <= 128 ? 0 : TOKEN_CLAIMS);
    }
}

Test(token, exp_is_a_number_of_seconds_which_may_have_a_fraction)
{
    static const struct {
        const char *exp;
        int64_t expires_us;
    } cases[] = {{"1", 1000000},
                 {"1700000000", 1700000000000000},
                 {"1700000000.5", 1700000000500000},
                 {"1.7e9", 1700000000000000},
                 {"0.5", 500000},
                 {"0", 0},
                 {"253402300799", 253402300799000000},
                 {"-1", -1},
                 {"253402300800", -1},
                 {"1700000000000", -1},
                 {"1e300", -1},
                 {"1e999", -1},
                 {"99999999999999999999999999", -1},
                 {"\"1700000000\"", -1},
                 {"null", -1},
                 {"true", -1},
                 {"[1]", -1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char claims[128];

        snprintf(claims, sizeof(claims), "{\"exp\":%s,\"taskId\":\"a\"}", cases[i].exp);
        if (cases[i].expires_us < 0) {
            cr_assert_eq(outcome(claims, &no_rules), TOKEN_CLAIMS, "%s", claims);
            continue;
        }
        struct token *token = read_claims(claims);
        cr_assert_eq(token->expires_us, cases[i].expires_us, "%s", claims);
        cr_assert_eq(token->valid_until_us, cases[i].expires_us);
        cr_assert_eq(token->valid_from_us, INT64_MIN);
        token_unref(token);
    }
    cr_assert_eq(outcome("{\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
}

Test(token, nbf_is_a_number_of_seconds_which_may_have_a_fraction)
{
    struct token *token = read_claims("{\"exp\":9,\"nbf\":4.25,\"taskId\":\"a\"}");

    cr_assert_eq(token->valid_from_us, 4250000);
    token_unref(token);
    cr_assert_eq(outcome("{\"exp\":9,\"nbf\":\"4\",\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":9,\"nbf\":null,\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":9,\"nbf\":1e300,\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":9,\"nbf\":-1,\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
}

Test(token, the_leeway_widens_the_time_and_leaves_exp_as_it_is)
{
    const struct token_rules rules = {.leeway_us = 30000000};
    struct token *token = NULL;

    cr_assert_eq(token_from_claims(SPAN("{\"exp\":9,\"nbf\":4,\"taskId\":\"a\"}"), &rules, &token),
                 0);
    cr_assert_eq(token->expires_us, 9000000);
    cr_assert_eq(token->valid_until_us, 39000000);
    cr_assert_eq(token->valid_from_us, -26000000);
    token_unref(token);
}

Test(token, claims_that_nobody_asked_about_are_not_looked_at)
{
    static const char *const members[] = {
        "\"id\":18446744073709551616",
        "\"x\":1e400",
        "\"x\":\"\\u0000\"",
        "\"x\":\"\\ud800\"",
        "\"\\udfff\":1",
        "\"\\ud83d\\u0065xp\":1",
        "\"iss\":7",
        "\"aud\":{}",
        "\"sub\":null",
        "\"x\":1,\"x\":2",
        "\"iat\":\"now\"",
    };
    char claims[256];

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        snprintf(claims, sizeof(claims), "{\"exp\":1,%s,\"taskId\":\"a\"}", members[i]);
        cr_assert_eq(outcome(claims, &no_rules), 0, "%s", claims);
    }
}

Test(token, a_claim_that_comes_twice_is_refused)
{
    cr_assert_eq(outcome("{\"exp\":1,\"exp\":9,\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":1,\"\\u0065xp\":9,\"taskId\":\"a\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"taskId\":\"*\"}", &no_rules), TOKEN_CLAIMS);
    cr_assert_eq(outcome("{\"exp\":1,\"x\":1,\"x\":2,\"taskId\":\"a\"}", &no_rules), 0);
}

Test(token, claims_that_are_no_json_object_are_refused)
{
    static const char *const claims[] = {
        "", "[]", "1", "{", "{\"exp\":1,\"taskId\":\"a\"}x", "{'exp':1}"};

    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        cr_assert_eq(outcome(claims[i], &no_rules), TOKEN_CLAIMS, "%s", claims[i]);
    }
}

Test(token, the_issuer_is_compared_when_it_is_asked)
{
    const struct token_rules rules = {.issuer = "me"};

    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"iss\":\"me\"}", &rules), 0);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"iss\":\"Me\"}", &rules), TOKEN_ISSUER);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"iss\":[\"me\"]}", &rules), TOKEN_ISSUER);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\"}", &rules), TOKEN_ISSUER);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"iss\":7}", &no_rules), 0);
}

Test(token, one_of_several_audiences_is_enough)
{
    const struct token_rules rules = {.audience = "us"};

    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":\"us\"}", &rules), 0);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":[\"x\",\"us\"]}", &rules), 0);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":[1,\"us\"]}", &rules), 0);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":\"usa\"}", &rules), TOKEN_AUDIENCE);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":[]}", &rules), TOKEN_AUDIENCE);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":[[\"us\"]]}", &rules),
                 TOKEN_AUDIENCE);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\"}", &rules), TOKEN_AUDIENCE);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\",\"aud\":7}", &no_rules), 0);
}

Test(token, it_lives_until_the_last_reference_goes)
{
    struct token *token = read_claims("{\"exp\":1,\"taskId\":\"a\"}"), *second = token_ref(token);

    token_unref(token);
    cr_assert(token_names(second, "a"));
    token_unref(second);
    token_unref(NULL);
}

Test(token, running_out_of_memory_is_returned)
{
    mem_fail_nth(1);
    cr_assert_eq(outcome("{\"exp\":1,\"taskId\":\"a\"}", &no_rules), -ENOMEM);
}
