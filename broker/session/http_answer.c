#include "broker/session/http_answer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "proto/http_response.h"

#define MODULE "http_answer"

/* Longest list of headers in a preflight request. */
#define WANTED_HEADERS_MAX 1024

bool http_origin_is_allowed(const struct front *front, const struct http_request *request)
{
    struct span origin = http_request_header(request, HTTP_HEADER_ORIGIN);

    return !origin.at || origin_is_allowed(&front->config->allowed_origins, origin,
                                           http_request_header(request, HTTP_HEADER_HOST));
}

/* Whether an entity tag ends here, perhaps behind the name of an encoding: Apache's mod_deflate and
 * mod_brotli add theirs within the quotes. */
static bool ends_etag(struct span text)
{
    static const char *const endings[] = {"\"", "-gzip\"", "-br\"", "-zstd\""};

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        const size_t len = strlen(endings[i]);

        if (text.len >= len && memcmp(text.at, endings[i], len) == 0) {
            return true;
        }
    }
    return false;
}

bool http_client_has(const struct http_request *request, const char *etag)
{
    struct span list = http_request_header(request, HTTP_HEADER_IF_NONE_MATCH);
    const size_t etag_len = strlen(etag);

    if (list.len == 1 && list.at[0] == '*') {
        return true;
    }
    for (size_t i = 0; i + etag_len + 2 <= list.len; i++) {
        if (list.at[i] == '"' && memcmp(list.at + i + 1, etag, etag_len) == 0 &&
            ends_etag((struct span){list.at + i + 1 + etag_len, list.len - i - 1 - etag_len})) {
            return true;
        }
    }
    return false;
}

static void write_headers(struct text *headers, const struct front *front,
                          const struct http_request *request, const struct http_answer *answer)
{
    struct span origin = http_request_header(request, HTTP_HEADER_ORIGIN);

    text_printf(headers,
                "Cache-Control: %s\r\n"
                "X-Content-Type-Options: nosniff\r\n"
                "Vary: Origin\r\n",
                answer->cache_control ? answer->cache_control : "private, no-cache");
    if (origin.at && !http_origin_is_allowed(front, request)) {
        struct span host = http_request_header(request, HTTP_HEADER_HOST);

        log_event(LOG_WARN, MODULE, "a page's origin is not in allowed-origins, so it can't read",
                  LOG_SPAN("origin", origin.at, origin.len), LOG_SPAN("host", host.at, host.len));
    } else if (origin.at) {
        text_puts(headers, "Access-Control-Allow-Origin: ");
        text_append(headers, origin.at, origin.len);
        text_puts(headers, "\r\nAccess-Control-Expose-Headers: ETag, Retry-After\r\n");
    }
    if (answer->headers) {
        text_puts(headers, answer->headers);
    }
}

/* The body, wherever it is. */
static struct span body_of(const struct http_answer *answer)
{
    const struct bytes *shared = answer->shared_body;

    return shared ? (struct span){(const char *)shared->data, shared->len} : answer->body;
}

static void respond(const struct front *front, struct http_connection *http,
                    const struct http_request *request, const struct http_answer *answer,
                    const char *code, const char *message)
{
    const bool close = answer->close || http->is_last || !http_request_keeps_alive(request);
    const bool is_head = http_request_method(request) == HTTP_METHOD_HEAD;
    const char *type = answer->content_type ? answer->content_type : "application/json";
    struct text headers = TEXT_EMPTY, text = TEXT_EMPTY;
    struct http_response response = {
        .status = answer->status,
        .content_type = body_of(answer).at ? type : NULL,
        .body = body_of(answer),
        .now = time(NULL),
        .head_only = is_head || answer->shared_body,
        .close = close,
    };

    write_headers(&headers, front, request, answer);
    response.headers = headers.data;
    if (text_failed(&headers)) {
        channel_abort(&http->channel);
    } else {
        if (code) {
            http_response_write_error(&text, &response, code, message);
        } else {
            http_response_write(&text, &response);
        }
        metric_add(front->metrics, metric_of_http_status((unsigned)answer->status), 1);
        http_connection_respond_shared(http, text_to_bytes(&text),
                                       is_head ? NULL : bytes_ref(answer->shared_body), close);
    }
    text_deinit(&headers);
    text_deinit(&text);
}

void http_answer(const struct front *front, struct http_connection *http,
                 const struct http_request *request, const struct http_answer *answer)
{
    respond(front, http, request, answer, NULL, NULL);
}

void http_answer_error(const struct front *front, struct http_connection *http,
                       const struct http_request *request, const struct http_answer *answer,
                       const char *code, const char *message)
{
    respond(front, http, request, answer, code, message);
}

/* The headers that the page's requests will carry: a list of names, as in the RFC's; or {NULL, 0}
 * when it is none, or too long. All of them are allowed, since the broker reads none but its own:
 * tools that trace requests add headers to each. */
static struct span wanted_headers(const struct http_request *request)
{
    struct span list = http_request_header(request, HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS);

    if (list.len > WANTED_HEADERS_MAX) {
        return (struct span){NULL, 0};
    }
    for (size_t i = 0; i < list.len; i++) {
        const unsigned char c = (unsigned char)list.at[i];

        if (!isalnum(c) && (c == '\0' || !strchr("!#$%&'*+-.^_`|~, ", c))) {
            return (struct span){NULL, 0};
        }
    }
    return list;
}

void http_answer_preflight(const struct front *front, struct http_connection *http,
                           const struct http_request *request)
{
    struct span wanted = wanted_headers(request);
    char headers[256 + WANTED_HEADERS_MAX];

    if (!http_request_header(request, HTTP_HEADER_ORIGIN).at ||
        !http_origin_is_allowed(front, request)) {
        metric_add(front->metrics, METRIC_REFUSED_ORIGIN, 1);
        http_answer_error(front, http, request, &(struct http_answer){.status = 403},
                          "ORIGIN_NOT_ALLOWED", "the page's origin is not on the list");
        return;
    }
    snprintf(headers, sizeof(headers),
             "Access-Control-Allow-Methods: GET, HEAD\r\n"
             "Access-Control-Allow-Headers: Authorization, If-None-Match%s%.*s\r\n"
             "Access-Control-Max-Age: 86400\r\n",
             wanted.len > 0 ? ", " : "", (int)wanted.len, wanted.at ? wanted.at : "");
    http_answer(front, http, request, &(struct http_answer){.status = 204, .headers = headers});
}
