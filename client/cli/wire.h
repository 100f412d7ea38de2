/* A connection to a broker that waits: progressctl does one thing at a time. On libcurl, which
 * brings TLS, proxies and names along.
 *
 * Receives   an address and bytes to send
 * Hands on   bytes as they were read
 * Owns       libcurl's handle
 *
 * Every call has a deadline, a moment of wire_clock(). A proxy is taken from the environment as
 * curl(1) takes it ($http_proxy, $https_proxy, $no_proxy), and so are certificates to trust instead
 * of the system's ($SSL_CERT_FILE).
 */
#ifndef PROGRESSD_CLIENT_CLI_WIRE_H
#define PROGRESSD_CLIENT_CLI_WIRE_H

#include <curl/curl.h>
#include <stdint.h>

#include "common/result.h"

#define WIRE_URL_MAX 1024

/* Where a broker is: http[s]://HOST[:PORT][/PATH]. */
struct wire_address {
    char url[WIRE_URL_MAX];       /* without a slash at its end */
    char authority[WIRE_URL_MAX]; /* HOST[:PORT] of it, an IPv6 address in brackets */
    char path[WIRE_URL_MAX];      /* /PATH of it, without a slash at its end; "" where there is
                                     none */
};

/* What goes wrong, here and in http_client and ws_client. */
enum wire_outcome {
    WIRE_BAD_URL = 1,
    WIRE_UNKNOWN_HOST, /* the name couldn't be resolved */
    WIRE_UNTRUSTED,    /* TLS failed: the certificate isn't trusted, or the server has no TLS */
    WIRE_ENDED,        /* the other side has closed */
    WIRE_BAD_PROTOCOL, /* not HTTP, too much of it, or cut off; or WebSocket's rules are broken */
    WIRE_REFUSED,      /* the server answered an upgrade with another status than 101 */
};

/* The outcome, or -errno, in words. */
const char *wire_outcome_text(int rc);

/* Reads a URL without user, query and fragment. 0 or WIRE_BAD_URL. */
int wire_address_parse(const char *url, struct wire_address *ret_address) MUST_CHECK;

/* The time, and the deadline so many milliseconds from now. */
int64_t wire_clock(void);
int64_t wire_deadline(int64_t milliseconds);

/* A handle for one connection to `url` that keeps to the deadline; NULL when out of memory. */
CURL *wire_handle_new(const char *url, int64_t deadline) MUST_CHECK;

/* What libcurl returned, as an outcome or -errno; 0 for CURLE_OK. */
int wire_result(CURL *handle, CURLcode code);

struct wire {
    CURL *handle; /* NULL: not open */
};

#define WIRE_CLOSED ((struct wire){NULL})

/* Connects, TLS included, and through a proxy by CONNECT. 0; WIRE_UNKNOWN_HOST; WIRE_UNTRUSTED;
 * -ETIMEDOUT or another -errno. */
int wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline) MUST_CHECK;

/* Accepts one that isn't open. */
void wire_close(struct wire *wire);

/* Sends all of it. 0; -ETIMEDOUT; -errno. */
int wire_write(struct wire *wire, const void *data, size_t len, int64_t deadline) MUST_CHECK;

/* Waits for some bytes. 0 and *ret_len; WIRE_ENDED; -ETIMEDOUT; -errno. */
int wire_read(struct wire *wire, void *buffer, size_t size, int64_t deadline,
              size_t *ret_len) MUST_CHECK;

#endif
