/* Networks of IP addresses, as 192.0.2.0/24 or 2001:db8::/32 (RFC 4632, RFC 4291).
 *
 * Receives   the option proxy-protocol-from; a peer's address
 * Hands on   yes or no
 * Owns       the list
 *
 * An IPv4 address that comes mapped into IPv6 counts as what it is.
 */
#ifndef PROGRESSD_BROKER_CONFIG_NETWORK_H
#define PROGRESSD_BROKER_CONFIG_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/span.h"
#include "common/text.h"

struct network {
    uint8_t len; /* of the address: 4 or 16 */
    uint8_t bytes[16];
    uint8_t bits; /* of the prefix; those behind it are zero */
};

struct networks {
    struct network *items;
    size_t count;
};

enum network_outcome { NETWORK_INVALID = 1 };

/* Adds those of a list that is separated by blanks; an address alone is a network of one. 0;
 * NETWORK_INVALID and the word at fault, within `list`; -ENOMEM. When it fails some of the words
 * may have been added. */
int networks_add(struct networks *networks, const char *list, struct span *ret_fault) MUST_CHECK;

/* The list as networks_add() takes it. */
void networks_write(const struct networks *networks, struct text *text);

void networks_deinit(struct networks *networks);

/* Whether the peer is of one of them. Addresses that aren't IP are of none. */
bool networks_have(const struct networks *networks, const struct sockaddr *peer);

#endif
