/* Which web pages may use the broker: the Origin of WebSocket upgrades and of CORS.
 *
 * Receives   the option allowed-origins; a request's Origin and Host
 * Hands on   yes or no
 * Owns       the list
 *
 * An origin is scheme://host[:port] (RFC 6454). Scheme and host are compared without case, and a
 * port that is the scheme's own may be left out. Browsers send an Origin that a page can't forge;
 * other programs send none, and are held back by their tokens alone.
 */
#ifndef PROGRESSD_BROKER_CONFIG_ORIGIN_H
#define PROGRESSD_BROKER_CONFIG_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"
#include "proto/json.h" /* struct span */

#define ORIGIN_SCHEME_MAX 15
#define ORIGIN_HOST_MAX 253 /* of a name in the DNS */

/* In lower case, so that two of them are the same when their members are. */
struct origin {
    char scheme[ORIGIN_SCHEME_MAX + 1];
    char host[ORIGIN_HOST_MAX + 1]; /* an IPv6 address with its brackets */
    uint16_t port;                  /* 0: none was given, and the scheme has none of its own */
};

struct origins {
    bool any;         /* "*" is in the list */
    bool allows_null; /* "null" is: pages from files and in sandboxed frames have no origin */
    struct origin *items;
    size_t count;
};

enum origin_outcome { ORIGIN_INVALID = 1 };

/* Adds the origins of a list that is separated by commas or white space; `*` and `null` are words
 * of it. 0; ORIGIN_INVALID and the word at fault, within `list`; -ENOMEM. When it fails some of the
 * words may have been added. */
int origins_add(struct origins *origins, const char *list, struct span *ret_fault) MUST_CHECK;

/* The list as origins_add() takes it. */
void origins_write(const struct origins *origins, struct text *text);

void origins_deinit(struct origins *origins);

/* Whether a page of `origin` (the header's value) may use a broker that it called `host` (the Host
 * header's). With an empty list: a page of that very host and port, whatever its scheme, since TLS
 * may end in front of the broker. `null` only if the list has it, or "*"; what is no origin at all
 * only with
 * "*". */
bool origin_is_allowed(const struct origins *origins, struct span origin, struct span host);

#endif
