#include <criterion/criterion.h>
#include <errno.h>
#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/auth.h"
#include "broker/auth/token_parts.h"
#include "common/base64.h"
#include "common/mem.h"
#include "tests/support/signing_key.h"

#define SPAN(text) ((struct span){text, strlen(text)})
#define NOW 1700000000

#define MAIN_SECRET "main main main main main main main main main main main main main"
#define OTHER_SECRET "other other other other other other other other other other oth"

static char main_kid[] = "main", other_kid[] = "other";
static uint8_t main_secret[] = MAIN_SECRET, other_secret[] = OTHER_SECRET;

/* A configuration with up to two keys: auth looks at nothing else. */
static struct config with_keys(struct jwt_key *keys, size_t count)
{
    return (struct config){.jwt_keys = {keys, count}};
}

static struct jwt_key key(char *kid, enum jwt_key_algorithm algorithm, uint8_t *secret)
{
    return (struct jwt_key){kid, algorithm, secret, strlen((char *)secret)};
}

/* Signs with OpenSSL alone, so that libjwt isn't asked to check itself. */
static const char *sign(const char *header, const char *claims, const char *hash,
                        const char *secret)
{
    static char text[TOKEN_MAX * 2];
    uint8_t signature[EVP_MAX_MD_SIZE];
    unsigned signature_len;
    size_t len = base64_encode(BASE64_URL, header, strlen(header), text);

    text[len++] = '.';
    len += base64_encode(BASE64_URL, claims, strlen(claims), text + len);
    HMAC(EVP_get_digestbyname(hash), secret, (int)strlen(secret), (uint8_t *)text, len, signature,
         &signature_len);
    text[len++] = '.';
    base64_encode(BASE64_URL, signature, signature_len, text + len);
    return text;
}

#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define CLAIMS "{\"exp\":1700000060,\"tasks\":[\"42\"]}"

static const char *good_token(void)
{
    return sign(HEADER, CLAIMS, "SHA256", MAIN_SECRET);
}

/* An auth with one nameless HS256 key. */
static struct auth *simple_auth(void)
{
    struct jwt_key keys[] = {key(NULL, JWT_KEY_HS256, main_secret)};
    struct config config = with_keys(keys, 1);
    struct auth *auth = auth_new(&config, NULL);

    cr_assert_not_null(auth);
    return auth;
}

#define ACCEPTED "accepted"

static int64_t seconds(double count)
{
    return (int64_t)(count * 1e6);
}

/* The failure's name, or ACCEPTED. */
static const char *verdict(struct auth *auth, const char *text, double now_s)
{
    struct token *token = NULL;
    enum auth_failure why;
    int rc = auth_verify(auth, SPAN(text), seconds(now_s), NULL, &token, &why);

    if (rc == 0) {
        token_unref(token);
        return ACCEPTED;
    }
    cr_assert_eq(rc, AUTH_REFUSED);
    cr_assert_null(token);
    return auth_failure_name(why);
}

Test(auth, a_good_token_names_its_tasks_and_its_end)
{
    struct auth *auth = simple_auth();
    struct token *token = NULL;
    enum auth_failure why;

    cr_assert_eq(auth_verify(auth, SPAN(good_token()), seconds(NOW), NULL, &token, &why), 0);
    auth_free(auth);
    cr_assert(token_names(token, "42"));
    cr_assert_not(token_names(token, "43"));
    cr_assert_eq(token->expires_us, seconds(NOW + 60));
    cr_assert_eq(token->refs, 1);
    token_unref(token);
}

Test(auth, a_token_changed_in_any_character_is_refused)
{
    struct auth *auth = simple_auth();
    char text[512];

    strcpy(text, good_token());
    for (size_t i = 0; text[i]; i++) {
        char old = text[i];

        text[i] = old == 'A' ? 'B' : 'A';
        cr_assert_str_neq(verdict(auth, text, NOW), ACCEPTED, "character %zu", i);
        text[i] = old;
    }
    text[strlen(text) - 1] = '\0';
    cr_assert_str_neq(verdict(auth, text, NOW), ACCEPTED);
    cr_assert_eq(auth_cached(auth), 0);
    auth_free(auth);
}

