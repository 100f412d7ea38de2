#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "proto/http_request.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})
#define HOST "Host: example.org\r\n"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static bool is_text(struct span span, const char *text)
{
    return text ? span.at && span.len == strlen(text) && memcmp(span.at, text, span.len) == 0
                : !span.at;
}

/* Feeds pieces of at most `piece` bytes, each a copy of its own, so that nothing can point into
 * them or read behind them. Returns the last outcome; *ret_used counts over all pieces. */
static int feed_pieces(struct http_request *request, struct span text, size_t piece,
                       size_t *ret_used)
{
    int outcome = 0;

    *ret_used = 0;
    while (outcome == 0 && *ret_used < text.len) {
        size_t len = text.len - *ret_used < piece ? text.len - *ret_used : piece, used = SIZE_MAX;
        char *copy = mem_alloc(len);
        memcpy(copy, text.at + *ret_used, len);
        outcome = http_request_feed(request, copy, len, &used);
        mem_free(copy);
        cr_assert_leq(used, len);
        cr_assert(outcome != 0 || used == len);
        *ret_used += used;
    }
    return outcome;
}

/* A complete request from a text of which `used` bytes are its own. */
static struct http_request *read_request(struct span text, size_t piece, size_t expected_used)
{
    struct http_request *request = http_request_new();
    size_t used;
    int outcome = feed_pieces(request, text, piece, &used);

    cr_assert_eq(outcome, HTTP_REQUEST_COMPLETE, "%s: %d: %s", text.at, outcome,
                 http_request_error(request));
    cr_assert_eq(used, expected_used, "%s: %zu used", text.at, used);
    return request;
}

static struct http_request *read_whole(const char *text)
{
    return read_request(span_of(text), SIZE_MAX, strlen(text));
}

static int outcome_of(struct span text, size_t piece)
{
    struct http_request *request = http_request_new();
    size_t used;
    int outcome = feed_pieces(request, text, piece, &used);

    if (outcome > HTTP_REQUEST_COMPLETE) {
        cr_expect_not_null(http_request_error(request));
    }
    http_request_free(request);
    return outcome;
}

static const char upgrade[] = "GET /ws/progress/task-1?x=%31 HTTP/1.1\r\n"
                              "hOST:example.org:8080\r\n"
                              "Connection: keep-alive , Upgrade\r\n"
                              "Upgrade: websocket\r\n"
                              "X-Other: \t a, b \t\r\n"
                              "Empty:\r\n"
                              "Origin: \thttps://example.org \r\n"
                              "Authorization: Bearer a.b.c\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Accept: */*\r\n"
                              "If-None-Match: \"a-1\"\r\n"
                              "Last-Event-ID: a-1\r\n"
                              "Access-Control-Request-Headers: authorization\r\n"
                              "\r\n";

static void check_upgrade(struct http_request *request)
{
    static const char *const headers[HTTP_HEADERS] = {
        [HTTP_HEADER_HOST] = "example.org:8080",
        [HTTP_HEADER_CONNECTION] = "keep-alive , Upgrade",
        [HTTP_HEADER_UPGRADE] = "websocket",
        [HTTP_HEADER_ORIGIN] = "https://example.org",
        [HTTP_HEADER_AUTHORIZATION] = "Bearer a.b.c",
        [HTTP_HEADER_IF_NONE_MATCH] = "\"a-1\"",
        [HTTP_HEADER_ACCEPT] = "*/*",
        [HTTP_HEADER_LAST_EVENT_ID] = "a-1",
        [HTTP_HEADER_SEC_WEBSOCKET_KEY] = "dGhlIHNhbXBsZSBub25jZQ==",
        [HTTP_HEADER_SEC_WEBSOCKET_VERSION] = "13",
        [HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS] = "authorization",
    };

    cr_assert_eq(http_request_method(request), HTTP_METHOD_GET);
    cr_assert(is_text(http_request_path(request), "/ws/progress/task-1"));
    cr_assert(is_text(http_request_query(request), "x=%31"));
    for (unsigned header = 0; header < HTTP_HEADERS; header++) {
        struct span value = http_request_header(request, header);
        cr_assert(is_text(value, headers[header]), "%.*s", (int)value.len, value.at);
    }
    cr_assert(http_request_upgrades(request));
    cr_assert(http_request_keeps_alive(request));
}

