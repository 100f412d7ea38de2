#include "broker/net/tls_context.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "tests/support/certificates.h"

TestSuite(tls_context, .init = certificates_set_up, .fini = certificates_tear_down);

static const char *make_file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

/* ── Two sides, joined in memory ─────────────────────────────────────────────────────────────── */

static struct tls_tickets make_tickets(void)
{
    struct tls_ticket_secret secret;
    struct tls_tickets tickets;

    cr_assert_eq(tls_ticket_secret_make(&secret, time(NULL)), 0);
    cr_assert_eq(tls_tickets_init(&tickets, &secret, time(NULL)), 0);
    return tickets;
}

static struct tls_context *make_server(const struct tls_certificate *certificates, size_t count,
                                       struct tls_tickets *tickets)
{
    struct tls_context *context = NULL;
    char why[TLS_WHY_SIZE] = "";

    cr_assert_eq(tls_context_new_server(certificates, count, tickets, &context, why), 0, "%s", why);
    return context;
}

static struct tls_context *make_client(const char *ca_file)
{
    struct tls_context *context = NULL;
    char why[TLS_WHY_SIZE] = "";

    cr_assert_eq(
        tls_context_new_client(ca_file, &(struct tls_certificate){NULL, NULL}, &context, why), 0,
        "%s", why);
    return context;
}

struct pair {
    SSL *server, *client;
    long verified; /* what the client found */
    bool done;
};

static void pair_free(struct pair *pair)
{
    SSL_free(pair->server);
    SSL_free(pair->client);
}

/* Lets them shake hands, and the client read what comes after it: tickets. */
static struct pair shake_hands(SSL *server, SSL *client)
{
    BIO *server_bio, *client_bio;
    bool server_done = false, client_done = false;
    char byte;

    cr_assert_eq(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0), 1);
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    for (int turn = 0; turn < 20; turn++) {
        client_done = SSL_do_handshake(client) == 1;
        server_done = SSL_do_handshake(server) == 1;
    }
    if (client_done && server_done) {
        cr_assert_eq(SSL_read(client, &byte, 1), -1);
    }
    return (struct pair){server, client, SSL_get_verify_result(client), server_done && client_done};
}

static struct pair connect_as(struct tls_context *server, struct tls_context *client,
                              const char *host)
{
    return shake_hands(tls_context_accept(server), tls_context_connect(client, host));
}

/* ── Handshakes ──────────────────────────────────────────────────────────────────────────────── */

Test(tls_context, lets_a_client_in_that_trusts_its_certificate)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own = {make_certificate("a.pem", "DNS:a.example", 3600), NULL};
    struct tls_context *server = make_server(&own, 1, &tickets);
    struct tls_context *client = make_client(own.chain_file);

    struct pair pair = connect_as(server, client, "a.example");
    cr_expect(pair.done);
    cr_expect_eq(SSL_version(pair.server), TLS1_3_VERSION);
    pair_free(&pair);
    struct pair other = connect_as(server, client, "b.example");
    cr_expect(!other.done);
    cr_expect_eq(other.verified, X509_V_ERR_HOSTNAME_MISMATCH);
    pair_free(&other);
    tls_context_free(client);
    tls_context_free(server);
}

Test(tls_context, checks_an_ip_address_as_one)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own = {make_certificate("a.pem", "IP:127.0.0.1", 3600), NULL};
    struct tls_context *server = make_server(&own, 1, &tickets);
    struct tls_context *client = make_client(own.chain_file);

    struct pair pair = connect_as(server, client, "127.0.0.1");
    cr_expect(pair.done);
    pair_free(&pair);
    struct pair other = connect_as(server, client, "127.0.0.2");
    cr_expect(!other.done);
    pair_free(&other);
    tls_context_free(client);
    tls_context_free(server);
}