Test(auth, claims_under_another_tokens_signature_are_refused)
{
    struct auth *auth = simple_auth();
    char text[512], forged[512];

    strcpy(text, good_token());
    strcpy(forged, sign(HEADER, "{\"exp\":1700000060,\"tasks\":[\"*\"]}", "SHA256", "x"));
    strcpy(strrchr(forged, '.'), strrchr(text, '.'));
    cr_assert_str_eq(verdict(auth, forged, NOW), "signature");
    strcpy(strrchr(forged, '.'), ".");
    cr_assert_str_eq(verdict(auth, forged, NOW), "signature");
    auth_free(auth);
}

Test(auth, the_algorithm_is_the_keys_and_never_the_tokens)
{
    struct jwt_key keys[] = {key(NULL, JWT_KEY_HS512, main_secret)};
    struct config config = with_keys(keys, 1);
    struct auth *auth = auth_new(&config, NULL);

    cr_assert_str_eq(verdict(auth, good_token(), NOW), "algorithm");
    cr_assert_str_eq(verdict(auth, sign("{\"alg\":\"HS512\"}", CLAIMS, "SHA512", MAIN_SECRET), NOW),
                     ACCEPTED);
    cr_assert_str_eq(verdict(auth, sign("{\"alg\":\"HS512\"}", CLAIMS, "SHA256", MAIN_SECRET), NOW),
                     "signature");
    cr_assert_str_eq(verdict(auth, sign("{\"alg\":\"hs512\"}", CLAIMS, "SHA512", MAIN_SECRET), NOW),
                     "algorithm");
    cr_assert_str_eq(verdict(auth, sign("{\"alg\":\"RS256\"}", CLAIMS, "SHA256", MAIN_SECRET), NOW),
                     "algorithm");
    auth_free(auth);
}

Test(auth, the_algorithm_none_is_refused)
{
    struct auth *auth = simple_auth();
    char text[512];

    strcpy(text, sign("{\"alg\":\"none\"}", CLAIMS, "SHA256", MAIN_SECRET));
    cr_assert_str_eq(verdict(auth, text, NOW), "algorithm");
    strcpy(strrchr(text, '.'), ".");
    cr_assert_str_eq(verdict(auth, text, NOW), "algorithm");
    strcpy(text, sign("{\"alg\":\"None\"}", CLAIMS, "SHA256", MAIN_SECRET));
    cr_assert_str_eq(verdict(auth, text, NOW), "algorithm");
    auth_free(auth);
}

Test(auth, all_three_algorithms_are_checked)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"HS384\"}",
                                          "{\"alg\":\"HS512\"}"};
    static const char *const hashes[] = {"SHA256", "SHA384", "SHA512"};

    for (int i = JWT_KEY_HS256; i <= JWT_KEY_HS512; i++) {
        struct jwt_key keys[] = {key(NULL, (enum jwt_key_algorithm)i, main_secret)};
        struct config config = with_keys(keys, 1);
        struct auth *auth = auth_new(&config, NULL);

        cr_assert_str_eq(verdict(auth, sign(headers[i], CLAIMS, hashes[i], MAIN_SECRET), NOW),
                         ACCEPTED);
        cr_assert_str_eq(verdict(auth, sign(headers[i], CLAIMS, hashes[i], OTHER_SECRET), NOW),
                         "signature");
        auth_free(auth);
    }
}

Test(auth, kid_chooses_the_key)
{
    struct jwt_key keys[] = {key(main_kid, JWT_KEY_HS256, main_secret),
                             key(other_kid, JWT_KEY_HS256, other_secret)};
    struct config config = with_keys(keys, 2);
    struct auth *auth = auth_new(&config, NULL);
    const char *main_header = "{\"alg\":\"HS256\",\"kid\":\"main\"}";
    const char *other_header = "{\"alg\":\"HS256\",\"kid\":\"other\"}";
    const char *third_header = "{\"alg\":\"HS256\",\"kid\":\"third\"}";

    cr_assert_str_eq(verdict(auth, sign(main_header, CLAIMS, "SHA256", MAIN_SECRET), NOW),
                     ACCEPTED);
    cr_assert_str_eq(verdict(auth, sign(other_header, CLAIMS, "SHA256", OTHER_SECRET), NOW),
                     ACCEPTED);
    cr_assert_str_eq(verdict(auth, sign(other_header, CLAIMS, "SHA256", MAIN_SECRET), NOW),
                     "signature");
    cr_assert_str_eq(verdict(auth, sign(third_header, CLAIMS, "SHA256", MAIN_SECRET), NOW),
                     "unknown_key");
    cr_assert_str_eq(verdict(auth, good_token(), NOW), "unknown_key");
    auth_free(auth);
}

