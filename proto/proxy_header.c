#include "proto/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/span.h"

/* ── Version 1: a line of text (2.1) ─────────────────────────────────────────────────────────── */

#define V1_START "PROXY "
#define V1_MAX 107 /* the line's end included */

/* Takes a decimal from 0 to 65535 without leading zeros. */
static bool take_port(struct span *rest, uint16_t *ret_port)
{
    uint64_t port;

    if (span_take(rest, "0")) {
        *ret_port = 0;
        return true;
    }
    if (!span_take_number(rest, UINT16_MAX, &port)) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool take_ip(struct span *rest, int family, uint8_t ret_ip[16])
{
    char text[INET6_ADDRSTRLEN];
    struct span taken;

    if (!span_take_until(rest, ' ', &taken) || taken.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, taken.at, taken.len);
    text[taken.len] = '\0';
    return strlen(text) == taken.len && inet_pton(family, text, ret_ip) == 1 &&
           span_take(rest, " ");
}

/* What stands between "PROXY " and the line's end. */
static int parse_v1_line(struct span line, struct proxy_header *ret_header)
{
    struct proxy_header header = {0};
    uint8_t to_ip[16];
    uint16_t to_port;
    int family;

    if (span_is(line, "UNKNOWN") || span_begins_with(line, "UNKNOWN ")) {
        *ret_header = header;
        return 0;
    }
    if (span_take(&line, "TCP4 ")) {
        family = AF_INET;
        header.ip_len = 4;
    } else if (span_take(&line, "TCP6 ")) {
        family = AF_INET6;
        header.ip_len = 16;
    } else {
        return PROXY_HEADER_INVALID;
    }
    if (!take_ip(&line, family, header.ip) || !take_ip(&line, family, to_ip) ||
        !take_port(&line, &header.port) || !span_take(&line, " ") || !take_port(&line, &to_port) ||
        line.len > 0) {
        return PROXY_HEADER_INVALID;
    }
    *ret_header = header;
    return 0;
}

static int parse_v1(struct span data, struct proxy_header *ret_header, size_t *ret_used)
{
    struct span line = {data.at, data.len < V1_MAX ? data.len : V1_MAX};
    const char *end = memmem(line.at, line.len, "\r\n", 2);

    if (!end) {
        return data.len < V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_INVALID;
    }
    line.len = (size_t)(end - line.at);
    if (!span_take(&line, V1_START)) {
        return PROXY_HEADER_INVALID;
    }
    int rc = parse_v1_line(line, ret_header);
    if (rc == 0) {
        *ret_used = (size_t)(end - data.at) + 2;
    }
    return rc;
}

/* ── Version 2: binary (2.2) ─────────────────────────────────────────────────────────────────── */

#define V2_START "\r\n\r\n\0\r\nQUIT\n"
#define V2_START_LEN 12
#define V2_FIXED_LEN 16

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_INET = 0x1, V2_INET6 = 0x2, V2_UNIX = 0x3 };
enum { V2_PROTOCOL_MAX = 0x2 }; /* unspecified, stream, datagram */

/* The addresses' length; -1: no such family. */
static int v2_addresses_len(uint8_t family)
{
    static const int lens[] = {[0] = 0, [V2_INET] = 12, [V2_INET6] = 36, [V2_UNIX] = 216};

    return family < ARRAY_LEN(lens) ? lens[family] : -1;
}

static uint16_t big_endian_16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static int parse_v2(const uint8_t *data, size_t len, struct proxy_header *ret_header,
                    size_t *ret_used)
{
    struct proxy_header header = {0};

    if (len < V2_FIXED_LEN) {
        return PROXY_HEADER_MORE;
    }
    const uint8_t command = data[12], family = data[13] >> 4, protocol = data[13] & 0xf;
    const size_t rest_len = big_endian_16(data + 14);
    const int addresses_len = v2_addresses_len(family);
    if ((command != V2_LOCAL && command != V2_PROXY) ||
        V2_FIXED_LEN + rest_len > PROXY_HEADER_MAX) {
        return PROXY_HEADER_INVALID;
    }
    if (command == V2_PROXY &&
        (addresses_len < 0 || (size_t)addresses_len > rest_len || protocol > V2_PROTOCOL_MAX)) {
        return PROXY_HEADER_INVALID;
    }
    if (len < V2_FIXED_LEN + rest_len) {
        return PROXY_HEADER_MORE;
    }
    if (command == V2_PROXY && (family == V2_INET || family == V2_INET6)) {
        const uint8_t *addresses = data + V2_FIXED_LEN;
        header.ip_len = family == V2_INET ? 4 : 16;
        memcpy(header.ip, addresses, header.ip_len);
        header.port = big_endian_16(addresses + 2 * header.ip_len);
    }
    *ret_header = header;
    *ret_used = V2_FIXED_LEN + rest_len;
    return 0;
}

/* ── Both ────────────────────────────────────────────────────────────────────────────────────── */

static bool begins_as(const uint8_t *data, size_t len, const char *start, size_t start_len)
{
    return memcmp(data, start, len < start_len ? len : start_len) == 0;
}

int proxy_header_parse(const uint8_t *data, size_t len, struct proxy_header *ret_header,
                       size_t *ret_used)
{
    if (len == 0) {
        return PROXY_HEADER_MORE;
    }
    if (begins_as(data, len, V2_START, V2_START_LEN)) {
        return parse_v2(data, len, ret_header, ret_used);
    }
    if (begins_as(data, len, V1_START, strlen(V1_START))) {
        return parse_v1((struct span){(const char *)data, len}, ret_header, ret_used);
    }
    return PROXY_HEADER_INVALID;
}
