#include "broker/net/tls_context.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"

#define CIPHERS                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

/* One certificate. */
struct tls_identity {
    SSL_CTX *ssl_context;
    char *chain_file;
    int64_t not_after_s;
};

struct tls_context {
    struct tls_tickets *tickets; /* NULL: of a client */
    size_t count;
    struct tls_identity identities[]; /* a client has one, perhaps without a certificate */
};

/* ── What goes wrong ─────────────────────────────────────────────────────────────────────────── */

/* Says why, by OpenSSL's oldest error, and empties its queue. TLS_INVALID. */
static int tls_refuse(char why[TLS_WHY_SIZE], const char *file, const char *what)
{
    unsigned long error = ERR_get_error();
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    if (error && ERR_SYSTEM_ERROR(error)) {
        reason = strerror(ERR_GET_REASON(error));
    }
    snprintf(why, TLS_WHY_SIZE, "%s: %s%s%s", file, what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return TLS_INVALID;
}

/* ── Rules ───────────────────────────────────────────────────────────────────────────────────── */

static SSL_CTX *make_ssl_context(const SSL_METHOD *method)
{
    SSL_CTX *ssl_context = SSL_CTX_new(method);

    if (!ssl_context) {
        return NULL;
    }
    if (SSL_CTX_set_min_proto_version(ssl_context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ssl_context, CIPHERS) != 1 ||
        SSL_CTX_set1_groups_list(ssl_context, GROUPS) != 1) {
        SSL_CTX_free(ssl_context);
        return NULL;
    }
    /* A peer that just closes is no attack: WebSocket and HTTP know where their messages end. */
    SSL_CTX_set_options(ssl_context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ssl_context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    /* A record's head and body in one read(2). */
    SSL_CTX_set_read_ahead(ssl_context, 1);
    return ssl_context;
}

/* ALPN (RFC 7301): HTTP/1.1 is all that is spoken here. A client that doesn't offer it may try. */
static int on_alpn(SSL *ssl, const unsigned char **ret_protocol, unsigned char *ret_len,
                   const unsigned char *offered, unsigned offered_len, void *unused)
{
    static const unsigned char ours[] = "\x08http/1.1";
    int rc = SSL_select_next_proto((unsigned char **)ret_protocol, ret_len, ours, sizeof(ours) - 1,
                                   offered, offered_len);

    (void)ssl;
    (void)unused;
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* ── Session tickets ─────────────────────────────────────────────────────────────────────────── */

/* How OpenSSL's callback tells how it went: SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
enum { TICKET_BROKEN = -1, TICKET_UNKNOWN = 0, TICKET_GOOD = 1, TICKET_TO_RENEW = 2 };

static int set_mac_key(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params);
}

static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct tls_tickets *tickets = context->tickets;

    if (tls_tickets_advance(tickets, time(NULL)) < 0) {
        return TICKET_BROKEN;
    }
    if (seal) {
        const struct tls_ticket_key *key = &tickets->current;
        memcpy(name, key->name, sizeof(key->name));
        return RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                       EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key->cipher, iv, NULL) == 1 &&
                       set_mac_key(mac, key) == 1
                   ? TICKET_GOOD
                   : TICKET_BROKEN;
    }
    const struct tls_ticket_key *key = tls_tickets_find(tickets, name);
    if (!key) {
        return TICKET_UNKNOWN;
    }
    if (set_mac_key(mac, key) != 1 ||
        EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key->cipher, iv, NULL) != 1) {
        return TICKET_BROKEN;
    }
    /* A ticket of TLS 1.3 should be used once (RFC 8446, C.4): who presents it gets the next. */
    return key == &tickets->current && SSL_version(ssl) < TLS1_3_VERSION ? TICKET_GOOD
                                                                         : TICKET_TO_RENEW;
}

/* ── Certificates ────────────────────────────────────────────────────────────────────────────── */

static int64_t seconds_of(const ASN1_TIME *asn1_time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(asn1_time, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MAX;
}

/* No question is asked at a terminal: a key with a passphrase is refused. */
static int on_passphrase(char *buffer, int size, int writing, void *unused)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)unused;
    return -1;
}

/* 0, TLS_INVALID with `why`, or -ENOMEM. */
static int load_identity(struct tls_identity *identity, const struct tls_certificate *certificate,
                         char why[TLS_WHY_SIZE])
{
    const char *chain_file = certificate->chain_file;
    const char *key_file = certificate->key_file ? certificate->key_file : chain_file;

    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(identity->ssl_context, on_passphrase);
    if (SSL_CTX_use_certificate_chain_file(identity->ssl_context, chain_file) != 1) {
        return tls_refuse(why, chain_file, "no certificate (PEM) could be read from it");
    }
    if (SSL_CTX_use_PrivateKey_file(identity->ssl_context, key_file, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
            ERR_clear_error();
            return tls_refuse(why, key_file, "the key isn't that of the certificate");
        }
        return tls_refuse(why, key_file,
                          "no private key (PEM, without a passphrase) could be read");
    }
    identity->chain_file = mem_strndup(chain_file, strlen(chain_file));
    if (!identity->chain_file) {
        return -ENOMEM;
    }
    identity->not_after_s =
        seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(identity->ssl_context)));
    return 0;
}