Test(auth, a_token_without_kid_takes_the_only_key_or_the_only_nameless_one)
{
    struct jwt_key named[] = {key(main_kid, JWT_KEY_HS256, main_secret)};
    struct jwt_key both[] = {key(other_kid, JWT_KEY_HS256, other_secret),
                             key(NULL, JWT_KEY_HS256, main_secret)};
    struct config config = with_keys(named, 1);
    struct auth *auth = auth_new(&config, NULL);

    cr_assert_str_eq(verdict(auth, good_token(), NOW), ACCEPTED);
    auth_free(auth);
    config = with_keys(both, 2);
    auth = auth_new(&config, NULL);
    cr_assert_str_eq(verdict(auth, good_token(), NOW), ACCEPTED);
    cr_assert_str_eq(
        verdict(auth, sign("{\"alg\":\"HS256\",\"kid\":\"\"}", CLAIMS, "SHA256", MAIN_SECRET), NOW),
        "unknown_key");
    auth_free(auth);
    config = with_keys(NULL, 0);
    auth = auth_new(&config, NULL);
    cr_assert_str_eq(verdict(auth, good_token(), NOW), "unknown_key");
    auth_free(auth);
}

Test(auth, a_token_is_good_from_nbf_until_exp)
{
    struct auth *auth = simple_auth();
    const char *text =
        sign(HEADER, "{\"nbf\":100,\"exp\":200,\"taskId\":\"a\"}", "SHA256", MAIN_SECRET);

    cr_assert_str_eq(verdict(auth, text, 99), "not_yet_valid");
    cr_assert_str_eq(verdict(auth, text, 100), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, 199), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, 200), "expired");
    cr_assert_str_eq(verdict(auth, text, 9e12), "expired");
    auth_free(auth);
}

Test(auth, a_remembered_token_expires_like_any_other)
{
    struct auth *auth = simple_auth();
    const char *text = good_token();

    cr_assert_eq(auth_cached(auth), 0);
    cr_assert_str_eq(verdict(auth, text, NOW), ACCEPTED);
    cr_assert_eq(auth_cached(auth), 1);
    cr_assert_str_eq(verdict(auth, text, NOW + 59), ACCEPTED);
    cr_assert_eq(auth_cached(auth), 1);
    cr_assert_str_eq(verdict(auth, text, NOW + 60), "expired");
    cr_assert_eq(auth_cached(auth), 0);
    cr_assert_str_eq(verdict(auth, text, NOW + 60), "expired");
    cr_assert_eq(auth_cached(auth), 0);
    auth_free(auth);
}

Test(auth, a_remembered_token_is_shared_and_a_refused_one_not_remembered)
{
    struct auth *auth = simple_auth();
    struct token *first = NULL, *second = NULL;
    enum auth_failure why;

    cr_assert_eq(auth_verify(auth, SPAN(good_token()), seconds(NOW), NULL, &first, &why), 0);
    cr_assert_eq(auth_verify(auth, SPAN(good_token()), seconds(NOW), NULL, &second, &why), 0);
    cr_assert_eq(first, second);
    cr_assert_eq(first->refs, 3);
    token_unref(first);
    cr_assert_str_eq(verdict(auth, sign(HEADER, CLAIMS, "SHA256", OTHER_SECRET), NOW), "signature");
    cr_assert_eq(auth_cached(auth), 1);
    auth_free(auth);
    cr_assert(token_names(second, "42"));
    token_unref(second);
}

