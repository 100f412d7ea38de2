#include "client/cli/http_client.h"

#include <errno.h>
#include <string.h>

void http_client_write_head(struct text *text, const struct wire_address *address, const char *path,
                            const char *headers)
{
    bool is_ipv6 = strchr(address->host, ':');

    text_printf(text, "GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", path, is_ipv6 ? "[" : "",
                address->host, is_ipv6 ? "]" : "", address->port);
    text_puts(text, headers ? headers : "");
    text_puts(text, "\r\n");
}

/* Reads until the reply is complete or upgraded. *ret_rest gets what comes behind. 0; an outcome;
 * -errno. */
static int read_reply(struct wire *wire, int64_t deadline, struct http_reply *reply,
                      struct text *ret_rest)
{
    char buffer[16384];
    int result = 0;

    while (result == 0) {
        size_t len = 0, used = 0;

        result = wire_read(wire, buffer, sizeof(buffer), deadline, &len);
        if (result == WIRE_ENDED) {
            result = http_reply_finish(reply);
        } else if (result == 0) {
            result = http_reply_feed(reply, buffer, len, &used);
            text_append(ret_rest, buffer + used, len - used);
        }
    }
    if (result == HTTP_REPLY_BAD) {
        return HTTP_CLIENT_BAD_REPLY;
    }
    return result < 0 ? result : 0;
}

int http_client_exchange(struct wire *wire, const struct text *request, int64_t deadline,
                         struct http_reply *ret_reply, struct text *ret_rest)
{
    struct http_reply reply;
    int result =
        text_failed(request) ? -ENOMEM : wire_write(wire, request->data, request->len, deadline);

    if (result < 0) {
        return result;
    }
    http_reply_init(&reply);
    result = read_reply(wire, deadline, &reply, ret_rest);
    if (result == 0 && text_failed(ret_rest)) {
        result = -ENOMEM;
    }
    if (result) {
        http_reply_deinit(&reply);
        return result;
    }
    *ret_reply = reply;
    return 0;
}

int http_client_get(const struct wire_address *address, const char *path, const char *headers,
                    int64_t deadline, struct http_reply *ret_reply)
{
    CLEANUP(text_deinit) struct text request = TEXT_EMPTY, lines = TEXT_EMPTY, rest = TEXT_EMPTY;
    CLEANUP(wire_close) struct wire wire = WIRE_CLOSED;
    int result = wire_open(&wire, address, deadline);

    if (result) {
        return result == WIRE_UNKNOWN_HOST ? HTTP_CLIENT_UNKNOWN_HOST : result;
    }
    text_printf(&lines, "Connection: close\r\n%s", headers ? headers : "");
    if (text_failed(&lines)) {
        return -ENOMEM;
    }
    http_client_write_head(&request, address, path, lines.data);
    return http_client_exchange(&wire, &request, deadline, ret_reply, &rest);
}
