#include "client/cli/http_reply.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *const header_names[HTTP_REPLY_HEADERS] = {
    [HTTP_REPLY_ETAG] = "ETag",
    [HTTP_REPLY_RETRY_AFTER] = "Retry-After",
    [HTTP_REPLY_UPGRADE] = "Upgrade",
    [HTTP_REPLY_SEC_WEBSOCKET_ACCEPT] = "Sec-WebSocket-Accept",
};

/* Appends as much as there is room for. */
static void append(char *buffer, size_t size, const char *at, size_t len)
{
    size_t have = strlen(buffer), room = size - 1 - have;

    len = len < room ? len : room;
    memcpy(buffer + have, at, len);
    buffer[have + len] = '\0';
}

/* The header that is kept under the current name, or NULL. */
static char *current_header(struct http_reply *reply)
{
    for (size_t i = 0; i < HTTP_REPLY_HEADERS; i++) {
        if (strcasecmp(reply->field_name, header_names[i]) == 0) {
            return reply->headers[i];
        }
    }
    return NULL;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct http_reply *reply = parser->data;

    append(reply->field_name, sizeof(reply->field_name), at, len);
    return 0;
}

/* Of a header that comes again, the last one counts. */
static int on_header_field_complete(llhttp_t *parser)
{
    char *header = current_header(parser->data);

    if (header) {
        header[0] = '\0';
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    char *header = current_header(parser->data);

    if (header) {
        append(header, HTTP_REPLY_HEADER_MAX, at, len);
    }
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct http_reply *reply = parser->data;
    char *header = current_header(reply);
    size_t len = header ? strlen(header) : 0;

    while (len > 0 && (header[len - 1] == ' ' || header[len - 1] == '\t')) {
        header[--len] = '\0';
    }
    reply->field_name[0] = '\0';
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct http_reply *reply = parser->data;

    text_append(&reply->body, at, len);
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_reply_init(struct http_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    llhttp_init(&reply->parser, HTTP_RESPONSE, &settings);
}

void http_reply_deinit(struct http_reply *reply)
{
    text_deinit(&reply->body);
}

/* The outcome of a reply that llhttp has taken for complete. Interim replies but 101 aren't asked
 * for by anything that is sent here. */
static int complete(struct http_reply *reply)
{
    reply->status = llhttp_get_status_code(&reply->parser);
    if (text_failed(&reply->body)) {
        return -ENOMEM;
    }
    if (reply->status == 101) {
        return HTTP_REPLY_UPGRADED;
    }
    return reply->status >= 200 ? HTTP_REPLY_COMPLETE : HTTP_REPLY_BAD;
}

int http_reply_feed(struct http_reply *reply, const char *data, size_t len, size_t *ret_used)
{
    reply->parser.data = reply; /* it may have been moved since */
    *ret_used = len;
    switch (llhttp_execute(&reply->parser, data, len)) {
    case HPE_OK:
        reply->received += len;
        if (text_failed(&reply->body)) {
            return -ENOMEM;
        }
        return reply->received > HTTP_REPLY_MAX ? HTTP_REPLY_BAD : 0;
    case HPE_PAUSED:
        *ret_used = (size_t)(llhttp_get_error_pos(&reply->parser) - data);
        return complete(reply);
    default:
        return HTTP_REPLY_BAD;
    }
}

int http_reply_finish(struct http_reply *reply)
{
    reply->parser.data = reply;
    if (llhttp_message_needs_eof(&reply->parser) && llhttp_finish(&reply->parser) == HPE_PAUSED) {
        return complete(reply);
    }
    return HTTP_REPLY_BAD;
}
