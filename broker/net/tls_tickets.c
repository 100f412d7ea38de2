#include "broker/net/tls_tickets.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/base64.h"

/* HMAC-SHA256 of a label under the secret: 32 bytes. */
static int derive(const uint8_t secret[TLS_TICKETS_SECRET_LEN], const char *label,
                  uint8_t ret_bytes[32])
{
    unsigned len = 0;

    if (!HMAC(EVP_sha256(), secret, TLS_TICKETS_SECRET_LEN, (const unsigned char *)label,
              strlen(label), ret_bytes, &len)) {
        return -EIO;
    }
    assert(len == 32);
    return 0;
}

static int derive_key(const uint8_t secret[TLS_TICKETS_SECRET_LEN], struct tls_ticket_key *ret_key)
{
    uint8_t name[32];

    if (derive(secret, "progressd ticket name", name) < 0 ||
        derive(secret, "progressd ticket cipher", ret_key->cipher) < 0 ||
        derive(secret, "progressd ticket mac", ret_key->mac) < 0) {
        return -EIO;
    }
    memcpy(ret_key->name, name, sizeof(ret_key->name));
    return 0;
}

static int derive_next(const uint8_t secret[TLS_TICKETS_SECRET_LEN], uint8_t ret_next[32])
{
    return derive(secret, "progressd next secret", ret_next);
}

/* The keys of secret.epoch and of the one that follows. */
static int derive_keys(struct tls_tickets *tickets)
{
    uint8_t next[TLS_TICKETS_SECRET_LEN];
    int rc = -EIO;

    if (derive_next(tickets->secret.bytes, next) == 0 &&
        derive_key(tickets->secret.bytes, &tickets->previous) == 0 &&
        derive_key(next, &tickets->current) == 0) {
        rc = 0;
    }
    OPENSSL_cleanse(next, sizeof(next));
    return rc;
}

int tls_ticket_secret_make(struct tls_ticket_secret *secret, int64_t now_s)
{
    if (RAND_bytes(secret->bytes, sizeof(secret->bytes)) != 1) {
        return -EIO;
    }
    secret->epoch = now_s / TLS_TICKETS_EPOCH_S - 1;
    return 0;
}

#define LINE_START "tickets"

void tls_ticket_secret_write(const struct tls_ticket_secret *secret,
                             char line[TLS_TICKET_LINE_SIZE])
{
    char text[BASE64_ENCODED_SIZE(TLS_TICKETS_SECRET_LEN)];

    base64_encode(BASE64_URL, secret->bytes, sizeof(secret->bytes), text);
    int len =
        snprintf(line, TLS_TICKET_LINE_SIZE, LINE_START " %" PRId64 " %s", secret->epoch, text);
    assert(len < TLS_TICKET_LINE_SIZE);
    (void)len;
    OPENSSL_cleanse(text, sizeof(text));
}

bool tls_ticket_secret_read(const char *line, struct tls_ticket_secret *ret_secret)
{
    struct tls_ticket_secret secret;
    char text[TLS_TICKET_LINE_SIZE];
    uint8_t bytes[BASE64_DECODED_SIZE(TLS_TICKET_LINE_SIZE)];
    size_t len;

    if (sscanf(line, LINE_START " %" SCNd64 " %63s", &secret.epoch, text) != 2 ||
        base64_decode(BASE64_URL, text, strlen(text), bytes, &len) != 0 ||
        len != sizeof(secret.bytes)) {
        return false;
    }
    memcpy(secret.bytes, bytes, len);
    *ret_secret = secret;
    return true;
}

int tls_tickets_init(struct tls_tickets *tickets, const struct tls_ticket_secret *secret,
                     int64_t now_s)
{
    *tickets = (struct tls_tickets){.secret = *secret};
    int rc = derive_keys(tickets);
    return rc < 0 ? rc : tls_tickets_advance(tickets, now_s);
}

void tls_tickets_deinit(struct tls_tickets *tickets)
{
    OPENSSL_cleanse(tickets, sizeof(*tickets));
}

int tls_tickets_advance(struct tls_tickets *tickets, int64_t now_s)
{
    const int64_t previous = now_s / TLS_TICKETS_EPOCH_S - 1;
    if (tickets->secret.epoch >= previous) {
        return 0;
    }
    struct tls_tickets next = *tickets;
    int rc = 0;
    while (rc == 0 && next.secret.epoch < previous) {
        uint8_t bytes[TLS_TICKETS_SECRET_LEN];
        rc = derive_next(next.secret.bytes, bytes);
        memcpy(next.secret.bytes, bytes, sizeof(bytes));
        next.secret.epoch++;
        OPENSSL_cleanse(bytes, sizeof(bytes));
    }
    if (rc == 0) {
        rc = derive_keys(&next);
    }
    if (rc == 0) {
        *tickets = next;
    }
    OPENSSL_cleanse(&next, sizeof(next));
    return rc;
}

const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets,
                                              const uint8_t name[16])
{
    if (memcmp(name, tickets->current.name, sizeof(tickets->current.name)) == 0) {
        return &tickets->current;
    }
    if (memcmp(name, tickets->previous.name, sizeof(tickets->previous.name)) == 0) {
        return &tickets->previous;
    }
    return NULL;
}
