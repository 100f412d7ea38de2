/* The keys of TLS session tickets (RFC 5077; RFC 8446, 4.6.1): shared by all workers, renewed every
 * TLS_TICKETS_EPOCH_S.
 *
 * Receives   a secret made at random once, by the supervisor; the time of day
 * Hands on   the keys that tickets are sealed and opened with, to OpenSSL
 * Owns       the secret of the last epoch, and the keys of that one and of this
 *
 * The secret of an epoch is derived from its predecessor's, one way, and the predecessor is wiped:
 * whoever has the same secret and the same clock comes to the same keys, so workers need not talk
 * to each other, and who reads a secret learns nothing of tickets that are older than two epochs. A
 * ticket is opened for at least one epoch and at most two; a clock that is set back keeps the keys
 * that there are.
 */
#ifndef PROGRESSD_BROKER_NET_TLS_TICKETS_H
#define PROGRESSD_BROKER_NET_TLS_TICKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

#define TLS_TICKETS_EPOCH_S ((int64_t)12 * 3600)
#define TLS_TICKETS_SECRET_LEN 32

/* What one process hands to another. */
struct tls_ticket_secret {
    int64_t epoch; /* seconds since 1970 / TLS_TICKETS_EPOCH_S */
    uint8_t bytes[TLS_TICKETS_SECRET_LEN];
};

/* Of the ticket's own structure (RFC 5077, 4): its name, a cipher's key and a MAC's. */
struct tls_ticket_key {
    uint8_t name[16];
    uint8_t cipher[32]; /* AES-256-CBC */
    uint8_t mac[32];    /* HMAC-SHA256 */
};

struct tls_tickets {
    struct tls_ticket_secret secret; /* of the epoch before the current one */
    struct tls_ticket_key previous, current;
};

/* Makes a secret at random, for the epoch before that of `now_s` (seconds since 1970). 0 or -EIO.
 */
int tls_ticket_secret_make(struct tls_ticket_secret *secret, int64_t now_s) MUST_CHECK;

/* As a line that a supervisor tells a worker, and back: whether it was one. */
#define TLS_TICKET_LINE_SIZE 64
void tls_ticket_secret_write(const struct tls_ticket_secret *secret,
                             char line[TLS_TICKET_LINE_SIZE]);
bool tls_ticket_secret_read(const char *line, struct tls_ticket_secret *ret_secret) MUST_CHECK;

/* Begins with that secret, and wipes it on deinit. 0 or -EIO. */
int tls_tickets_init(struct tls_tickets *tickets, const struct tls_ticket_secret *secret,
                     int64_t now_s) MUST_CHECK;
void tls_tickets_deinit(struct tls_tickets *tickets);

/* Derives what is due by now. 0; or -EIO with the keys as they were. */
int tls_tickets_advance(struct tls_tickets *tickets, int64_t now_s) MUST_CHECK;

/* The key of that name; NULL: none, or no longer. */
const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets,
                                              const uint8_t name[16]);

#endif