Test(tls_context, refuses_a_certificate_that_nobody_trusts)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own = {make_certificate("a.pem", "DNS:a.example", 3600), NULL};
    struct tls_context *server = make_server(&own, 1, &tickets);
    struct tls_context *client = make_client(make_certificate("b.pem", "DNS:a.example", 3600));

    struct pair pair = connect_as(server, client, "a.example");
    cr_expect(!pair.done);
    pair_free(&pair);
    tls_context_free(client);
    tls_context_free(server);
}

Test(tls_context, presents_the_certificate_of_the_name_asked_for)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own[] = {
        {make_certificate("a.pem", "DNS:a.example", 3600), NULL},
        {make_certificate("b.pem", "DNS:b.example, DNS:*.b.example", 3600), NULL},
    };
    struct tls_context *server = make_server(own, 2, &tickets);
    struct tls_context *trusts_b = make_client(own[1].chain_file);
    struct tls_context *trusts_a = make_client(own[0].chain_file);
    const char *const of_b[] = {"b.example", "www.b.example"};

    for (size_t i = 0; i < ARRAY_LEN(of_b); i++) {
        struct pair pair = connect_as(server, trusts_b, of_b[i]);
        cr_expect(pair.done, "%s", of_b[i]);
        pair_free(&pair);
    }
    /* A name that none has gets the first; the client sees that it is another's. */
    struct pair pair = connect_as(server, trusts_a, "c.example");
    cr_expect_eq(pair.verified, X509_V_ERR_HOSTNAME_MISMATCH);
    pair_free(&pair);
    tls_context_free(trusts_a);
    tls_context_free(trusts_b);
    tls_context_free(server);
}

static void expect_version(int version, bool allowed)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own = {make_certificate("a.pem", "DNS:a.example", 3600), NULL};
    struct tls_context *server = make_server(&own, 1, &tickets);
    SSL_CTX *old = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(old, 0);
    SSL_CTX_set_min_proto_version(old, version);
    SSL_CTX_set_max_proto_version(old, version);
    SSL *client = SSL_new(old);
    SSL_set_connect_state(client);
    struct pair pair = shake_hands(tls_context_accept(server), client);
    cr_expect_eq(pair.done, allowed);
    pair_free(&pair);
    SSL_CTX_free(old);
    tls_context_free(server);
}

Test(tls_context, speaks_tls_1_2)
{
    expect_version(TLS1_2_VERSION, true);
}

Test(tls_context, speaks_nothing_older)
{
    expect_version(TLS1_1_VERSION, false);
}

Test(tls_context, agrees_on_http_1_1_with_who_offers_it)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own = {make_certificate("a.pem", "DNS:a.example", 3600), NULL};
    struct tls_context *server = make_server(&own, 1, &tickets);
    struct tls_context *client_context = make_client(own.chain_file);
    static const struct {
        const char *offer, *agreed;
    } cases[] = {{"\x02h2\x08http/1.1", "http/1.1"}, {"\x02h2", ""}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SSL *client = tls_context_connect(client_context, "a.example");
        const unsigned char *agreed = NULL;
        unsigned len = 0;
        SSL_set_alpn_protos(client, (const unsigned char *)cases[i].offer,
                            (unsigned)strlen(cases[i].offer));
        struct pair pair = shake_hands(tls_context_accept(server), client);
        cr_expect(pair.done);
        SSL_get0_alpn_selected(client, &agreed, &len);
        cr_expect_eq(len, strlen(cases[i].agreed));
        cr_expect(len == 0 || memcmp(agreed, cases[i].agreed, len) == 0);
        pair_free(&pair);
    }
    tls_context_free(client_context);
    tls_context_free(server);
}

/* ── Tickets ─────────────────────────────────────────────────────────────────────────────────── */

/* The session of one connection, for the next. */
static SSL_SESSION *kept_session;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept_session);
    kept_session = session;
    return 1;
}

