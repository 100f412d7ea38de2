#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "client/cli/http_reply.h"
#include "common/mem.h"

/* Feeds pieces of at most `piece` bytes. Returns the last outcome. */
static int feed_pieces(struct http_reply *reply, const char *text, size_t len, size_t piece,
                       size_t *ret_used)
{
    int outcome = 0;

    *ret_used = 0;
    while (outcome == 0 && *ret_used < len) {
        size_t size = len - *ret_used < piece ? len - *ret_used : piece, used;
        char *copy = mem_alloc(size);
        memcpy(copy, text + *ret_used, size);
        outcome = http_reply_feed(reply, copy, size, &used);
        *ret_used += used;
        mem_free(copy);
    }
    return outcome;
}

Test(http_reply, a_reply_reads_the_same_whole_and_in_pieces_of_any_size)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \t\"k1-42\" \t\r\n"
                               "X-ETag: no\r\nETagX: no\r\nretry-after: 2\r\nretry-after: 3\r\n"
                               "\r\nhello";

    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct http_reply reply;
        size_t used;
        http_reply_init(&reply);
        cr_assert_eq(feed_pieces(&reply, text, sizeof(text) - 1, piece, &used),
                     HTTP_REPLY_COMPLETE);
        cr_assert_eq(used, sizeof(text) - 1);
        cr_assert_eq(reply.status, 200);
        cr_assert_str_eq(reply.headers[HTTP_REPLY_ETAG], "\"k1-42\"");
        cr_assert_str_eq(reply.headers[HTTP_REPLY_RETRY_AFTER], "3");
        cr_assert_str_eq(reply.headers[HTTP_REPLY_UPGRADE], "");
        cr_assert_str_eq(reply.body.data, "hello");
        http_reply_deinit(&reply);
    }
}

Test(http_reply, behind_an_upgrade_the_rest_is_left_alone)
{
    static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                               "Upgrade: websocket\r\nSec-WebSocket-Accept: abc=\r\n\r\n\x81\x01x";

    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct http_reply reply;
        size_t used;
        http_reply_init(&reply);
        cr_assert_eq(feed_pieces(&reply, text, sizeof(text) - 1, piece, &used),
                     HTTP_REPLY_UPGRADED);
        cr_assert_eq(used, sizeof(text) - 1 - 3);
        cr_assert_str_eq(reply.headers[HTTP_REPLY_UPGRADE], "websocket");
        cr_assert_str_eq(reply.headers[HTTP_REPLY_SEC_WEBSOCKET_ACCEPT], "abc=");
        http_reply_deinit(&reply);
    }
}

Test(http_reply, bodies_end_as_http_says)
{
    static const struct {
        const char *text;
        int fed, finished; /* outcomes of feeding and of the end that follows it */
        const char *body;
    } cases[] = {
        {"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", HTTP_REPLY_COMPLETE, 0, NULL},
        {"HTTP/1.1 204 No Content\r\n\r\n", HTTP_REPLY_COMPLETE, 0, NULL},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", HTTP_REPLY_COMPLETE, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
         HTTP_REPLY_COMPLETE, 0, "abcd"},
        {"HTTP/1.1 200 OK\r\n\r\nabc", 0, HTTP_REPLY_COMPLETE, "abc"},
        {"HTTP/1.0 503 \r\n\r\n", 0, HTTP_REPLY_COMPLETE, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", 0, HTTP_REPLY_BAD, "abc"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, HTTP_REPLY_BAD,
         "abc"},
        {"HTTP/1.1 200 OK\r\nX: y", 0, HTTP_REPLY_BAD, NULL},
        {"HTTP/1.1 200", 0, HTTP_REPLY_BAD, NULL},
        {"", 0, HTTP_REPLY_BAD, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_reply reply;
        size_t used;
        http_reply_init(&reply);
        cr_expect_eq(feed_pieces(&reply, cases[i].text, strlen(cases[i].text), 7, &used),
                     cases[i].fed, "%s", cases[i].text);
        if (cases[i].fed == 0) {
            cr_expect_eq(http_reply_finish(&reply), cases[i].finished, "%s", cases[i].text);
        }
        cr_expect_eq(!cases[i].body, !reply.body.data, "%s", cases[i].text);
        if (cases[i].body && reply.body.data) {
            cr_expect_str_eq(reply.body.data, cases[i].body);
        }
        http_reply_deinit(&reply);
    }
}

Test(http_reply, what_is_not_an_http_reply_is_refused)
{
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "{\"error\":1}",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct http_reply reply;
        size_t used;
        http_reply_init(&reply);
        cr_expect_eq(feed_pieces(&reply, texts[i], strlen(texts[i]), 1, &used), HTTP_REPLY_BAD,
                     "%s", texts[i]);
        http_reply_deinit(&reply);
    }
}

Test(http_reply, a_header_that_is_too_long_is_cut)
{
    struct http_reply reply;
    char text[1024] = "HTTP/1.1 304 Not Modified\r\nETag: ";
    size_t used;

    memset(text + strlen(text), 'e', 500);
    strcat(text, "\r\n\r\n");
    http_reply_init(&reply);
    cr_assert_eq(feed_pieces(&reply, text, strlen(text), 100, &used), HTTP_REPLY_COMPLETE);
    cr_assert_eq(strlen(reply.headers[HTTP_REPLY_ETAG]), HTTP_REPLY_HEADER_MAX - 1);
    http_reply_deinit(&reply);
}

Test(http_reply, too_much_is_refused)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    static char body[65536];
    struct http_reply reply;
    size_t used, fed = 0;
    int outcome;

    http_reply_init(&reply);
    outcome = http_reply_feed(&reply, head, sizeof(head) - 1, &used);
    while (outcome == 0 && fed <= HTTP_REPLY_MAX) {
        outcome = http_reply_feed(&reply, body, sizeof(body), &used);
        fed += sizeof(body);
    }
    cr_assert_eq(outcome, HTTP_REPLY_BAD);
    cr_assert_geq(fed, HTTP_REPLY_MAX);
    http_reply_deinit(&reply);
}

Test(http_reply, running_out_of_memory_is_returned)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    static const char *const bodies[] = {"abc", "ab"}; /* the end of it, and the middle */

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct http_reply reply;
        size_t used;
        http_reply_init(&reply);
        cr_assert_eq(http_reply_feed(&reply, head, sizeof(head) - 1, &used), 0);
        mem_fail_nth(1);
        cr_assert_eq(http_reply_feed(&reply, bodies[i], strlen(bodies[i]), &used), -ENOMEM);
        http_reply_deinit(&reply);
    }
}
