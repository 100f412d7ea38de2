/* The header of the PROXY protocol, versions 1 and 2: what a load balancer says of a connection
 * before it passes the client's bytes on (HAProxy, doc/proxy-protocol.txt).
 *
 * Receives   the first bytes of a connection
 * Hands on   the client's address, and how many bytes the header took
 * Owns       nothing
 *
 * Strict: whoever sends this header is a program that was configured to. What it says besides
 * addresses (version 2's TLVs) is skipped.
 */
#ifndef PROGRESSD_PROTO_PROXY_HEADER_H
#define PROGRESSD_PROTO_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/result.h"

/* Bytes of the longest header that is taken. The standard allows 107 for version 1, and 64 KiB of
 * TLVs for version 2, of which balancers send a few hundred bytes. */
#define PROXY_HEADER_MAX 4096

/* Of whom a connection is. */
struct proxy_header {
    uint8_t ip_len; /* 4 or 16; 0: of the balancer itself (LOCAL), or the header tells no IP address
                       (UNKNOWN, AF_UNSPEC, AF_UNIX): the socket's own peer counts */
    uint8_t ip[16]; /* in network order */
    uint16_t port;
};

enum proxy_header_outcome {
    PROXY_HEADER_MORE = 1, /* so far it is one; read on */
    PROXY_HEADER_INVALID,  /* it is none, or too long */
};

/* Reads a header from the start of a connection, of which `len` bytes are there. 0 with the header
 * and its length, at most PROXY_HEADER_MAX; or an outcome. */
int proxy_header_parse(const uint8_t *data, size_t len, struct proxy_header *ret_header,
                       size_t *ret_used) MUST_CHECK;

#endif