Test(auth, no_more_than_so_many_tokens_are_remembered)
{
    struct auth *auth = simple_auth();

    for (int i = 0; i < AUTH_CACHE_TOKENS + 10; i++) {
        char claims[128];

        snprintf(claims, sizeof(claims), "{\"exp\":1700000060,\"taskId\":\"%d\"}", i);
        cr_assert_str_eq(verdict(auth, sign(HEADER, claims, "SHA256", MAIN_SECRET), NOW), ACCEPTED);
    }
    cr_assert_eq(auth_cached(auth), AUTH_CACHE_TOKENS);
    auth_free(auth);
}

Test(auth, wrong_claims_are_told_apart)
{
    struct jwt_key keys[] = {key(NULL, JWT_KEY_HS256, main_secret)};
    struct config config = with_keys(keys, 1);
    char issuer[] = "me", audience[] = "us";

    config.jwt_issuer = issuer;
    config.jwt_audience = audience;
    struct auth *auth = auth_new(&config, NULL);
    static const char *const cases[][2] = {
        {"{\"exp\":1700000060,\"taskId\":\"a\",\"iss\":\"me\",\"aud\":[\"us\"]}", ACCEPTED},
        {"{\"exp\":1700000060,\"taskId\":\"a\",\"iss\":\"you\",\"aud\":\"us\"}", "issuer"},
        {"{\"exp\":1700000060,\"taskId\":\"a\",\"iss\":\"me\",\"aud\":\"them\"}", "audience"},
        {"{\"taskId\":\"a\",\"iss\":\"me\",\"aud\":\"us\"}", "claims"},
        {"{\"exp\":\"1700000060\",\"taskId\":\"a\",\"iss\":\"me\",\"aud\":\"us\"}", "claims"},
        {"[]", "claims"},
        {"no json", "malformed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_str_eq(verdict(auth, sign(HEADER, cases[i][0], "SHA256", MAIN_SECRET), NOW),
                         cases[i][1], "%s", cases[i][0]);
    }
    auth_free(auth);
}

Test(auth, a_fractional_exp_counts)
{
    struct auth *auth = simple_auth();
    const char *text =
        sign(HEADER, "{\"exp\":1700000060.5,\"taskId\":\"a\"}", "SHA256", MAIN_SECRET);

    cr_assert_str_eq(verdict(auth, text, NOW), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, NOW + 60.499), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, NOW + 60.5), "expired");
    auth_free(auth);
}

Test(auth, clocks_may_be_apart_by_the_leeway)
{
    struct jwt_key keys[] = {key(NULL, JWT_KEY_HS256, main_secret)};
    struct config config = with_keys(keys, 1);

    config.jwt_leeway_ms = 30000;
    struct auth *auth = auth_new(&config, NULL);
    const char *text =
        sign(HEADER, "{\"nbf\":100.5,\"exp\":200.5,\"taskId\":\"a\"}", "SHA256", MAIN_SECRET);
    cr_assert_str_eq(verdict(auth, text, 70), "not_yet_valid");
    cr_assert_str_eq(verdict(auth, text, 70.5), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, 230), ACCEPTED);
    cr_assert_str_eq(verdict(auth, text, 230.5), "expired");
    auth_free(auth);
}

Test(auth, a_huge_exp_does_not_make_a_token_last_for_ever)
{
    static const char *const huge[] = {"1e300", "1e999", "1700000000000", "9223372036854775807",
                                       "99999999999999999999999"};
    struct auth *auth = simple_auth();

    for (size_t i = 0; i < ARRAY_LEN(huge); i++) {
        char claims[128];

        snprintf(claims, sizeof(claims), "{\"exp\":%s,\"taskId\":\"a\"}", huge[i]);
        cr_assert_str_neq(verdict(auth, sign(HEADER, claims, "SHA256", MAIN_SECRET), NOW), ACCEPTED,
                          "%s", huge[i]);
    }
    auth_free(auth);
}

Test(auth, what_is_no_token_is_told)
{
    static char text[TOKEN_MAX + 2];
    struct auth *auth = simple_auth();

    cr_assert_str_eq(verdict(auth, "", NOW), "missing");
    cr_assert_str_eq(verdict(auth, "x", NOW), "malformed");
    memset(text, 'A', TOKEN_MAX + 1);
    cr_assert_str_eq(verdict(auth, text, NOW), "too_long");
    text[TOKEN_MAX] = '\0';
    cr_assert_str_eq(verdict(auth, text, NOW), "malformed");
    auth_free(auth);
}

