/* auth.c with a scripted check of signatures that takes time, on a scripted clock. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/auth/auth.h"
#include "broker/auth/signature.h"
#include "common/base64.h"
#include "common/mem.h"

/* ── A scripted signature, and a clock ───────────────────────────────────────────────────────── */

#define CHECK_US 1000

static uint64_t clock_ns;
static unsigned signatures; /* that were checked */
static int signature_gives;

uint64_t uv_hrtime(void)
{
    return clock_ns;
}

int signature_key_new(const struct jwt_key *key, struct signature_key **ret_key)
{
    *ret_key = mem_zalloc(1, 1);
    return *ret_key ? 0 : -ENOMEM;
}

void signature_key_free(struct signature_key *key)
{
    mem_free(key);
}

bool signature_is_slow(const struct signature_key *key)
{
    return true;
}

int signature_check(const struct signature_key *key, struct span text, struct span signature)
{
    clock_ns += CHECK_US * UINT64_C(1000);
    signatures++;
    return signature_gives;
}

/* ── Those who wait ──────────────────────────────────────────────────────────────────────────── */

#define WAITING 64

struct client {
    struct auth_check check;
    char token[256];
    int rc;     /* what the check came to */
    int called; /* how often on_checked came */
    enum auth_failure why;
    struct client *goes; /* cancelled by this one's on_checked */
};

static struct loop loop;
static struct auth *auth;
static struct client clients[WAITING];

static void on_checked(struct auth_check *check, const struct auth_verdict *verdict)
{
    struct client *client = CONTAINER_OF(check, struct client, check);

    client->called++;
    client->rc = verdict->rc;
    client->why = verdict->why;
    cr_assert((verdict->rc == 0) == (verdict->token != NULL));
    if (client->goes) {
        auth_cancel(auth, &client->goes->check);
    }
}

static void set_up(void)
{
    static uint8_t secret[] = "secret";
    struct jwt_key key = {NULL, JWT_KEY_HS256, secret, sizeof(secret) - 1};
    struct config config = {.jwt_keys = {&key, 1}};

    cr_assert_eq(loop_open(&loop, NULL), 0);
    auth = auth_new(&config, &loop);
    cr_assert_not_null(auth);
}

static void tear_down(void)
{
    auth_free(auth);
    loop_close(&loop);
    loop_run(&loop);
}

static int64_t now_us(void)
{
    return (int64_t)time(NULL) * 1000000;
}

/* The client presents the token of that number. */
static int present(size_t i, unsigned number)
{
    const char *header = "{\"alg\":\"HS256\"}";
    struct client *client = &clients[i];
    struct token *token = NULL;
    enum auth_failure why;
    char claims[100];
    size_t len = base64_encode(BASE64_URL, header, strlen(header), client->token);
    const int claims_len = snprintf(claims, sizeof(claims), "{\"exp\":%lld,\"taskId\":\"%u\"}",
                                    (long long)time(NULL) + 3600, number);

    client->token[len++] = '.';
    len += base64_encode(BASE64_URL, claims, (size_t)claims_len, client->token + len);
    client->token[len++] = '.';
    client->called = 0;
    auth_check_init(&client->check, on_checked);
    int rc = auth_verify(auth, (struct span){client->token, len}, now_us(), &client->check, &token,
                         &why);
    token_unref(token);
    return rc;
}

static void turn(void)
{
    uv_run(&loop.uv, UV_RUN_NOWAIT);
}

/* ── Tests ───────────────────────────────────────────────────────────────────────────────────── */

Test(auth_turns, a_turn_checks_as_many_as_it_has_time_for)
{
    const unsigned each = AUTH_TURN_US / CHECK_US;

    set_up();
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(present(i, i), AUTH_LATER);
    }
    cr_assert_eq(signatures, 0, "nothing is checked on the spot");
    turn();
    cr_assert_eq(signatures, each);
    cr_assert_eq(clients[each - 1].called, 1, "who came first is first");
    cr_assert_eq(clients[each].called, 0);
    turn();
    cr_assert_eq(signatures, 2 * each);
    turn();
    cr_assert_eq(signatures, 12);
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(clients[i].called, 1);
        cr_assert_eq(clients[i].rc, 0);
    }
    tear_down();
}

Test(auth_turns, a_token_of_many_is_checked_once)
{
    set_up();
    for (unsigned i = 0; i < WAITING; i++) {
        cr_assert_eq(present(i, 7), AUTH_LATER);
    }
    turn();
    cr_assert_eq(signatures, 1);
    for (unsigned i = 0; i < WAITING; i++) {
        cr_assert_eq(clients[i].called, 1);
    }
    cr_assert_eq(present(0, 7), 0, "it is remembered");
    tear_down();
}

Test(auth_turns, a_bad_token_is_refused_later_and_not_remembered)
{
    set_up();
    signature_gives = SIGNATURE_WRONG;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(present(0, 1), AUTH_LATER);
        turn();
        cr_assert_eq(clients[0].rc, AUTH_REFUSED);
        cr_assert_eq(clients[0].why, AUTH_SIGNATURE);
    }
    cr_assert_eq(auth_cached(auth), 0);
    tear_down();
}

Test(auth_turns, who_goes_is_not_called_and_costs_nothing)
{
    set_up();
    cr_assert_eq(present(0, 1), AUTH_LATER);
    cr_assert_eq(present(1, 2), AUTH_LATER);
    cr_assert_eq(present(2, 2), AUTH_LATER);
    auth_cancel(auth, &clients[0].check);
    auth_cancel(auth, &clients[0].check);
    auth_cancel(auth, &clients[1].check);
    turn();
    cr_assert_eq(signatures, 1, "for the one who still waits");
    cr_assert_eq(clients[0].called + clients[1].called, 0);
    cr_assert_eq(clients[2].called, 1);
    tear_down();
}

Test(auth_turns, one_that_is_told_may_cancel_the_others)
{
    set_up();
    cr_assert_eq(present(0, 1), AUTH_LATER);
    cr_assert_eq(present(1, 1), AUTH_LATER);
    clients[0].goes = &clients[1];
    turn();
    cr_assert_eq(clients[0].called, 1);
    cr_assert_eq(clients[1].called, 0);
    tear_down();
}
