#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/ws_handshake.h"

#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define REQUEST(line, headers) line "\r\nHost: example.org\r\n" headers "\r\n"
#define GET(headers) REQUEST("GET /ws/progress/42 HTTP/1.1", headers)

static struct http_request *request_of(const char *text)
{
    struct http_request *request = http_request_new();
    size_t used;

    cr_assert_eq(http_request_feed(request, text, strlen(text), &used), HTTP_REQUEST_COMPLETE, "%s",
                 text);
    return request;
}

static void expect(const char *text, int expected, const char *why)
{
    struct http_request *request = request_of(text);
    const char *told = "";

    cr_assert_eq(ws_handshake_check(request, &told), expected, "%s", text);
    cr_assert_not_null(strstr(told, why), "%s, not: %s", told, why);
    http_request_free(request);
}

Test(ws_handshake, the_key_of_rfc_6455_is_accepted_as_it_says)
{
    char accept[WS_ACCEPT_SIZE];

    cr_assert_eq(ws_handshake_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
    cr_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

Test(ws_handshake, a_browsers_request_is_answered)
{
    struct http_request *request = request_of(
        GET("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" VERSION KEY
            "Origin: https://example.org\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
            "Sec-WebSocket-Protocol: chat\r\n"));
    struct text answer = TEXT_EMPTY;
    const char *why;

    cr_assert_eq(ws_handshake_check(request, &why), 0);
    cr_assert_eq(ws_handshake_respond(&answer, request), 0);
    cr_assert_str_eq(answer.data, "HTTP/1.1 101 Switching Protocols\r\n"
                                  "Upgrade: websocket\r\n"
                                  "Connection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                  "\r\n");
    text_deinit(&answer);
    http_request_free(request);
}

Test(ws_handshake, a_request_for_something_else_is_none)
{
    expect(GET(""), WS_HANDSHAKE_NONE, "Upgrade");
    expect(GET(CONNECTION KEY VERSION), WS_HANDSHAKE_NONE, "Upgrade");
    expect(GET(CONNECTION "Upgrade: h2c\r\n"), WS_HANDSHAKE_NONE, "Upgrade");
    expect(GET(CONNECTION "Upgrade: websockets\r\n" KEY VERSION), WS_HANDSHAKE_NONE, "Upgrade");
}

Test(ws_handshake, one_of_several_protocols_may_be_websocket)
{
    expect(GET(CONNECTION "Upgrade: h2c, websocket\r\n" KEY VERSION), 0, "");
}

Test(ws_handshake, connection_must_list_upgrade)
{
    expect(GET(UPGRADE KEY VERSION), WS_HANDSHAKE_BAD, "Connection");
    expect(GET("Connection: keep-alive\r\n" UPGRADE KEY VERSION), WS_HANDSHAKE_BAD, "Connection");
}

Test(ws_handshake, only_a_get_upgrades)
{
    expect(REQUEST("HEAD / HTTP/1.1", CONNECTION UPGRADE KEY VERSION), WS_HANDSHAKE_BAD, "GET");
    expect(REQUEST("OPTIONS / HTTP/1.1", CONNECTION UPGRADE KEY VERSION), WS_HANDSHAKE_BAD, "GET");
}

Test(ws_handshake, http_1_0_does_not_upgrade)
{
    expect(REQUEST("GET / HTTP/1.0", CONNECTION UPGRADE KEY VERSION), WS_HANDSHAKE_BAD, "HTTP/1.1");
}

Test(ws_handshake, only_version_13_is_spoken)
{
    static const char *versions[] = {"8", "12", "14", "130", "013", "13, 8", ""};
    char text[512];

    expect(GET(CONNECTION UPGRADE KEY), WS_HANDSHAKE_BAD_VERSION, "Version");
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        snprintf(text, sizeof(text), GET(CONNECTION UPGRADE KEY "Sec-WebSocket-Version: %s\r\n"),
                 versions[i]);
        expect(text, WS_HANDSHAKE_BAD_VERSION, "Version");
    }
}

Test(ws_handshake, the_key_is_the_base64_of_16_bytes)
{
    static const char *bad[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25jZWFi",
        "dGhlIHNhbXBsZSBub2-jZQ==",
        "dGhlIHNhbXBs SBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==A",
        "=GhlIHNhbXBsZSBub25jZQ==",
        "SGVsbG8sIHdvcmxkIQ==",
    };
    char text[512];

    expect(GET(CONNECTION UPGRADE VERSION), WS_HANDSHAKE_BAD, "Key");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), GET(CONNECTION UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n"),
                 bad[i]);
        expect(text, WS_HANDSHAKE_BAD, "Key");
    }
    expect(GET(CONNECTION UPGRADE VERSION "Sec-WebSocket-Key: ++//AZaz09AAAAAAAAAAAA==\r\n"), 0,
           "");
}

Test(ws_handshake, a_new_key_is_valid_and_another_each_time)
{
    char key[WS_KEY_SIZE], other[WS_KEY_SIZE], text[512];

    cr_assert_eq(ws_handshake_new_key(key), 0);
    cr_assert_eq(ws_handshake_new_key(other), 0);
    cr_assert_str_neq(key, other);
    snprintf(text, sizeof(text), GET(CONNECTION UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n"), key);
    expect(text, 0, "");
}
