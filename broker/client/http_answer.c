#include "broker/client/http_answer.h"

#include <time.h>

#include "proto/http_response.h"

bool http_origin_is_allowed(const struct front *front, const struct http_request *request)
{
    struct span origin = http_request_header(request, HTTP_HEADER_ORIGIN);

    return !origin.at || origin_is_allowed(&front->config->allowed_origins, origin,
                                           http_request_header(request, HTTP_HEADER_HOST));
}

static void write_headers(struct text *headers, const struct front *front,
                          const struct http_request *request, const char *further)
{
    struct span origin = http_request_header(request, HTTP_HEADER_ORIGIN);

    text_puts(headers, "Cache-Control: private, no-cache\r\n"
                       "X-Content-Type-Options: nosniff\r\n"
                       "Vary: Origin\r\n");
    if (origin.at && http_origin_is_allowed(front, request)) {
        text_puts(headers, "Access-Control-Allow-Origin: ");
        text_append(headers, origin.at, origin.len);
        text_puts(headers, "\r\nAccess-Control-Expose-Headers: ETag, Retry-After\r\n");
    }
    if (further) {
        text_puts(headers, further);
    }
}

static void respond(const struct front *front, struct connection *connection,
                    const struct http_request *request, const struct http_answer *answer,
                    const char *code, const char *message)
{
    const bool close = answer->close || !http_request_keeps_alive(request);
    struct text headers = TEXT_EMPTY, text = TEXT_EMPTY;
    struct http_response response = {
        .status = answer->status,
        .content_type = answer->body.at ? "application/json" : NULL,
        .body = answer->body,
        .now = time(NULL),
        .head_only = http_request_method(request) == HTTP_METHOD_HEAD,
        .close = close,
    };

    write_headers(&headers, front, request, answer->headers);
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
        connection_respond(connection, text_to_bytes(&text), close);
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
