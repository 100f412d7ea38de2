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
    peer_send(fd, "Length: 4\r\nRetry-After: 7\r\n\r\nbo", 31);
    usleep(1000);
    peer_send(fd, "dy", 2);
}

Test(http_client, a_resource_is_got_with_its_headers_and_body)
{
    struct http_reply reply;
    struct peer peer;
    char expected[2048];

    peer_start(&peer, serve_in_pieces);
    cr_assert_eq(http_client_get(&peer.address, "/api/progress/a?x",
                                 (const char *const[]){"If-None-Match: \"b\""}, 1,
                                 wire_deadline(5000), &reply),
                 0);
    peer_join(&peer);
    snprintf(
        expected, sizeof(expected),
        "GET /api/progress/a?x HTTP/1.1\r\nHost: %s\r\nUser-Agent: progressctl/" PROGRESSD_VERSION
        "\r\nAccept: */*\r\nIf-None-Match: \"b\"\r\n\r\n",
        peer.address.authority);
    cr_assert_str_eq(head, expected);
    cr_assert_eq(reply.status, 200);
    cr_assert_eq(reply.retry_after_s, 7);
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
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(5000), &reply), 0);
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
        cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(5000), &reply),
                     WIRE_BAD_PROTOCOL);
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
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(20), &reply),
                 -ETIMEDOUT);
    peer_join(&peer);
}

static void serve_too_much(int fd)
{
    static char zeros[65536];

    peer_read_head(fd, head, sizeof(head));
    peer_send(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
    for (int i = 0; i < HTTP_BODY_MAX / (int)sizeof(zeros) + 1; i++) {
        if (send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

Test(http_client, a_body_without_an_end_is_refused)
{
    struct http_reply reply;
    struct peer peer;

    peer_start(&peer, serve_too_much);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(10000), &reply),
                 WIRE_BAD_PROTOCOL);
    peer_join(&peer);
}

Test(http_client, a_path_of_the_address_goes_before_the_resource)
{
    struct wire_address below;
    struct http_reply reply;
    struct peer peer;
    char url[128];

    peer_start(&peer, serve_in_pieces);
    snprintf(url, sizeof(url), "%s/live/", peer.url);
    cr_assert_eq(wire_address_parse(url, &below), 0);
    cr_assert_eq(http_client_get(&below, "/status", NULL, 0, wire_deadline(5000), &reply), 0);
    peer_join(&peer);
    cr_assert_eq(strncmp(head, "GET /live/status HTTP/1.1\r\n", 27), 0, "%s", head);
    http_reply_deinit(&reply);
}

static void serve_without_tls(int fd)
{
    char hello[4096];
    ssize_t received = recv(fd, hello, sizeof(hello), 0);

    cr_assert_gt(received, 0);
    peer_send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

Test(http_client, a_server_without_tls_is_told)
{
    struct wire_address secure;
    struct http_reply reply;
    struct peer peer;
    char url[4096];

    peer_start(&peer, serve_without_tls);
    snprintf(url, sizeof(url), "https%s", peer.url + strlen("http"));
    cr_assert_eq(wire_address_parse(url, &secure), 0);
    cr_assert_eq(http_client_get(&secure, "/", NULL, 0, wire_deadline(5000), &reply),
                 WIRE_UNTRUSTED);
    peer_join(&peer);
}

Test(http_client, no_host_and_no_listener_are_told_apart)
{
    struct wire_address unknown = {.url = "http://host.invalid"};
    struct http_reply reply;
    struct peer peer;

    cr_assert_eq(http_client_get(&unknown, "/", NULL, 0, wire_deadline(5000), &reply),
                 WIRE_UNKNOWN_HOST);
    peer_start(&peer, serve_until_end);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(5000), &reply), 0);
    http_reply_deinit(&reply);
    peer_join(&peer);
    cr_assert_eq(http_client_get(&peer.address, "/", NULL, 0, wire_deadline(5000), &reply),
                 -ECONNREFUSED);
}
