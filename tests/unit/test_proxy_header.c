#include "proto/proxy_header.h"

#include <criterion/criterion.h>
#include <string.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_LEN 12

static int parse(const char *data, size_t len, struct proxy_header *ret_header, size_t *ret_used)
{
    return proxy_header_parse((const uint8_t *)data, len, ret_header, ret_used);
}

static void expect_header(const char *data, size_t len, const char *ip, uint8_t ip_len,
                          uint16_t port)
{
    struct proxy_header header;
    size_t used = 0;
    char stream[512];

    /* The client's bytes follow at once. */
    memcpy(stream, data, len);
    memcpy(stream + len, "GET / HTTP/1.1\r\n", 16);
    cr_assert_eq(parse(stream, len + 16, &header, &used), 0, "%s", data);
    cr_expect_eq(used, len);
    cr_expect_eq(header.ip_len, ip_len);
    cr_expect_eq(memcmp(header.ip, ip, ip_len), 0);
    cr_expect_eq(header.port, port);
    for (size_t part = 0; part < len; part++) {
        cr_expect_eq(parse(data, part, &header, &used), PROXY_HEADER_MORE, "%zu", part);
    }
}

#define EXPECT_HEADER(data, ip, ip_len, port) \
    expect_header(data, sizeof(data) - 1, ip, ip_len, port)

static void expect_invalid(const char *data, size_t len)
{
    struct proxy_header header;
    size_t used;

    cr_expect_eq(parse(data, len, &header, &used), PROXY_HEADER_INVALID, "%s", data);
}

#define EXPECT_INVALID(data) expect_invalid(data, sizeof(data) - 1)

Test(proxy_header, reads_version_1)
{
    EXPECT_HEADER("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "\xc0\x00\x02\x01", 4, 56324);
    EXPECT_HEADER("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "\xff\xff\xff\xff",
                  4, 65535);
    EXPECT_HEADER("PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", "\xc0\x00\x02\x01", 4, 0);
    EXPECT_HEADER("PROXY TCP6 2001:db8::1 ::1 4124 443\r\n",
                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16, 4124);
    EXPECT_HEADER("PROXY UNKNOWN\r\n", "", 0, 0);
    EXPECT_HEADER("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", 0, 0);
}

Test(proxy_header, refuses_another_version_1)
{
    EXPECT_INVALID("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1  192.0.2.2 56324 443\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1 192.0.2.2 056 443\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n");
    EXPECT_INVALID("PROXY TCP4 2001:db8::1 ::1 4124 443\r\n");
    EXPECT_INVALID("PROXY TCP6 192.0.2.1 192.0.2.2 4124 443\r\n");
    EXPECT_INVALID("PROXY TCP4 192.0.2.1\0 192.0.2.2 56324 443\r\n");
    EXPECT_INVALID("PROXY TCP5 192.0.2.1 192.0.2.2 56324 443\r\n");
    EXPECT_INVALID("PROXY UNKNOWNS\r\n");
    EXPECT_INVALID("PROXY \r\n");
}

Test(proxy_header, refuses_a_line_without_an_end)
{
    char line[200];
    struct proxy_header header;
    size_t used;

    memset(line, ' ', sizeof(line));
    memcpy(line, "PROXY UNKNOWN", 13);
    cr_expect_eq(parse(line, 106, &header, &used), PROXY_HEADER_MORE);
    cr_expect_eq(parse(line, 107, &header, &used), PROXY_HEADER_INVALID);
    cr_expect_eq(parse(line, sizeof(line), &header, &used), PROXY_HEADER_INVALID);
    /* The end must lie within the first 107 bytes. */
    memcpy(line + 105, "\r\n", 2);
    cr_expect_eq(parse(line, 107, &header, &used), 0);
    line[105] = ' ';
    memcpy(line + 106, "\r\n", 2);
    cr_expect_eq(parse(line, 108, &header, &used), PROXY_HEADER_INVALID);
}

Test(proxy_header, reads_version_2)
{
    EXPECT_HEADER(V2 "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb",
                  "\xc0\x00\x02\x01", 4, 56324);
    EXPECT_HEADER(V2 "\x21\x21\x00\x24"
                     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                     "\x10\x1c\x01\xbb",
                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16, 4124);
}

Test(proxy_header, skips_what_version_2_says_besides)
{
    /* A TLV of type 0xee with three bytes. */
    EXPECT_HEADER(V2 "\x21\x11\x00\x12\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"
                     "\xee\x00\x03sea",
                  "\xc0\x00\x02\x01", 4, 56324);
}

Test(proxy_header, takes_the_balancers_own_connection_for_one)
{
    /* LOCAL: addresses are to be ignored, whatever they are. */
    EXPECT_HEADER(V2 "\x20\x00\x00\x00", "", 0, 0);
    EXPECT_HEADER(V2 "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb", "", 0, 0);
    EXPECT_HEADER(V2 "\x20\xff\x00\x01z", "", 0, 0);
}

Test(proxy_header, knows_no_address_of_other_families)
{
    EXPECT_HEADER(V2 "\x21\x00\x00\x00", "", 0, 0); /* AF_UNSPEC */

    char unix_sockets[V2_LEN + 4 + 216] = V2 "\x21\x31\x00\xd8";
    expect_header(unix_sockets, sizeof(unix_sockets), "", 0, 0);
}

Test(proxy_header, refuses_another_version_2)
{
    EXPECT_INVALID(V2 "\x31\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb");
    EXPECT_INVALID(V2 "\x22\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb");
    EXPECT_INVALID(V2 "\x21\x41\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb");
    EXPECT_INVALID(V2 "\x21\x13\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb");
    EXPECT_INVALID(V2 "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01");
    EXPECT_INVALID(V2 "\x21\x11\xff\xff"); /* 64 KiB to come */
}

Test(proxy_header, bounds_version_2)
{
    static char data[PROXY_HEADER_MAX + 1] = V2 "\x21\x11\x0f\xf0";
    struct proxy_header header;
    size_t used;

    cr_expect_eq(parse(data, PROXY_HEADER_MAX - 1, &header, &used), PROXY_HEADER_MORE);
    cr_expect_eq(parse(data, PROXY_HEADER_MAX, &header, &used), 0);
    cr_expect_eq(used, PROXY_HEADER_MAX);
    data[15] = '\xf1';
    cr_expect_eq(parse(data, sizeof(data), &header, &used), PROXY_HEADER_INVALID);
}

Test(proxy_header, is_not_what_a_client_sends)
{
    EXPECT_INVALID("GET / HTTP/1.1\r\n");
    EXPECT_INVALID("\x16\x03\x01\x02\x00\x01");
    EXPECT_INVALID("PROXZ");
    EXPECT_INVALID("\r\n\r\nG");
}
