#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cli/wire.h"

Test(wire, an_address_is_read_from_a_url)
{
    static const struct {
        const char *url, *rewritten, *authority, *path;
    } cases[] = {
        {"http://localhost", "http://localhost", "localhost", ""},
        {"http://localhost:8080/", "http://localhost:8080", "localhost:8080", ""},
        {"https://192.0.2.1:1", "https://192.0.2.1:1", "192.0.2.1:1", ""},
        {"http://[::1]:65535", "http://[::1]:65535", "[::1]:65535", ""},
        {"https://[2001:db8::1]/", "https://[2001:db8::1]", "[2001:db8::1]", ""},
        {"https://a.example/live/x//", "https://a.example/live/x", "a.example", "/live/x"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_address address;
        cr_assert_eq(wire_address_parse(cases[i].url, &address), 0, "%s", cases[i].url);
        cr_expect_str_eq(address.url, cases[i].rewritten);
        cr_expect_str_eq(address.authority, cases[i].authority);
        cr_expect_str_eq(address.path, cases[i].path);
    }
}

Test(wire, other_urls_are_refused)
{
    static const char *const urls[] = {
        "",
        "localhost",
        "localhost:80",
        "ws://localhost",
        "file:///etc/passwd",
        "ftp://localhost",
        "http://",
        "http:///",
        "http://:80",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:100000",
        "http://localhost:8a",
        "http://localhost:-1",
        "http://localhost?query",
        "http://localhost#fragment",
        "http://user@localhost",
        "http://user:password@localhost",
        "http://local host",
        "http://localhost\r\nX: y",
        "http://[::1",
        "http://[]",
        "http://[::1]x",
    };
    char long_url[2 * WIRE_URL_MAX] = "http://h/";
    struct wire_address address = {.path = "untouched"};

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        cr_expect_eq(wire_address_parse(urls[i], &address), WIRE_BAD_URL, "%s", urls[i]);
    }
    memset(long_url + 9, 'h', WIRE_URL_MAX);
    cr_expect_eq(wire_address_parse(long_url, &address), WIRE_BAD_URL);
    cr_expect_str_eq(address.path, "untouched");
}

/* A listening socket on loopback, and its address. */
static int listen_on_loopback(struct wire_address *ret_address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&in, size), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(in.sin_port));
    cr_assert_eq(wire_address_parse(url, ret_address), 0);
    return fd;
}

Test(wire, bytes_go_both_ways_until_the_other_side_closes)
{
    struct wire_address address;
    struct wire wire = WIRE_CLOSED;
    int listener = listen_on_loopback(&address), peer;
    char buffer[8];
    size_t len;

    cr_assert_eq(wire_open(&wire, &address, wire_deadline(5000)), 0);
    peer = accept(listener, NULL, NULL);
    cr_assert_eq(wire_write(&wire, "ping", 4, wire_deadline(5000)), 0);
    cr_assert_eq(recv(peer, buffer, sizeof(buffer), 0), 4);
    cr_assert_eq(send(peer, "pong", 4, 0), 4);
    cr_assert_eq(wire_read(&wire, buffer, sizeof(buffer), wire_deadline(5000), &len), 0);
    cr_assert_eq(len, 4);
    cr_assert_arr_eq(buffer, "pong", 4);
    close(peer);
    cr_assert_eq(wire_read(&wire, buffer, sizeof(buffer), wire_deadline(5000), &len), WIRE_ENDED);
    wire_close(&wire);
    cr_assert_null(wire.handle);
    wire_close(&wire);
    close(listener);
}

Test(wire, waiting_ends_with_the_deadline)
{
    struct wire_address address;
    struct wire wire = WIRE_CLOSED;
    int listener = listen_on_loopback(&address);
    static char data[16 * 1024 * 1024];
    size_t len;

    cr_assert_eq(wire_open(&wire, &address, wire_deadline(5000)), 0);
    cr_assert_eq(wire_read(&wire, data, 1, wire_deadline(10), &len), -ETIMEDOUT);
    cr_assert_eq(wire_read(&wire, data, 1, wire_deadline(-1000), &len), -ETIMEDOUT);
    cr_assert_eq(wire_write(&wire, data, sizeof(data), wire_deadline(10)), -ETIMEDOUT);
    wire_close(&wire);
    close(listener);
}

Test(wire, a_port_that_nobody_listens_on_is_an_error)
{
    struct wire_address address;
    struct wire wire = WIRE_CLOSED;
    int listener = listen_on_loopback(&address);

    close(listener);
    cr_assert_eq(wire_open(&wire, &address, wire_deadline(5000)), -ECONNREFUSED);
    cr_assert_null(wire.handle);
}

Test(wire, a_name_that_is_none_is_unknown)
{
    struct wire_address address = {.url = "http://host.invalid"};
    struct wire wire = WIRE_CLOSED;

    cr_assert_eq(wire_open(&wire, &address, wire_deadline(5000)), WIRE_UNKNOWN_HOST);
}
