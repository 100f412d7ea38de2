#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "client/cli/http_client.h"
#include "tests/support/peer.h"

static char head[1024]; /* of the request that the peer got */

static void serve_in_pieces(int fd)
{
    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, "HTTP/1.1 200 OK\r\nContent-", 25);
    usleep(1000);
    peer_send(fd, "Length: 4\r\nETag: \"a\"\r\n\r\nbo", 26);
    usleep(1000);
    peer_send(fd, "dy", 2);
}

Test(http_client, a_resource_is_got_with_its_headers_and_body)
{
    struct http_reply reply;
    struct peer peer;
    char expected[256];

    peer_start(&peer, serve_in_pieces);
    cr_assert_eq(http_client_get(&peer.address, "/api/progress/a?x", "If-None-Match: \"b\"\r\n",
                                 wire_deadline(5000), &reply),
                 0);
    peer_join(&peer);
    snprintf(expected, sizeof(expected),
             "GET /api/progress/a?x HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n"
             "If-None-Match: \"b\"\r\n\r\n",
             peer.address.port);
    cr_assert_str_eq(head, expected);
    cr_assert_eq(reply.status, 200);
    cr_assert_str_eq(reply.headers[HTTP_REPLY_ETAG], "\"a\"");
    cr_assert_str_eq(reply.body.data, "body");
    http_reply_deinit(&reply);
}

static void serve_until_end(int fd)
{
    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, "HTTP/1.1 503 \r\n\r\nx", 18);
}

Test(http_client, a_reply_may_end_with_its_connection)
{
    struct http_reply reply;
    struct peer peer;

    peer_start(&peer, serve_until_end);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, wire_deadline(5000), &reply), 0);
    peer_join(&peer);
    cr_assert_eq(reply.status, 503);
    cr_assert_str_eq(reply.body.data, "x");
    http_reply_deinit(&reply);
}

static void serve_cut_off(int fd)
{
    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbod", 41);
}

static void serve_another_protocol(int fd)
{
    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, "-ERR unknown command 'GET'\r\n", 28);
}

Test(http_client, what_is_no_whole_reply_is_refused)
{
    void (*const servers[])(int fd) = {serve_cut_off, serve_another_protocol};

    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        struct http_reply reply;
        struct peer peer;
        peer_start(&peer, servers[i]);
        cr_assert_eq(http_client_get(&peer.address, "/", NULL, wire_deadline(5000), &reply),
                     HTTP_CLIENT_BAD_REPLY);
        peer_join(&peer);
    }
}

static void serve_never(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
}

Test(http_client, waiting_for_a_reply_ends_with_the_deadline)
{
    struct http_reply reply;
    struct peer peer;

    peer_start(&peer, serve_never);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, wire_deadline(20), &reply), -ETIMEDOUT);
    peer_join(&peer);
}

Test(http_client, the_host_of_an_ipv6_address_is_in_brackets)
{
    struct wire_address address = {"::1", "80"};
    struct text text = TEXT_EMPTY;

    http_client_write_head(&text, &address, "/", NULL);
    cr_assert_str_eq(text.data, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    text_deinit(&text);
}

Test(http_client, no_host_and_no_listener_are_told_apart)
{
    struct wire_address unknown = {"host.invalid", "80"};
    struct http_reply reply;
    struct peer peer;

    cr_assert_eq(http_client_get(&unknown, "/", NULL, wire_deadline(5000), &reply),
                 HTTP_CLIENT_UNKNOWN_HOST);
    peer_start(&peer, serve_until_end);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, wire_deadline(5000), &reply), 0);
    http_reply_deinit(&reply);
    peer_join(&peer);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, wire_deadline(5000), &reply),
                 -ECONNREFUSED);
}