Test(http_request, a_request_reads_the_same_whole_and_in_pieces_of_any_size)
{
    for (size_t piece = 1; piece <= sizeof(upgrade); piece++) {
        struct http_request *request = read_request(SPAN(upgrade), piece, sizeof(upgrade) - 1);
        check_upgrade(request);
        http_request_free(request);
    }
}

Test(http_request, what_follows_an_upgrade_is_left_to_the_next_protocol)
{
    char text[sizeof(upgrade) + 8];
    size_t len = sizeof(upgrade) - 1;

    memcpy(text, upgrade, len);
    memcpy(text + len, "\x81\x80\0\0\0\0", 6);
    for (size_t piece = 1; piece <= len + 6; piece++) {
        struct http_request *request = read_request((struct span){text, len + 6}, piece, len);
        check_upgrade(request);
        http_request_free(request);
    }
}

Test(http_request, pipelined_requests_are_read_one_by_one)
{
    static const char text[] = "GET /1 HTTP/1.1\r\n" HOST "\r\n"
                               "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nGET /"
                               "\r\n\r\nHEAD /3 HTTP/1.1\r\n" HOST "\r\n"
                               "PUT /4 HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                               "5;a=b\r\nGET /\r\nA\r\n0123456789\r\n0\r\nHost: trailer\r\n\r\n"
                               "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"
                               "GET /6?? HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n";
    static const struct {
        enum http_method method;
        const char *path, *query;
    } expected[] = {
        {HTTP_METHOD_GET, "/1", NULL},    {HTTP_METHOD_OTHER, "/2", NULL},
        {HTTP_METHOD_HEAD, "/3", NULL},   {HTTP_METHOD_OTHER, "/4", NULL},
        {HTTP_METHOD_OPTIONS, "*", NULL}, {HTTP_METHOD_GET, "/6", "?"},
    };

    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct span rest = SPAN(text);
        for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
            struct http_request *request = http_request_new();
            size_t used;
            cr_assert_eq(feed_pieces(request, rest, piece, &used), HTTP_REQUEST_COMPLETE,
                         "request %zu in pieces of %zu: %s", i, piece, http_request_error(request));
            cr_assert_eq(http_request_method(request), expected[i].method);
            cr_assert(is_text(http_request_path(request), expected[i].path));
            cr_assert(is_text(http_request_query(request), expected[i].query));
            cr_assert(is_text(http_request_header(request, HTTP_HEADER_HOST), "example.org"));
            rest = (struct span){rest.at + used, rest.len - used};
            http_request_free(request);
        }
        cr_assert_eq(rest.len, 0);
    }
}

Test(http_request, fields_of_a_list_are_joined)
{
    struct http_request *request =
        read_whole("GET / HTTP/1.1\r\nConnection: a\r\n" HOST "If-None-Match: \"1\"\r\n"
                   "Connection:\r\nConnection: Upgrade \r\nUpgrade: h2c\r\n"
                   "if-none-match: W/\"2\", \"3\"\r\nUpgrade: websocket\r\n\r\n");

    cr_assert(is_text(http_request_header(request, HTTP_HEADER_CONNECTION), "a, , Upgrade"));
    cr_assert(
        is_text(http_request_header(request, HTTP_HEADER_IF_NONE_MATCH), "\"1\", W/\"2\", \"3\""));
    cr_assert(is_text(http_request_header(request, HTTP_HEADER_UPGRADE), "h2c, websocket"));
    cr_assert(is_text(http_request_path(request), "/"));
    cr_assert(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "upgrade"));
    cr_assert(http_request_upgrades(request));
    http_request_free(request);
}

