#include "proto/http_response.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *http_reason(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 204:
        return "No Content";
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

void http_date_format(char buffer[HTTP_DATE_SIZE], int64_t seconds_since_1970)
{
    /* strftime(3) would write them in the locale's language. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = seconds_since_1970;
    struct tm utc;

    assert(seconds >= 0 && seconds <= HTTP_DATE_MAX);
    gmtime_r(&seconds, &utc);
    snprintf(buffer, HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[utc.tm_wday],
             (unsigned)utc.tm_mday % 100, months[utc.tm_mon], (unsigned)utc.tm_year + 1900,
             (unsigned)utc.tm_hour % 100, (unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100);
}

/* The current date; formatted once a second. */
static const char *date_now(void)
{
    static char formatted[HTTP_DATE_SIZE];
    static time_t formatted_second = -1;
    time_t now = time(NULL);

    if (now != formatted_second) {
        http_date_format(formatted, now);
        formatted_second = now;
    }
    return formatted;
}

/* RFC 9110, 8.6: with these statuses there is never a body, and so no length of one. */
static bool has_content_length(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_response_write(struct text *text, const struct http_response *response)
{
    bool has_body = response->content_type && has_content_length(response->status);

    assert(response->status >= 100 && response->status <= 599);
    text_printf(text, "HTTP/1.1 %d %s\r\n", response->status, http_reason(response->status));
    if (has_content_length(response->status)) {
        text_printf(text, "Content-Length: %zu\r\n", has_body ? response->body.len : 0);
    }
    if (has_body) {
        text_printf(text, "Content-Type: %s\r\n", response->content_type);
    }
    text_printf(text, "Date: %s\r\n", date_now());
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
