/* A connection to a broker that waits: progressctl does one thing at a time.
 *
 * Receives   an address and bytes to send, from http_client and ws_client
 * Hands on   bytes as they were read
 * Owns       a socket
 *
 * Every call has a deadline, a moment of wire_clock(). TCP only; TLS will be a second way to read
 * and write below this interface, chosen by the address's scheme.
 */
#ifndef PROGRESSD_CLIENT_CLI_WIRE_H
#define PROGRESSD_CLIENT_CLI_WIRE_H

#include <stdint.h>

#include "common/result.h"

/* Where a broker is: http://HOST[:PORT]. */
struct wire_address {
    char host[256]; /* a name or an IP address, without brackets */
    char port[6];
};

enum wire_outcome {
    WIRE_BAD_URL = 1,
    WIRE_UNKNOWN_HOST, /* the name couldn't be resolved */
    WIRE_ENDED,        /* the other side has closed */
};

/* Reads http://HOST[:PORT][/]; an IPv6 address is in brackets, the port is 80 unless given. 0 or
 * WIRE_BAD_URL. */
int wire_address_parse(const char *url, struct wire_address *ret_address) MUST_CHECK;

/* The time, and the deadline so many milliseconds from now. */
int64_t wire_clock(void);
int64_t wire_deadline(int64_t milliseconds);

struct wire {
    int fd; /* -1: not open */
};

#define WIRE_CLOSED ((struct wire){-1})

/* Connects to the first of the host's addresses that answers. 0; WIRE_UNKNOWN_HOST; -ETIMEDOUT or
 * another -errno, of the last address that was tried. Resolving the name isn't held to the
 * deadline. */
int wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline) MUST_CHECK;

/* Accepts one that isn't open. */
void wire_close(struct wire *wire);

/* Sends all of it. 0; -ETIMEDOUT; -errno. */
int wire_write(struct wire *wire, const void *data, size_t len, int64_t deadline) MUST_CHECK;

/* Waits for some bytes. 0 and *ret_len; WIRE_ENDED; -ETIMEDOUT; -errno. */
int wire_read(struct wire *wire, void *buffer, size_t size, int64_t deadline,
              size_t *ret_len) MUST_CHECK;

#endif