Test(http_request, joined_fields_of_a_head_of_the_greatest_size_are_whole)
{
    size_t value_len = 5300, size = HTTP_REQUEST_MAX + 1;
    char *text = mem_alloc(size), *value = mem_alloc(value_len + 1);
    struct http_request *request;
    struct span joined;

    memset(value, 'v', value_len);
    value[value_len] = '\0';
    snprintf(text, size,
             "GET / HTTP/1.1\r\n" HOST "Accept: 1%s\r\nAccept: 2%s\r\nAccept: 3%s\r\n\r\n", value,
             value, value);
    request = read_whole(text);
    joined = http_request_header(request, HTTP_HEADER_ACCEPT);
    cr_assert_eq(joined.len, 3 * (value_len + 1) + 4);
    cr_assert_eq(joined.at[0], '1');
    cr_assert_arr_eq(joined.at + value_len + 1, ", 2", 3);
    cr_assert_arr_eq(joined.at + 2 * (value_len + 1) + 2, ", 3", 3);
    cr_assert_eq(joined.at[joined.len - 1], 'v');
    cr_assert(is_text(http_request_header(request, HTTP_HEADER_HOST), "example.org"));
    http_request_free(request);
    mem_free(text);
    mem_free(value);
}

Test(http_request, a_token_is_found_in_a_list_as_a_whole_and_in_any_case)
{
    struct http_request *request =
        read_whole("GET / HTTP/1.1\r\n" HOST "Connection: ,keep-alive\t, UPGRADE ,x y,\r\n\r\n");

    cr_assert(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "Keep-Alive"));
    cr_assert(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "upgrade"));
    cr_assert_not(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "upgrad"));
    cr_assert_not(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "upgrades"));
    cr_assert_not(http_request_header_lists(request, HTTP_HEADER_CONNECTION, "x"));
    cr_assert_not(http_request_header_lists(request, HTTP_HEADER_UPGRADE, "websocket"));
    http_request_free(request);
}