static bool is_for_host(const struct tls_identity *identity, const char *host)
{
    return X509_check_host(SSL_CTX_get0_certificate(identity->ssl_context), host, 0, 0, NULL) == 1;
}

static int on_server_name(SSL *ssl, int *alert, void *owner)
{
    const struct tls_context *context = owner;
    const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (size_t i = 0; host && i < context->count; i++) {
        if (is_for_host(&context->identities[i], host)) {
            SSL_set_SSL_CTX(ssl, context->identities[i].ssl_context);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ── Contexts ────────────────────────────────────────────────────────────────────────────────── */

static struct tls_context *allocate(size_t count)
{
    struct tls_context *context =
        mem_zalloc(1, sizeof(*context) + count * sizeof(context->identities[0]));

    if (context) {
        context->count = count;
    }
    return context;
}

static int add_server_identity(struct tls_context *context, struct tls_identity *identity,
                               const struct tls_certificate *certificate, char why[TLS_WHY_SIZE])
{
    SSL_CTX *ssl_context = identity->ssl_context = make_ssl_context(TLS_server_method());

    if (!ssl_context) {
        return -ENOMEM;
    }
    /* Tickets are valid for who asked for the same name only if each context knows its own. */
    SSL_CTX_set_app_data(ssl_context, context);
    SSL_CTX_set_alpn_select_cb(ssl_context, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ssl_context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ssl_context, context);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_context, on_ticket);
    SSL_CTX_set_timeout(ssl_context, TLS_TICKETS_EPOCH_S);
    return load_identity(identity, certificate, why);
}

int tls_context_new_server(const struct tls_certificate *certificates, size_t count,
                           struct tls_tickets *tickets, struct tls_context **ret_context,
                           char why[TLS_WHY_SIZE])
{
    struct tls_context *context = allocate(count);
    int rc = context ? 0 : -ENOMEM;

    assert(count > 0);
    for (size_t i = 0; i < count && rc == 0; i++) {
        context->tickets = tickets;
        rc = add_server_identity(context, &context->identities[i], &certificates[i], why);
    }
    if (rc != 0) {
        tls_context_free(context);
        return rc;
    }
    *ret_context = context;
    return 0;
}

static int trust(SSL_CTX *ssl_context, const char *ca_file, char why[TLS_WHY_SIZE])
{
    ERR_clear_error();
    SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER, NULL);
    if (!ca_file) {
        return SSL_CTX_set_default_verify_paths(ssl_context) == 1
                   ? 0
                   : tls_refuse(why, "the system's certificates", "can't be read");
    }
    return SSL_CTX_load_verify_locations(ssl_context, ca_file, NULL) == 1
               ? 0
               : tls_refuse(why, ca_file, "no certificates (PEM) could be read from it");
}

int tls_context_new_client(const char *ca_file, const struct tls_certificate *own,
                           struct tls_context **ret_context, char why[TLS_WHY_SIZE])
{
    struct tls_context *context = allocate(1);

    if (!context) {
        return -ENOMEM;
    }
    struct tls_identity *identity = &context->identities[0];
    identity->not_after_s = INT64_MAX;
    identity->ssl_context = make_ssl_context(TLS_client_method());
    int rc = identity->ssl_context ? trust(identity->ssl_context, ca_file, why) : -ENOMEM;
    if (rc == 0 && own->chain_file) {
        rc = load_identity(identity, own, why);
    }
    if (rc != 0) {
        tls_context_free(context);
        return rc;
    }
    *ret_context = context;
    return 0;
}

void tls_context_free(struct tls_context *context)
{
    if (!context) {
        return;
    }
    for (size_t i = 0; i < context->count; i++) {
        SSL_CTX_free(context->identities[i].ssl_context);
        mem_free(context->identities[i].chain_file);
    }
    mem_free(context);
}

/* ── Connections ─────────────────────────────────────────────────────────────────────────────── */

SSL *tls_context_accept(struct tls_context *context)
{
    SSL *ssl = SSL_new(context->identities[0].ssl_context);

    if (ssl) {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

static bool is_ip_address(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool require_host(SSL *ssl, const char *host)
{
    if (is_ip_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *tls_context_connect(struct tls_context *context, const char *host)
{
    SSL *ssl = SSL_new(context->identities[0].ssl_context);

    if (ssl && !require_host(ssl, host)) {
        SSL_free(ssl);
        return NULL;
    }
    if (ssl) {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}

int64_t tls_context_not_after_s(const struct tls_context *context, const char **ret_chain_file)
{
    int64_t first = INT64_MAX;

    *ret_chain_file = "";
    for (size_t i = 0; i < context->count; i++) {
        if (context->identities[i].not_after_s < first) {
            first = context->identities[i].not_after_s;
            *ret_chain_file = context->identities[i].chain_file;
        }
    }
    return first;
}