/* Whether a session that one worker began goes on at another, `later` seconds of time apart. */
static bool resumes(struct tls_tickets *first_tickets, struct tls_tickets *second_tickets)
{
    const struct tls_certificate own = {make_certificate("a.pem", "DNS:a.example", 3600), NULL};
    struct tls_context *first = make_server(&own, 1, first_tickets);
    struct tls_context *second = make_server(&own, 1, second_tickets);
    struct tls_context *client_context = make_client(own.chain_file);

    SSL *client = tls_context_connect(client_context, "a.example");
    SSL_CTX_set_session_cache_mode(SSL_get_SSL_CTX(client), SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(SSL_get_SSL_CTX(client), on_session);
    struct pair pair = shake_hands(tls_context_accept(first), client);
    cr_assert(pair.done);
    cr_assert_not_null(kept_session);
    client = tls_context_connect(client_context, "a.example");
    cr_assert_eq(SSL_set_session(client, kept_session), 1);
    SSL_SESSION *first_session = kept_session;
    kept_session = NULL;
    struct pair again = shake_hands(tls_context_accept(second), client);
    cr_assert(again.done);
    bool resumed = SSL_session_reused(client);
    cr_expect_not_null(kept_session, "the second connection has no ticket for a third");
    SSL_SESSION_free(first_session);
    SSL_shutdown(pair.client);
    pair_free(&pair);
    pair_free(&again);
    SSL_SESSION_free(kept_session);
    kept_session = NULL;
    tls_context_free(client_context);
    tls_context_free(second);
    tls_context_free(first);
    return resumed;
}

Test(tls_context, resumes_at_any_worker_that_has_the_secret)
{
    struct tls_tickets tickets = make_tickets(), other = tickets;

    cr_expect(resumes(&tickets, &other));
}

Test(tls_context, does_not_resume_where_the_secret_is_another)
{
    struct tls_tickets tickets = make_tickets(), other = make_tickets();

    cr_expect(!resumes(&tickets, &other));
}

/* ── Files ───────────────────────────────────────────────────────────────────────────────────── */

static void expect_refused(const char *chain_file, const char *key_file, const char *expected)
{
    struct tls_tickets tickets = make_tickets();
    struct tls_context *context = NULL;
    const struct tls_certificate own = {chain_file, key_file};
    char why[TLS_WHY_SIZE] = "";

    cr_expect_eq(tls_context_new_server(&own, 1, &tickets, &context, why), TLS_INVALID);
    cr_expect_null(context);
    cr_expect(strstr(why, expected), "%s", why);
}

Test(tls_context, names_the_file_that_it_can_not_use)
{
    const char *good = make_certificate("good.pem", "DNS:a.example", 3600);
    const char *other = make_certificate("other.pem", "DNS:a.example", 3600);
    const char *empty = make_file("empty.pem", "");

    expect_refused("/nowhere/a.pem", NULL, "/nowhere/a.pem: no certificate (PEM) could be read");
    expect_refused("/nowhere/a.pem", NULL, "No such file");
    expect_refused(empty, NULL, "empty.pem: no certificate (PEM) could be read");
    expect_refused(good, empty, "empty.pem: no private key (PEM, without a passphrase)");
    expect_refused(good, other, "other.pem: the key isn't that of the certificate");
}

Test(tls_context, knows_which_certificate_expires_first)
{
    struct tls_tickets tickets = make_tickets();
    const struct tls_certificate own[] = {
        {make_certificate("a.pem", "DNS:a.example", 7200), NULL},
        {make_certificate("b.pem", "DNS:b.example", 3600), NULL},
    };
    struct tls_context *server = make_server(own, 2, &tickets);
    const char *file;

    int64_t left = tls_context_not_after_s(server, &file) - (int64_t)time(NULL);
    cr_expect(left > 3000 && left <= 3600, "%lld", (long long)left);
    cr_expect_str_eq(file, own[1].chain_file);
    tls_context_free(server);
    struct tls_context *client = make_client(own[0].chain_file);
    cr_expect_eq(tls_context_not_after_s(client, &file), INT64_MAX);
    cr_expect_str_eq(file, "");
    tls_context_free(client);
}
