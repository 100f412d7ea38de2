#include "client/cli/ws_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "common/mem.h"
#include "common/text.h"
#include "proto/message_tables.h" /* generated: close codes */
#include "proto/ws_handshake.h"

#define READ_SIZE 16384
#define HEAD_MAX 16384 /* of the answer to a handshake */
#define HEAD_END "\r\n\r\n"

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
    text_printf(text,
                "GET %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: progressctl/" PROGRESSD_VERSION
                "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\n\r\n",
                address->path, path, address->authority, key);
}

/* Whether it may become an answer of HTTP/1.1. */
static bool begins_as_http(const struct text *input)
{
    const size_t len = strlen("HTTP/1.1 ");

    return memcmp(input->data, "HTTP/1.1 ", input->len < len ? input->len : len) == 0;
}

/* Reads on until the head of the answer is whole. 0 and *ret_len, its length; an outcome. */
static int read_head(struct wire *wire, int64_t deadline, struct text *input, size_t *ret_len)
{
    char buffer[4096];
    const char *end = NULL;

    while (!end) {
        size_t len = 0;
        int rc = wire_read(wire, buffer, sizeof(buffer), deadline, &len);

        if (rc) {
            return rc == WIRE_ENDED ? WIRE_BAD_PROTOCOL : rc;
        }
        text_append(input, buffer, len);
        if (text_failed(input)) {
            return -ENOMEM;
        }
        end = memmem(input->data, input->len, HEAD_END, strlen(HEAD_END));
        if (!end && (input->len > HEAD_MAX || !begins_as_http(input))) {
            return WIRE_BAD_PROTOCOL;
        }
    }
    *ret_len = (size_t)(end - input->data) + strlen(HEAD_END);
    return 0;
}

/* Whether the head has this header with this value. */
static bool has_header(const char *head, const char *name, const char *value)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            const char *at = line + strlen(name) + 1;

            at += strspn(at, " \t");
            return strncasecmp(at, value, strlen(value)) == 0 &&
                   at[strlen(value) + strspn(at + strlen(value), " \t")] == '\r';
        }
    }
    return false;
}

/* RFC 6455, 4.1: what the client must check. 0; an outcome; -EIO. */
static int check_handshake(const char *head, const char *key, int *ret_status)
{
    char accept[WS_ACCEPT_SIZE];
    int status, rc = ws_handshake_accept(key, accept);

    if (rc < 0) {
        return rc;
    }
    if (sscanf(head, "HTTP/1.1 %3d", &status) != 1) {
        return WIRE_BAD_PROTOCOL;
    }
    if (status != 101) {
        *ret_status = status;
        return WIRE_REFUSED;
    }
    return has_header(head, "Upgrade", "websocket") &&
                   has_header(head, "Sec-WebSocket-Accept", accept)
               ? 0
               : WIRE_BAD_PROTOCOL;
}

/* *ret_rest gets what comes behind the answer. */
static int shake_hands(struct wire *wire, const struct wire_address *address, const char *path,
                       int64_t deadline, struct text *ret_rest, int *ret_status)
{
    CLEANUP(text_deinit) struct text request = TEXT_EMPTY, input = TEXT_EMPTY;
    char key[WS_KEY_SIZE];
    size_t head_len;
    int rc = ws_handshake_new_key(key);

    if (rc < 0) {
        return rc;
    }
    write_handshake(&request, address, path, key);
    rc = text_failed(&request) ? -ENOMEM : wire_write(wire, request.data, request.len, deadline);
    if (rc == 0) {
        rc = read_head(wire, deadline, &input, &head_len);
    }
    if (rc) {
        return rc;
    }
    text_append(ret_rest, input.data + head_len, input.len - head_len);
    input.data[head_len - 1] = '\0'; /* its last line feed: the head is a string */
    rc = check_handshake(input.data, key, ret_status);
    return rc == 0 && text_failed(ret_rest) ? -ENOMEM : rc;
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
    int rc = wire_open(&wire, address, deadline);

    if (rc) {
        return rc;
    }
    rc = shake_hands(&wire, address, path, deadline, &rest, ret_status);
    if (rc) {
        return rc;
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
    int rc;

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
    rc = wire_write(&client->wire, frame, header_len + len, deadline);
    mem_free(frame);
    return rc;
}

int ws_client_send(struct ws_client *client, const void *data, size_t len, int64_t deadline)
{
    return send_frame(client, WS_TEXT, data, len, deadline);
}

/* 0: nothing is complete in what was read; WS_EVENT; WIRE_BAD_PROTOCOL; -ENOMEM. */
static int parse_input(struct ws_client *client, struct ws_event *ret_event)
{
    size_t used = 0;
    int rc = ws_parser_feed(&client->parser, client->input + client->begin,
                            client->end - client->begin, &used, ret_event);

    client->begin += used;
    return rc <= 0 || rc == WS_EVENT ? rc : WIRE_BAD_PROTOCOL;
}

/* 0; WIRE_ENDED; -errno. */
static int ws_client_read_input(struct ws_client *client, int64_t deadline)
{
    size_t len;
    int rc = wire_read(&client->wire, client->input, client->size, deadline, &len);

    if (rc) {
        return rc;
    }
    client->begin = 0;
    client->end = len;
    return 0;
}

int ws_client_next(struct ws_client *client, int64_t deadline, struct ws_event *ret_event)
{
    for (;;) {
        struct ws_event event;
        int rc = client->begin < client->end ? parse_input(client, &event) : 0;

        if (rc == 0) {
            rc = ws_client_read_input(client, deadline);
        } else if (rc == WS_EVENT && event.opcode == WS_PING) {
            rc = send_frame(client, WS_PONG, event.payload, event.len, deadline);
        } else if (rc == WS_EVENT && event.opcode == WS_PONG) {
            rc = 0;
        } else if (rc == WS_EVENT) {
            *ret_event = event;
            return 0;
        }
        if (rc) {
            return rc;
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
