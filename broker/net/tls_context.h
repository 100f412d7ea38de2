/* What TLS connections have in common: the certificates and the rules.
 *
 * Receives   files of certificates and keys (PEM), by path; the ticket keys of all workers
 * Hands on   SSL objects, to be driven by a stream; when the first certificate expires
 * Owns       OpenSSL's contexts, one for each certificate
 *
 * The rules are Mozilla's "intermediate" profile: TLS 1.2 and 1.3, AEAD ciphers with forward
 * secrecy. Its finite-field key exchange (DHE) is left out: it costs the server ten times what
 * elliptic curves cost, and every client that speaks TLS 1.2 has those. No renegotiation, no
 * compression, no early data.
 *
 * A server presents the first certificate that is valid for the name the client asks for (SNI, RFC
 * 6066, 3); a client that names none, or one that no certificate has, is given the first of all.
 */
#ifndef PROGRESSD_BROKER_NET_TLS_CONTEXT_H
#define PROGRESSD_BROKER_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "broker/net/tls_tickets.h"

struct tls_context;

/* A certificate and its key. The chain file may hold both: `key_file` is NULL then. */
struct tls_certificate {
    const char *chain_file; /* the server's own first, then intermediates */
    const char *key_file;
};

/* Room for the reason why a context can't be made: it names the file. */
#define TLS_WHY_SIZE 512

enum tls_outcome { TLS_INVALID = 1 };

/* For accepted connections: at least one certificate. `tickets` is borrowed for as long as the
 * context lives. 0 with a context for tls_context_free(); TLS_INVALID with `why`; -ENOMEM. A
 * certificate that has expired, or isn't valid yet, is taken: see tls_context_not_after_s(). */
int tls_context_new_server(const struct tls_certificate *certificates, size_t count,
                           struct tls_tickets *tickets, struct tls_context **ret_context,
                           char why[TLS_WHY_SIZE]) MUST_CHECK;

/* For connections that are made. `ca_file` holds the certificates to trust (NULL: the system's),
 * and `own` is what this side shows (chain_file NULL: nothing). Results as above. */
int tls_context_new_client(const char *ca_file, const struct tls_certificate *own,
                           struct tls_context **ret_context, char why[TLS_WHY_SIZE]) MUST_CHECK;

/* Accepts NULL. All SSL objects that were made from it must be gone. */
void tls_context_free(struct tls_context *context);

/* The server's side of a connection that was accepted. NULL when out of memory. */
SSL *tls_context_accept(struct tls_context *context) MUST_CHECK;

/* The client's side. The server must prove to be `host`: a name, which is asked for by SNI as well,
 * or an IP address. NULL when out of memory. */
SSL *tls_context_connect(struct tls_context *context, const char *host) MUST_CHECK;

/* When the first of the certificates expires, in seconds since 1970; and its file. INT64_MAX and
 * "" without certificates. */
int64_t tls_context_not_after_s(const struct tls_context *context, const char **ret_chain_file);

#endif