Test(auth, a_token_of_the_greatest_length_is_taken)
{
    struct auth *auth = simple_auth();
    static char claims[TOKEN_MAX];
    const char *text;

    strcpy(claims, "{\"exp\":1700000060,\"tasks\":[\"0\"");
    do {
        strcat(claims, ",\"0123456789\"");
    } while (strlen(claims) < TOKEN_MAX / 4 * 3 - 100);
    strcat(claims, "]}");
    text = sign(HEADER, claims, "SHA256", MAIN_SECRET);
    cr_assert_gt(strlen(text), TOKEN_MAX - 100);
    cr_assert_leq(strlen(text), TOKEN_MAX);
    cr_assert_str_eq(verdict(auth, text, NOW), ACCEPTED);
    auth_free(auth);
}

/* libjwt signs here, and OpenSSL checks: neither is its own judge. */
Test(auth, what_libjwt_signs_is_taken)
{
    static const jwt_alg_t algorithms[] = {JWT_ALG_HS256, JWT_ALG_HS384, JWT_ALG_HS512};

    for (int i = JWT_KEY_HS256; i <= JWT_KEY_HS512; i++) {
        struct jwt_key keys[] = {key(main_kid, (enum jwt_key_algorithm)i, main_secret)};
        struct config config = with_keys(keys, 1);
        struct auth *auth = auth_new(&config, NULL);
        jwt_t *jwt;

        cr_assert_eq(jwt_new(&jwt), 0);
        cr_assert_eq(jwt_add_grants_json(jwt, CLAIMS), 0);
        cr_assert_eq(jwt_add_header(jwt, "kid", "main"), 0);
        cr_assert_eq(jwt_set_alg(jwt, algorithms[i], main_secret, sizeof(MAIN_SECRET) - 1), 0);
        char *text = jwt_encode_str(jwt);
        cr_assert_str_eq(verdict(auth, text, NOW), ACCEPTED);
        text[strlen(text) - 5] ^= 1;
        cr_assert_str_neq(verdict(auth, text, NOW), ACCEPTED);
        free(text);
        jwt_free(jwt);
        auth_free(auth);
    }
}

/* What libjwt takes under a key, this takes, and the other way round. */
Test(auth, libjwt_takes_what_is_taken)
{
    struct auth *auth = simple_auth();
    jwt_t *jwt;

    cr_assert_eq(jwt_decode(&jwt, good_token(), main_secret, sizeof(MAIN_SECRET) - 1), 0);
    jwt_free(jwt);
    cr_assert_str_eq(verdict(auth, good_token(), NOW), ACCEPTED);
    cr_assert_neq(jwt_decode(&jwt, good_token(), other_secret, sizeof(OTHER_SECRET) - 1), 0);
    auth_free(auth);
}

Test(auth, every_failure_has_a_name_and_a_sentence)
{
    for (int i = 0; i < AUTH_FAILURE_COUNT; i++) {
        cr_assert_not_null(auth_failure_name((enum auth_failure)i));
        cr_assert_not_null(auth_failure_text((enum auth_failure)i));
    }
    cr_assert_str_eq(auth_failure_name(AUTH_FORBIDDEN), "forbidden");
}

Test(auth, running_out_of_memory_is_returned)
{
    struct jwt_key keys[] = {key(main_kid, JWT_KEY_HS256, main_secret),
                             key(other_kid, JWT_KEY_HS256, other_secret)};
    struct config config = with_keys(keys, 2);
    char name[] = "name";
    struct token *token;
    enum auth_failure why;

    config.jwt_issuer = config.jwt_audience = name;
    for (unsigned n = 1; n <= 8; n++) {
        mem_fail_nth(n);
        cr_assert_null(auth_new(&config, NULL), "allocation %u", n);
    }
    struct auth *auth = simple_auth();
    mem_fail_nth(1);
    cr_assert_eq(auth_verify(auth, SPAN(good_token()), seconds(NOW), NULL, &token, &why), -ENOMEM);
    mem_fail_nth(2); /* the cache's: nobody needs to know */
    cr_assert_str_eq(verdict(auth, good_token(), NOW), ACCEPTED);
    cr_assert_eq(auth_cached(auth), 0);
    auth_free(auth);
    auth_free(NULL);
}