Test(http_request, the_target_yields_path_and_query)
{
    static const struct {
        const char *line, *path, *query;
    } cases[] = {
        {"GET / HTTP/1.1", "/", NULL},
        {"GET /a%20b/ HTTP/1.1", "/a%20b/", NULL},
        {"GET /a? HTTP/1.1", "/a", ""},
        {"GET /a?b?c=/ HTTP/1.1", "/a", "b?c=/"},
        {"GET //a//b HTTP/1.1", "//a//b", NULL},
        {"GET /http://x/ HTTP/1.1", "/http://x/", NULL},
        {"GET http://h/p?q HTTP/1.1", "/p", "q"},
        {"GET HTTPS://user@h:80/p HTTP/1.1", "/p", NULL},
        {"GET http://h HTTP/1.1", "/", NULL},
        {"GET http://h?q HTTP/1.1", "/", "q"},
        {"OPTIONS * HTTP/1.1", "*", NULL},
        {"CONNECT h:443 HTTP/1.1", "h:443", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        struct http_request *request;
        snprintf(text, sizeof(text), "%s\r\n" HOST "\r\n", cases[i].line);
        request = read_whole(text);
        cr_expect(is_text(http_request_path(request), cases[i].path), "%s", cases[i].line);
        cr_expect(is_text(http_request_query(request), cases[i].query), "%s", cases[i].line);
        http_request_free(request);
    }
}

Test(http_request, whether_the_connection_stays_follows_from_version_and_connection)
{
    static const struct {
        const char *text;
        bool keeps_alive, upgrades;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x\r\nConnection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\n" HOST "Proxy-Connection: close\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade:\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "Proxy-Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", true,
         false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", true, true},
        {"CONNECT example.org:80 HTTP/1.1\r\n" HOST "\r\n", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request *request = read_whole(cases[i].text);
        cr_expect_eq(http_request_keeps_alive(request), cases[i].keeps_alive, "%s", cases[i].text);
        cr_expect_eq(http_request_upgrades(request), cases[i].upgrades, "%s", cases[i].text);
        http_request_free(request);
    }
}

Test(http_request, what_is_unusual_but_right_is_accepted)
{
    static const struct span cases[] = {
        SPAN("\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "X: caf\xc3\xa9 \xff\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "!#$%&'*+-.^_`|~09: x\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "X: a:b::\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "X: 1\r\nX: 2\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length: 003\r\n\r\nabc"),
        SPAN("DELETE / HTTP/1.1\r\n" HOST "\r\n"),
        SPAN("PATCH / HTTP/1.1\r\n" HOST "\r\n"),
        SPAN("TRACE / HTTP/1.1\r\n" HOST "\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: x\r\n"
             "Host: x\r\nContent-Length: 2\r\n\r\n"),
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(outcome_of(cases[i], SIZE_MAX), HTTP_REQUEST_COMPLETE, "%s", cases[i].at);
        cr_expect_eq(outcome_of(cases[i], 1), HTTP_REQUEST_COMPLETE, "%s", cases[i].at);
    }
}

#define WITH_HOST(line) SPAN(line "\r\n" HOST "\r\n")
#define WITH_HEADER(header) SPAN("GET / HTTP/1.1\r\n" HOST header "\r\n\r\n")
#define CHUNKED(body) \
    SPAN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n" body "\r\n\r\n\r\n")

Test(http_request, what_breaks_http_is_refused)
{
    static const struct span cases[] = {
        /* what isn't HTTP */
        SPAN("\x16\x03\x01\x02"),
        SPAN("\0"),
        SPAN("\n"),
        SPAN("\r\r\n"),
        SPAN(" \r\n"),
        SPAN("{\"type\":\"ping\"}\r\n"),
        SPAN("PING\r\n"),
        SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        SPAN("HTTP/1.1 200 OK\r\n\r\n"),
        SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        /* methods */
        WITH_HOST("get / HTTP/1.1"),
        WITH_HOST("GETS / HTTP/1.1"),
        WITH_HOST("GE / HTTP/1.1"),
        WITH_HOST("PRI * HTTP/1.1"),
        WITH_HOST("SOURCE / ICE/1.0"),
        WITH_HOST("SOURCE / HTTP/1.1"),
        WITH_HOST("PROPFIND / HTTP/1.1"),
        WITH_HOST("M-SEARCH / HTTP/1.1"),
        WITH_HOST("DESCRIBE / RTSP/1.0"),
        WITH_HOST("GET / RTSP/1.0"),
        WITH_HOST("OPTIONS * RTSP/1.1"),
        WITH_HOST("FLUSH / HTTP/1.1"),
        /* versions */
        SPAN("GET /\r\n"),
        SPAN("GET / \r\n\r\n"),
        WITH_HOST("GET / HTTP/0.9"),
        WITH_HOST("GET / HTTP/2.0"),
        WITH_HOST("GET / HTTP/3.0"),
        WITH_HOST("GET / HTTP/1.2"),
        WITH_HOST("GET / HTTP/1"),
        WITH_HOST("GET / HTTP/11"),
        WITH_HOST("GET / HTTP/1.10"),
        WITH_HOST("GET / HTTP/1,1"),
        WITH_HOST("GET / http/1.1"),
        WITH_HOST("GET / XHTTP/1.1"),
        /* the request line */
        WITH_HOST(" GET / HTTP/1.1"),
        WITH_HOST("GET  / HTTP/1.1"),
        WITH_HOST("GET /  HTTP/1.1"),
        WITH_HOST("GET / HTTP/1.1 "),
        WITH_HOST("GET\t/ HTTP/1.1"),
        WITH_HOST("GET /\tHTTP/1.1"),
        WITH_HOST("GET /a b HTTP/1.1"),
        WITH_HOST("GET /HTTP/1.1"),
        SPAN("GET / HTTP/1.1\n" HOST "\r\n"),
        SPAN("GET / HTTP/1.1\r" HOST "\r\n"),
        SPAN("GET / HTTP/1.1\r\r\n" HOST "\r\n"),
        SPAN("GET /\rHTTP/1.1\r\n" HOST "\r\n"),
        /* targets */
        WITH_HOST("GET /\x80 HTTP/1.1"),
        WITH_HOST("GET /\xc3\xa4 HTTP/1.1"),
        WITH_HOST("GET /\x7f HTTP/1.1"),
        WITH_HOST("GET /\x01 HTTP/1.1"),
        WITH_HOST("GET /\0 HTTP/1.1"),
        WITH_HOST("GET /\f HTTP/1.1"),
        WITH_HOST("GET /a#b HTTP/1.1"),
        WITH_HOST("GET /?a#b HTTP/1.1"),
        WITH_HOST("GET #/ HTTP/1.1"),
        WITH_HOST("GET a HTTP/1.1"),
        WITH_HOST("GET ?a HTTP/1.1"),
        WITH_HOST("GET * HTTP/1.1"),
        WITH_HOST("OPTIONS ** HTTP/1.1"),
        WITH_HOST("OPTIONS */ HTTP/1.1"),
        WITH_HOST("GET example.org:80 HTTP/1.1"),
        WITH_HOST("GET ftp://example.org/ HTTP/1.1"),
        WITH_HOST("GET file:///etc HTTP/1.1"),
        WITH_HOST("GET http:/a HTTP/1.1"),
        WITH_HOST("GET http:// HTTP/1.1"),
        /* Host */
        SPAN("GET / HTTP/1.1\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
        SPAN("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        /* the form of headers */
        WITH_HEADER(": a"),
        WITH_HEADER(":"),
        WITH_HEADER("a"),
        WITH_HEADER("X : a"),
        WITH_HEADER("X\t: a"),
        WITH_HEADER("X Y: a"),
        WITH_HEADER("X(: a"),
        WITH_HEADER("X/Y: a"),
        WITH_HEADER("\"X\": a"),
        WITH_HEADER("X\x80: a"),
        WITH_HEADER("X\0: a"),
        WITH_HEADER("X\x7f: a"),
        WITH_HEADER("X: a\0b"),
        WITH_HEADER("X: a\x01"),
        WITH_HEADER("X: a\x7f"),
        WITH_HEADER("X: a\x1b[0m"),
        WITH_HEADER("X: a\r\n b"),
        WITH_HEADER("X: a\r\n\tb"),
        WITH_HEADER("X:\r\n b"),
        WITH_HEADER("X: a\r\n "),
        WITH_HEADER("X: a\nY: b"),
        WITH_HEADER("X: a\rY: b"),
        WITH_HEADER("X: a\r\r\n"),
        WITH_HEADER("X: a\n"),
        WITH_HEADER("X:\rY: b"),
        SPAN("GET / HTTP/1.1\r\n" HOST "\n"),
        SPAN("GET / HTTP/1.1\r\n" HOST "\rX"),
        SPAN("GET / HTTP/1.1\r\n" HOST "\r\r\n"),
        /* headers that come once */
        WITH_HEADER("Origin: a\r\nOrigin: a"),
        WITH_HEADER("Origin:\r\nOrigin:"),
        WITH_HEADER("Authorization: a\r\nauthorization: b"),
        WITH_HEADER("Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b"),
        WITH_HEADER("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"),
        WITH_HEADER("Last-Event-ID: a\r\nLast-Event-ID: b"),
        /* where the body ends */
        WITH_HEADER("Content-Length: 1\r\nContent-Length: 1"),
        WITH_HEADER("Content-Length: 0\r\nContent-Length: 1"),
        WITH_HEADER("Content-Length: 1, 1"),
        WITH_HEADER("Content-Length:"),
        WITH_HEADER("Content-Length: -1"),
        WITH_HEADER("Content-Length: +1"),
        WITH_HEADER("Content-Length: 1 1"),
        WITH_HEADER("Content-Length: 0x1"),
        WITH_HEADER("Content-Length: 1.0"),
        WITH_HEADER("Content-Length: 1;"),
        WITH_HEADER("Content-Length: 18446744073709551616"),
        WITH_HEADER("Content-Length: 99999999999999999999999999999999"),
        WITH_HEADER("Content-Length: 0\r\nTransfer-Encoding: chunked"),
        WITH_HEADER("Transfer-Encoding: chunked\r\nContent-Length: 0"),
        WITH_HEADER("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        WITH_HEADER("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        WITH_HEADER("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        WITH_HEADER("Transfer-Encoding: identity"),
        WITH_HEADER("Transfer-Encoding: gzip, chunked"),
        WITH_HEADER("Transfer-Encoding: chunked, gzip"),
        WITH_HEADER("Transfer-Encoding: xchunked"),
        WITH_HEADER("Transfer-Encoding: chunkedx"),
        WITH_HEADER("Transfer-Encoding: \"chunked\""),
        WITH_HEADER("Transfer-Encoding: chunked;q=1"),
        WITH_HEADER("Transfer-Encoding: \x0b"
                    "chunked"),
        WITH_HEADER("Transfer-Encoding:"),
        SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        /* chunks */
        CHUNKED("x"),
        CHUNKED("-1"),
        CHUNKED("0x1\r\na"),
        CHUNKED("\r\n0"),
        CHUNKED("1\na\r\n0"),
        CHUNKED("1\rXa\r\n0"),
        CHUNKED("1\r\nab\r\n0"),
        CHUNKED("1\r\naXX0"),
        CHUNKED("1\r\na\n0"),
        CHUNKED("1 \r\na\r\n0"),
        CHUNKED("1;\r\na\r\n0"),
        CHUNKED("1;\n\r\na\r\n0"),
        CHUNKED("10000000000000000\r\n"),
        CHUNKED("0\r\nX : a"),
        CHUNKED("0\r\nX: a\nY: b"),
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 1; piece <= cases[i].len; piece++) {
            int outcome = outcome_of(cases[i], piece);
            cr_expect_eq(outcome, HTTP_REQUEST_BAD, "case %zu in pieces of %zu: %d: %s", i, piece,
                         outcome, cases[i].at);
        }
    }
}

Test(http_request, more_headers_that_are_kept_than_there_is_room_for_are_refused)
{
    char text[1024], *end = stpcpy(text, "GET / HTTP/1.1\r\n" HOST);

    for (size_t i = 0; i < 31; i++) {
        end = stpcpy(end, "Accept: a\r\n");
    }
    memcpy(end, "\r\n", 3);
    cr_assert_eq(outcome_of(span_of(text), SIZE_MAX), HTTP_REQUEST_COMPLETE);
    strcpy(end, "Accept: a\r\n\r\n");
    cr_assert_eq(outcome_of(span_of(text), SIZE_MAX), HTTP_REQUEST_BAD);
}

Test(http_request, a_head_is_accepted_up_to_the_limit)
{
    char text[HTTP_REQUEST_MAX + 2];
    size_t tail = strlen("\r\n\r\n");

    memset(text, 'x', sizeof(text));
    memcpy(text, "GET / HTTP/1.1\r\n" HOST "X: ", strlen("GET / HTTP/1.1\r\n" HOST "X: "));
    for (size_t len = HTTP_REQUEST_MAX - 1; len <= HTTP_REQUEST_MAX + 1; len++) {
        int expected = len <= HTTP_REQUEST_MAX ? HTTP_REQUEST_COMPLETE : HTTP_REQUEST_TOO_LARGE;
        memcpy(text + len - tail, "\r\n\r\n", tail);
        cr_assert_eq(outcome_of((struct span){text, len}, SIZE_MAX), expected);
        cr_assert_eq(outcome_of((struct span){text, len}, 1), expected);
        cr_assert_eq(outcome_of((struct span){text, len}, 1000), expected);
        memset(text + len - tail, 'x', tail);
    }
    memset(text, 'A', sizeof(text));
    cr_assert_eq(outcome_of((struct span){text, sizeof(text)}, 1), HTTP_REQUEST_TOO_LARGE);
}

static struct span text_with_body(char *buffer, const char *head, size_t body)
{
    size_t len = strlen(head);

    memcpy(buffer, head, len);
    memset(buffer + len, 'b', body);
    return (struct span){buffer, len + body};
}

Test(http_request, a_body_is_accepted_up_to_the_limit)
{
    static char buffer[2 * HTTP_REQUEST_BODY_MAX];
    struct span text =
        text_with_body(buffer, "GET / HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n", 65536);

    cr_assert_eq(outcome_of(text, SIZE_MAX), HTTP_REQUEST_COMPLETE);
    cr_assert_eq(outcome_of(text, 777), HTTP_REQUEST_COMPLETE);
}

Test(http_request, a_longer_body_is_refused_by_its_announced_length)
{
    char buffer[256];
    struct span text =
        text_with_body(buffer, "GET / HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", 0);

    cr_assert_eq(outcome_of(text, SIZE_MAX), HTTP_REQUEST_BODY_TOO_LARGE);
    text = text_with_body(
        buffer, "GET / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", 0);
    cr_assert_eq(outcome_of(text, 1), HTTP_REQUEST_BODY_TOO_LARGE);
}

Test(http_request, a_chunked_body_is_refused_when_it_has_become_too_long)
{
    static char buffer[2 * HTTP_REQUEST_BODY_MAX];
    struct span text = text_with_body(
        buffer, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffff\r\n", 65530);

    cr_assert_eq(outcome_of(text, SIZE_MAX), HTTP_REQUEST_BODY_TOO_LARGE);
    cr_assert_eq(outcome_of(text, 777), HTTP_REQUEST_BODY_TOO_LARGE);
    text.len = (size_t)(strstr(buffer, "fffff") - buffer) + HTTP_REQUEST_BODY_MAX;
    cr_assert_eq(outcome_of(text, 777), 0);
}

Test(http_request, trailers_are_not_taken_for_headers)
{
    struct http_request *request =
        read_whole("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                   "1\r\na\r\n0\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n");

    cr_assert_null(http_request_header(request, HTTP_HEADER_AUTHORIZATION).at);
    cr_assert(http_request_keeps_alive(request));
    http_request_free(request);
}

Test(http_request, every_prefix_is_incomplete)
{
    for (size_t len = 0; len < sizeof(upgrade) - 1; len++) {
        cr_assert_eq(outcome_of((struct span){upgrade, len}, SIZE_MAX), 0);
    }
}

Test(http_request, running_out_of_memory_is_returned)
{
    static char text[4096];
    size_t used;
    unsigned failures = 0;
    int outcome = -ENOMEM;

    memset(text, 'x', sizeof(text));
    memcpy(text, "GET / HTTP/1.1\r\n" HOST "Accept: ", 43);
    memcpy(text + sizeof(text) - 20, "\r\nAccept: b\r\n\r\n", 16);
    mem_fail_nth(1);
    cr_assert_null(http_request_new());
    while (outcome == -ENOMEM) {
        struct http_request *request = http_request_new();
        mem_fail_nth(failures + 1);
        outcome = 0;
        for (size_t at = 0; outcome == 0 && at < strlen(text); at += used) {
            size_t left = strlen(text) - at;
            outcome = http_request_feed(request, text + at, left < 100 ? left : 100, &used);
        }
        failures += outcome == -ENOMEM;
        http_request_free(request);
    }
    mem_fail_nth(0);
    cr_assert_eq(outcome, HTTP_REQUEST_COMPLETE);
    cr_assert_eq(failures, 4, "%u allocations failed", failures); /* 1, 2, 4 and 8 KiB */
}

Test(http_request, null_is_freed)
{
    http_request_free(NULL);
}
