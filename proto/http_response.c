#include "proto/http_response.h"

#include <string.h>

#include "common/utc_time.h"

const char *http_reason(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 301:
        return "Moved Permanently";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "";
    }
}

/* RFC 9110, 8.6: with these statuses there is never a body, and so no length of one. */
static bool has_content_length(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_response_write(struct text *text, const struct http_response *response)
{
    bool has_body = response->content_type && has_content_length(response->status);
    char date[UTC_TIME_HTTP_SIZE];

    assert(response->status >= 100 && response->status <= 599);
    text_printf(text, "HTTP/1.1 %d %s\r\n", response->status, http_reason(response->status));
    if (has_content_length(response->status)) {
        text_printf(text, "Content-Length: %zu\r\n", has_body ? response->body.len : 0);
    }
    if (has_body) {
        text_printf(text, "Content-Type: %s\r\n", response->content_type);
    }
    if (response->now > 0) {
        utc_time_format_http((uint64_t)response->now * 1000, date);
        text_printf(text, "Date: %s\r\n", date);
    }
    if (response->close) {
        text_puts(text, "Connection: close\r\n");
    }
    text_puts(text, response->headers ? response->headers : "");
    text_puts(text, "\r\n");
    if (has_body && !response->head_only) {
        text_append(text, response->body.at, response->body.len);
    }
}

void http_response_write_error(struct text *text, const struct http_response *response,
                               const char *code, const char *message)
{
    struct http_response error = *response;
    CLEANUP(text_deinit) struct text body = TEXT_EMPTY;

    text_puts(&body, "{\"error\":{\"code\":");
    text_json_string(&body, code, strlen(code));
    text_puts(&body, ",\"message\":");
    text_json_string(&body, message, strlen(message));
    text_puts(&body, "}}");
    if (text_failed(&body)) {
        text->failed = true;
        return;
    }
    error.content_type = "application/json";
    error.body = (struct span){body.data, body.len};
    http_response_write(text, &error);
}