/* ── Public keys, and confusion of algorithms ────────────────────────────────────────────────── */

static const char *late_verdict;

static void on_checked(struct auth_check *check, const struct auth_verdict *verdict)
{
    late_verdict = verdict->rc == 0 ? ACCEPTED : auth_failure_name(verdict->why);
}

/* As verdict(), with the loop's turn that it may take. */
static const char *verdict_in_time(struct auth *auth, struct loop *loop, const char *text)
{
    struct auth_check check;
    struct token *token = NULL;
    enum auth_failure why;

    auth_check_init(&check, on_checked);
    int rc = auth_verify(auth, SPAN(text), seconds(NOW), &check, &token, &why);
    token_unref(token);
    if (rc != AUTH_LATER) {
        return rc == 0 ? ACCEPTED : auth_failure_name(why);
    }
    late_verdict = NULL;
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    cr_assert_not_null(late_verdict);
    return late_verdict;
}

#define LONG_CLAIMS "{\"exp\":253402300000,\"tasks\":[\"42\"]}"

/* A token whose header says `said`, signed with the pair as `way` has it: with a shared secret the
 * public key's text, as the attack on careless checkers goes. */
static const char *confused_token(EVP_PKEY *pair, const char *said, int way)
{
    static char token[8192];
    static const char *const hashes[] = {"SHA256", "SHA384", "SHA512"};
    char header[64], pem[PEM_MAX];

    snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", said);
    if (way > JWT_KEY_HS512) {
        signing_key_token(pair, way, header, LONG_CLAIMS, token);
        return token;
    }
    signing_key_public_pem(pair, pem);
    return sign(header, LONG_CLAIMS, hashes[way], pem);
}

static void check_confusion(enum jwt_key_algorithm own)
{
    EVP_PKEY *pair = signing_key_new(own);
    char pem[PEM_MAX];
    struct loop loop;

    signing_key_public_pem(pair, pem);
    struct jwt_key keys[] = {key(NULL, own, (uint8_t *)pem)};
    struct config config = with_keys(keys, 1);
    cr_assert_eq(loop_open(&loop, NULL), 0);
    struct auth *auth = auth_new(&config, &loop);
    for (int way = 0; way < JWT_KEY_ALGORITHMS; way++) {
        const char *own_name = jwt_key_algorithm_name(own), *name = jwt_key_algorithm_name(way);

        cr_expect_str_eq(verdict_in_time(auth, &loop, confused_token(pair, name, way)),
                         way == (int)own ? ACCEPTED : "algorithm", "%s as %s", name, own_name);
        cr_expect_str_eq(verdict_in_time(auth, &loop, confused_token(pair, own_name, way)),
                         way == (int)own ? ACCEPTED : "signature", "%s said to be %s", name,
                         own_name);
    }
    cr_expect_str_eq(verdict_in_time(auth, &loop, confused_token(pair, "none", own)), "algorithm");
    auth_free(auth);
    loop_close(&loop);
    loop_run(&loop);
    EVP_PKEY_free(pair);
}

Test(auth, no_algorithm_passes_for_another_in_any_pairing)
{
    for (int own = JWT_KEY_RS256; own < JWT_KEY_ALGORITHMS; own++) {
        check_confusion(own);
    }
}

Test(auth, a_shared_secret_takes_no_signature_of_a_pair)
{
    for (int way = JWT_KEY_RS256; way < JWT_KEY_ALGORITHMS; way++) {
        struct auth *auth = simple_auth();
        EVP_PKEY *pair = signing_key_new(way);

        cr_expect_str_eq(verdict(auth, confused_token(pair, jwt_key_algorithm_name(way), way), NOW),
                         "algorithm");
        cr_expect_str_eq(verdict(auth, confused_token(pair, "HS256", way), NOW), "signature");
        EVP_PKEY_free(pair);
        auth_free(auth);
    }
}
