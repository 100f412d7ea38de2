#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/token_parts.h"

#define SPAN(text) ((struct span){text, strlen(text)})

/* Reads a token of this header and these claims, with the signature "sig". */
static int read_token(const char *header, const char *claims, struct token_parts *ret_parts)
{
    static char text[TOKEN_MAX];
    size_t len = base64_encode(BASE64_URL, header, strlen(header), text);

    text[len++] = '.';
    len += base64_encode(BASE64_URL, claims, strlen(claims), text + len);
    strcpy(text + len, ".c2ln");
    return token_parts_read(SPAN(text), ret_parts);
}

static int outcome(const char *header)
{
    struct token_parts parts;

    return read_token(header, "{}", &parts);
}

static int outcome_of_text(const char *text)
{
    struct token_parts parts;

    return token_parts_read(SPAN(text), &parts);
}

Test(token_parts, header_and_claims_are_handed_on)
{
    struct token_parts parts;

    cr_assert_eq(read_token("{\"typ\":\"jwt\",\"kid\":\"k\",\"alg\":\"HS256\",\"x\":1}",
                            " {\"a\":1} ", &parts),
                 0);
    cr_assert(json_string_is(parts.algorithm, "HS256"));
    cr_assert(json_string_is(parts.kid, "k"));
    cr_assert_eq(parts.claims.len, 7);
    cr_assert_arr_eq(parts.claims.at, "{\"a\":1}", 7);
    cr_assert_eq(parts.signature.len, 3);
    cr_assert_arr_eq(parts.signature.at, "sig", 3);
    cr_assert_eq(parts.signed_text.at[parts.signed_text.len], '.');
    cr_assert_arr_eq(parts.signed_text.at + parts.signed_text.len, ".c2ln", 6);
    cr_assert_eq(read_token("{\"alg\":\"none\"}", "[]", &parts), 0);
    cr_assert_null(parts.kid.at);
}

Test(token_parts, a_header_that_says_what_is_not_understood_is_refused)
{
    static const char *const headers[] = {
        "",
        "[]",
        "\"alg\"",
        "{}",
        "{\"alg\":null}",
        "{\"alg\":[\"HS256\"]}",
        "{\"ALG\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}",
        "{\"alg\":\"HS256\",\"kid\":1}",
        "{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWE\"}",
        "{\"alg\":\"HS256\",\"typ\":\"\"}",
        "{\"alg\":\"HS256\",\"typ\":\"a long name of a type\"}",
        "{\"alg\":\"HS256\",\"typ\":1}",
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"HS256\"} x",
        "{\"alg\":\"HS256\",}",
    };

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        cr_assert_eq(outcome(headers[i]), TOKEN_MALFORMED, "%s", headers[i]);
    }
}

Test(token_parts, types_of_access_tokens_are_taken_in_any_case)
{
    static const char *const types[] = {"\"JWT\"",
                                        "\"jwt\"",
                                        "\"at+jwt\"",
                                        "\"AT+JWT\"",
                                        "\"application/jwt\"",
                                        "\"application\\/at+JWT\"",
                                        "\"APPLICATION/AT\\u002bjwt\"",
                                        "null"};
    static const char *const others[] = {"\"logout+jwt\"",
                                         "\"dpop+jwt\"",
                                         "\"JOSE\"",
                                         "\"application/\"",
                                         "\"jwt\\u0000\"",
                                         "\"text/jwt\"",
                                         "\"application/jwt \"",
                                         "\"application/application/jwt\"",
                                         "\"\\ud800jwt\"",
                                         "[\"JWT\"]"};
    char header[128];

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":%s}", types[i]);
        cr_assert_eq(outcome(header), 0, "%s", header);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":%s}", others[i]);
        cr_assert_eq(outcome(header), TOKEN_MALFORMED, "%s", header);
    }
}

Test(token_parts, a_kid_of_null_is_none)
{
    struct token_parts parts;

    cr_assert_eq(read_token("{\"alg\":\"HS256\",\"kid\":null}", "{}", &parts), 0);
    cr_assert_null(parts.kid.at);
    cr_assert_eq(outcome("{\"alg\":\"HS256\",\"kid\":null,\"kid\":\"a\"}"), TOKEN_MALFORMED);
    cr_assert_eq(outcome("{\"alg\":\"HS256\",\"crit\":null}"), TOKEN_MALFORMED);
}

/* eyJhbGciOiJIUzI1NiJ9 is {"alg":"HS256"}, e30 is {}. */
Test(token_parts, what_is_not_three_parts_of_base64url_is_refused)
{
    static const char *const texts[] = {"",
                                        ".",
                                        "..",
                                        "...",
                                        "eyJhbGciOiJIUzI1NiJ9",
                                        "eyJhbGciOiJIUzI1NiJ9.e30",
                                        "eyJhbGciOiJIUzI1NiJ9..c2ln",
                                        ".e30.c2ln",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.c2ln",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.",
                                        "eyJhbGciOiJIUzI1NiJ9.e30=.c2ln",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2+n",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2lnc",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2l n",
                                        " eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                                        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln\n",
                                        "eyJhbGciOiJIUzI1NiJ9.e31.c2ln"};
    struct token_parts parts;

    cr_assert_eq(outcome_of_text("eyJhbGciOiJIUzI1NiJ9.e30.c2ln"), 0);
    cr_assert_eq(token_parts_read(SPAN("eyJhbGciOiJIUzI1NiJ9.e30."), &parts), 0);
    cr_assert_eq(parts.signature.len, 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_eq(outcome_of_text(texts[i]), TOKEN_MALFORMED, "%s", texts[i]);
    }
}

Test(token_parts, every_shortened_token_is_read_without_harm)
{
    const char *text = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
    struct token_parts parts;

    for (size_t len = 0; len <= strlen(text); len++) {
        char *exact = malloc(len + 1);

        memcpy(exact, text, len);
        int rc = token_parts_read((struct span){exact, len}, &parts);
        free(exact);
        cr_assert_eq(rc == 0, len == 25 || len == 29, "%zu", len);
    }
}

Test(token_parts, a_token_has_no_nul_byte_and_a_longest_length)
{
    static char text[TOKEN_MAX + 2] = "eyJhbGciOiJIUzI1NiJ9.e30.";
    struct token_parts parts;
    size_t start = strlen(text);

    memset(text + start, 'A', TOKEN_MAX + 1 - start);
    cr_assert_eq(token_parts_read((struct span){text, TOKEN_MAX + 1}, &parts), TOKEN_MALFORMED);
    cr_assert_eq(token_parts_read((struct span){text, TOKEN_MAX - 1}, &parts), 0);
    cr_assert_eq(token_parts_read((struct span){"eyJhbGciOiJIUzI1NiJ9.e30.\0AAA", 29}, &parts),
                 TOKEN_MALFORMED);
}
