/* The certificates of the configuration, as a context for the listening addresses.
 *
 * Receives   files by their names, from the options
 * Hands on   a context (tls_context.h), or the reason why there can be none
 * Owns       nothing
 */
#ifndef PROGRESSD_BROKER_NET_TLS_CERTIFICATES_H
#define PROGRESSD_BROKER_NET_TLS_CERTIFICATES_H

#include "broker/config/config.h"
#include "broker/net/tls_context.h"

/* The results of tls_context_new_server(). There is at least one certificate. */
int tls_certificates_load(const struct config_certificates *certificates,
                          struct tls_tickets *tickets, struct tls_context **ret_context,
                          char why[TLS_WHY_SIZE]) MUST_CHECK;

/* Before the certificates are used: whether they can be. 0 with, in `message`, warnings of those
 * that have expired or are about to; CONFIG_INVALID, and the reason in `message`; -ENOMEM.
 * *ret_not_after_s is when the first of them expires, in seconds since 1970; INT64_MAX when no
 * address speaks TLS. */
#define TLS_CERTIFICATES_SOON_S ((int64_t)14 * 86400)
int tls_certificates_check(const struct config *config, int64_t now_s, struct text *message,
                           int64_t *ret_not_after_s) MUST_CHECK;

#endif
