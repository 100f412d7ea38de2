#include "broker/session/http_answer.h"

#include <string.h>
#include <time.h>

#include "proto/http_response.h"

bool http_origin_is_allowed(const struct front *front, const struct http_request *request)
{
    struct span origin = http_request_header(request, HTTP_HEADER_ORIGIN);

    return !origin.at || origin_is_allowed(&front->config->allowed_origins, origin,
                                           http_request_header(request, HTTP_HEADER_HOST));
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
            list.at[i + 1 + etag_len] == '"') {
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
    if (origin.at && http_origin_is_allowed(front, request)) {
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

static void respond(const struct front *front, struct connection *connection,
                    const struct http_request *request, const struct http_answer *answer,
                    const char *code, const char *message)
{
    const bool close = answer->close || connection->is_last || !http_request_keeps_alive(request);
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
        connection_abort(connection);
    } else {
        if (code) {
            http_response_write_error(&text, &response, code, message);
        } else {
            http_response_write(&text, &response);
        }
        metric_add(front->metrics, metric_of_http_status((unsigned)answer->status), 1);
        connection_respond_shared(connection, text_to_bytes(&text),
                                  is_head ? NULL : bytes_ref(answer->shared_body), close);
    }
    text_deinit(&headers);
    text_deinit(&text);
}

void http_answer(const struct front *front, struct connection *connection,
                 const struct http_request *request, const struct http_answer *answer)
{
    respond(front, connection, request, answer, NULL, NULL);
}

void http_answer_error(const struct front *front, struct connection *connection,
                       const struct http_request *request, const struct http_answer *answer,
                       const char *code, const char *message)
{
    respond(front, connection, request, answer, code, message);
}

void http_answer_preflight(const struct front *front, struct connection *connection,
                           const struct http_request *request)
{
    if (!http_request_header(request, HTTP_HEADER_ORIGIN).at ||
        !http_origin_is_allowed(front, request)) {
        http_answer_error(front, connection, request, &(struct http_answer){.status = 403},
                          "ORIGIN_NOT_ALLOWED", "the page's origin is not on the list");
        return;
    }
    http_answer(front, connection, request,
                &(struct http_answer){
                    .status = 204,
                    .headers = "Access-Control-Allow-Methods: GET, HEAD\r\n"
                               "Access-Control-Allow-Headers: Authorization, If-None-Match\r\n"
                               "Access-Control-Max-Age: 86400\r\n",
                });
}
