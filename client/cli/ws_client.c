#include "client/cli/ws_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "client/cli/http_client.h"
#include "common/mem.h"
#include "proto/message_tables.h" /* generated: close codes */
#include "proto/ws_handshake.h"

#define READ_SIZE 16384

struct ws_client {
    struct wire wire;
    struct ws_parser parser;
    uint8_t *input; /* what was read and not parsed yet, from `begin` to `end` */
    size_t begin, end, size;
};

/* ── The handshake ───────────────────────────────────────────────────────────────────────────── */

static void write_handshake(struct text *text, const struct wire_address *address, const char *path,
                            const char *key)
{
    char headers[128 + WS_KEY_SIZE];

    snprintf(headers, sizeof(headers),
             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: %s\r\n",
             key);
    http_client_write_head(text, address, path, headers);
}

/* RFC 6455, 4.1: what the client must check. 0; an outcome; -EIO. */
static int check_handshake(const struct http_reply *reply, const char *key, int *ret_status)
{
    char accept[WS_ACCEPT_SIZE];
    int result = ws_handshake_accept(key, accept);

    if (result < 0) {
        return result;
    }
    if (reply->status != 101) {
        *ret_status = reply->status;
        return WS_CLIENT_REFUSED;
    }
    if (strcasecmp(reply->headers[HTTP_REPLY_UPGRADE], "websocket") != 0 ||
        strcmp(reply->headers[HTTP_REPLY_SEC_WEBSOCKET_ACCEPT], accept) != 0) {
        return WS_CLIENT_PROTOCOL_ERROR;
    }
    return 0;
}

static int shake_hands(struct wire *wire, const struct wire_address *address, const char *path,
                       int64_t deadline, struct text *ret_rest, int *ret_status)
{
    CLEANUP(text_deinit) struct text request = TEXT_EMPTY;
    struct http_reply reply;
    char key[WS_KEY_SIZE];
    int result = ws_handshake_new_key(key);

    if (result < 0) {
        return result;
    }
    write_handshake(&request, address, path, key);
    result = http_client_exchange(wire, &request, deadline, &reply, ret_rest);
    if (result) {
        return result == HTTP_CLIENT_BAD_REPLY ? WS_CLIENT_PROTOCOL_ERROR : result;
    }
    result = check_handshake(&reply, key, ret_status);
    http_reply_deinit(&reply);
    return result;
}

/* Takes the wire over, and the first bytes that came behind the handshake. */
static struct ws_client *client_new(struct wire *wire, const struct text *rest)
{
    struct ws_client *client = mem_zalloc(1, sizeof(*client));

    if (!client) {
        return NULL;
    }
    client->size = rest->len > READ_SIZE ? rest->len : READ_SIZE;
    client->input = mem_alloc(client->size);
    if (!client->input) {
        mem_free(client);
        return NULL;
    }
    if (rest->len > 0) {
        memcpy(client->input, rest->data, rest->len);
    }
    client->end = rest->len;
    ws_parser_init(&client->parser, WS_PEER_SERVER, WS_CLIENT_MESSAGE_MAX);
    client->wire = *wire;
    *wire = WIRE_CLOSED;
    return client;
}

int ws_client_open(const struct wire_address *address, const char *path, int64_t deadline,
                   struct ws_client **ret_client, int *ret_status)
{
    CLEANUP(text_deinit) struct text rest = TEXT_EMPTY;
    CLEANUP(wire_close) struct wire wire = WIRE_CLOSED;
    struct ws_client *client;
    int result = wire_open(&wire, address, deadline);

    if (result) {
        return result == WIRE_UNKNOWN_HOST ? WS_CLIENT_UNKNOWN_HOST : result;
    }
    result = shake_hands(&wire, address, path, deadline, &rest, ret_status);
    if (result) {
        return result;
    }
    client = client_new(&wire, &rest);
    if (!client) {
        return -ENOMEM;
    }
    *ret_client = client;
    return 0;
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

/* A client masks with a key that nobody can foretell (RFC 6455, 5.3). */
static int send_frame(struct ws_client *client, enum ws_opcode opcode, const void *payload,
                      size_t len, int64_t deadline)
{
    uint8_t header[WS_HEADER_MAX], mask[4], *frame;
    size_t header_len;
    int result;

    if (getrandom(mask, sizeof(mask), 0) != sizeof(mask)) {
        return -EIO;
    }
    header_len = ws_frame_header(header, opcode, len, mask);
    frame = mem_alloc(header_len + len);
    if (!frame) {
        return -ENOMEM;
    }
    memcpy(frame, header, header_len);
    if (len > 0) {
        memcpy(frame + header_len, payload, len);
        ws_mask(frame + header_len, len, mask, 0);
    }
    result = wire_write(&client->wire, frame, header_len + len, deadline);
    mem_free(frame);
    return result;
}

int ws_client_send(struct ws_client *client, const void *data, size_t len, int64_t deadline)
{
    return send_frame(client, WS_TEXT, data, len, deadline);
}

/* 0: nothing is complete in what was read; WS_EVENT; WS_CLIENT_PROTOCOL_ERROR; -ENOMEM. */
static int parse_input(struct ws_client *client, struct ws_event *ret_event)
{
    size_t used = 0;
    int result = ws_parser_feed(&client->parser, client->input + client->begin,
                                client->end - client->begin, &used, ret_event);

    client->begin += used;
    return result <= 0 || result == WS_EVENT ? result : WS_CLIENT_PROTOCOL_ERROR;
}

/* 0; WS_CLIENT_ENDED; -errno. */
static int read_input(struct ws_client *client, int64_t deadline)
{
    size_t len;
    int result = wire_read(&client->wire, client->input, client->size, deadline, &len);

    if (result) {
        return result == WIRE_ENDED ? WS_CLIENT_ENDED : result;
    }
    client->begin = 0;
    client->end = len;
    return 0;
}

int ws_client_next(struct ws_client *client, int64_t deadline, struct ws_event *ret_event)
{
    for (;;) {
        struct ws_event event;
        int result = client->begin < client->end ? parse_input(client, &event) : 0;

        if (result == 0) {
            result = read_input(client, deadline);
        } else if (result == WS_EVENT && event.opcode == WS_PING) {
            result = send_frame(client, WS_PONG, event.payload, event.len, deadline);
        } else if (result == WS_EVENT && event.opcode == WS_PONG) {
            result = 0;
        } else if (result == WS_EVENT) {
            *ret_event = event;
            return 0;
        }
        if (result) {
            return result;
        }
    }
}

void ws_client_free(struct ws_client *client)
{
    static const uint8_t normal[] = {CLOSE_NORMAL >> 8, CLOSE_NORMAL & 0xFF};

    if (client) {
        /* The peer may be gone, or not reading: then it will notice the end in another way. */
        int unused = send_frame(client, WS_CLOSE, normal, sizeof(normal), wire_clock());
        (void)unused;
        wire_close(&client->wire);
        ws_parser_deinit(&client->parser);
        mem_free(client->input);
        mem_free(client);
    }
}
