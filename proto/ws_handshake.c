#include "proto/ws_handshake.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#define KEY_BYTES 16
#define KEY_LEN (WS_KEY_SIZE - 1)
#define SHA1_BYTES 20
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* 1.3 */

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Whether it is the base64 of 16 bytes: 22 characters and two of padding. Bits that padding leaves
 * over aren't looked at, since the key is never decoded. */
static bool key_is_valid(struct span key)
{
    if (key.len != KEY_LEN || memcmp(key.at + KEY_LEN - 2, "==", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < KEY_LEN - 2; i++) {
        if (!is_base64(key.at[i])) {
            return false;
        }
    }
    return true;
}

static bool is_version_13(struct span version)
{
    return version.len == 2 && memcmp(version.at, "13", 2) == 0;
}

int ws_handshake_check(const struct http_request *request, const char **ret_why)
{
    if (!http_request_header_lists(request, HTTP_HEADER_UPGRADE, "websocket")) {
        *ret_why = "this address speaks WebSocket: Upgrade must list websocket";
        return WS_HANDSHAKE_NONE;
    }
    if (!http_request_upgrades(request)) {
        *ret_why = "an upgrade takes HTTP/1.1, and Connection must list Upgrade";
        return WS_HANDSHAKE_BAD;
    }
    if (http_request_method(request) != HTTP_METHOD_GET) {
        *ret_why = "a WebSocket handshake is a GET";
        return WS_HANDSHAKE_BAD;
    }
    if (!is_version_13(http_request_header(request, HTTP_HEADER_SEC_WEBSOCKET_VERSION))) {
        *ret_why = "Sec-WebSocket-Version must be 13";
        return WS_HANDSHAKE_BAD_VERSION;
    }
    if (!key_is_valid(http_request_header(request, HTTP_HEADER_SEC_WEBSOCKET_KEY))) {
        *ret_why = "Sec-WebSocket-Key must be the base64 of 16 bytes";
        return WS_HANDSHAKE_BAD;
    }
    return 0;
}

int ws_handshake_accept(const char key[WS_KEY_SIZE - 1], char ret_accept[WS_ACCEPT_SIZE])
{
    char text[KEY_LEN + sizeof(GUID)];
    uint8_t digest[SHA1_BYTES];

    memcpy(text, key, KEY_LEN);
    memcpy(text + KEY_LEN, GUID, sizeof(GUID));
    if (!EVP_Digest(text, sizeof(text) - 1, digest, NULL, EVP_sha1(), NULL)) {
        return -EIO;
    }
    EVP_EncodeBlock((uint8_t *)ret_accept, digest, sizeof(digest));
    return 0;
}

int ws_handshake_respond(struct text *text, const struct http_request *request)
{
    struct span key = http_request_header(request, HTTP_HEADER_SEC_WEBSOCKET_KEY);
    char accept[WS_ACCEPT_SIZE];
    int r;

    assert(key_is_valid(key));
    r = ws_handshake_accept(key.at, accept);
    if (r) {
        return r;
    }
    text_printf(text,
                "HTTP/1.1 101 Switching Protocols\r\n"
                "Upgrade: websocket\r\n"
                "Connection: Upgrade\r\n"
                "Sec-WebSocket-Accept: %s\r\n"
                "\r\n",
                accept);
    return 0;
}

int ws_handshake_new_key(char ret_key[WS_KEY_SIZE])
{
    uint8_t nonce[KEY_BYTES];

    if (RAND_bytes(nonce, sizeof(nonce)) != 1) {
        return -EIO;
    }
    EVP_EncodeBlock((uint8_t *)ret_key, nonce, sizeof(nonce));
    return 0;
}
