/* A request is read in three steps:
 *
 *   1. The head is collected as it comes, its form checked by http_head.
 *   2. The head is parsed by llhttp, whole, so that every value is one span of `text`; and what
 *      llhttp doesn't ask about is checked.
 *   3. The body is given to llhttp as it comes, for its framing only, and dropped.
 *
 * Places in `text` are kept as offsets, since it may move while it grows.
 */
#include "proto/http_request.h"

#include <ctype.h>
#include <errno.h>
#include <llhttp.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "proto/http_head.h"

#define TEXT_FIRST_CAPACITY 1024

/* Lines of headers that are kept, repeated ones included. Browsers and proxies send a dozen. */
#define FIELDS_MAX 32

/* Headers that are checked, and not handed on. */
enum {
    HEADER_CONTENT_LENGTH = HTTP_HEADERS,
    HEADER_TRANSFER_ENCODING,
    KNOWN_HEADERS,
    HEADER_UNKNOWN = KNOWN_HEADERS,
};

static const struct {
    const char *name;
    bool repeats; /* a list, which may come in several fields */
} known_headers[KNOWN_HEADERS] = {
    [HTTP_HEADER_HOST] = {"Host", false},
    [HTTP_HEADER_CONNECTION] = {"Connection", true},
    [HTTP_HEADER_UPGRADE] = {"Upgrade", true},
    [HTTP_HEADER_ORIGIN] = {"Origin", false},
    [HTTP_HEADER_AUTHORIZATION] = {"Authorization", false},
    [HTTP_HEADER_IF_NONE_MATCH] = {"If-None-Match", true},
    [HTTP_HEADER_ACCEPT] = {"Accept", true},
    [HTTP_HEADER_LAST_EVENT_ID] = {"Last-Event-ID", false},
    [HTTP_HEADER_SEC_WEBSOCKET_KEY] = {"Sec-WebSocket-Key", false},
    [HTTP_HEADER_SEC_WEBSOCKET_VERSION] = {"Sec-WebSocket-Version", false},
    [HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS] = {"Access-Control-Request-Headers", true},
    [HEADER_CONTENT_LENGTH] = {"Content-Length", false},
    [HEADER_TRANSFER_ENCODING] = {"Transfer-Encoding", false},
};

/* A part of `text`. The request line stands at 0, so no value does: {0, 0} is none. */
struct piece {
    uint16_t at, len;
};

struct field {
    unsigned header;
    struct piece value;
};

struct http_request {
    llhttp_t parser;
    struct http_head head;
    bool head_parsed; /* llhttp has seen its end */
    char *text;       /* the head, then the joined values of repeated fields */
    size_t len, capacity, head_len;
    struct piece target_piece;
    struct http_target target; /* once `text` is whole */
    unsigned current_header;   /* whose value llhttp comes to */
    struct field fields[FIELDS_MAX];
    size_t field_count;
    struct piece values[KNOWN_HEADERS];
    size_t body_len; /* as it came, the framing of chunks included */
    const char *error;
};

/* ── Step 1: collecting the head ─────────────────────────────────────────────────────────────── */

/* Makes room for `len` more bytes. 0 or -ENOMEM. */
static int reserve_text(struct http_request *request, size_t len)
{
    size_t capacity = request->capacity > 0 ? request->capacity : TEXT_FIRST_CAPACITY;
    char *text;

    while (capacity < request->len + len) {
        capacity *= 2;
    }
    if (capacity == request->capacity) {
        return 0;
    }
    text = mem_realloc(request->text, capacity);
    if (!text) {
        return -ENOMEM;
    }
    request->text = text;
    request->capacity = capacity;
    return 0;
}

static void append_text(struct http_request *request, const char *data, size_t len)
{
    memcpy(request->text + request->len, data, len);
    request->len += len;
}

static int refuse(struct http_request *request, int outcome, const char *error)
{
    request->error = error;
    return outcome;
}

/* 0; an outcome; -ENOMEM. */
static int feed_head(struct http_request *request, const char *data, size_t len, size_t *ret_used)
{
    size_t room = HTTP_REQUEST_MAX - request->len;
    const char *error = http_head_check(&request->head, data, len < room ? len : room, ret_used);

    if (error) {
        return refuse(request, HTTP_REQUEST_BAD, error);
    }
    if (reserve_text(request, *ret_used) < 0) {
        return -ENOMEM;
    }
    append_text(request, data, *ret_used);
    if (*ret_used < len && !http_head_is_complete(&request->head)) {
        return refuse(request, HTTP_REQUEST_TOO_LARGE, "the request's head is too large");
    }
    return 0;
}

/* ── Step 2: the head's meaning ──────────────────────────────────────────────────────────────── */

static struct span span_of(const struct http_request *request, struct piece piece)
{
    return piece.at > 0 ? (struct span){request->text + piece.at, piece.len}
                        : (struct span){NULL, 0};
}

static struct piece piece_of(const struct http_request *request, const char *at, size_t len)
{
    return (struct piece){(uint16_t)(at - request->text), (uint16_t)len};
}

static bool span_is_in_any_case(struct span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

static struct span trim(struct span span)
{
    while (span.len > 0 && (span.at[0] == ' ' || span.at[0] == '\t')) {
        span.at++;
        span.len--;
    }
    while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t')) {
        span.len--;
    }
    return span;
}

static unsigned find_header(struct span name)
{
    unsigned header = 0;

    while (header < KNOWN_HEADERS && !span_is_in_any_case(name, known_headers[header].name)) {
        header++;
    }
    return header;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;

    request->target_piece = piece_of(request, at, len);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;

    /* Behind the head these are the trailers of a chunked body: dropped. */
    request->current_header =
        request->head_parsed ? HEADER_UNKNOWN : find_header((struct span){at, len});
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;
    unsigned header = request->current_header;
    struct span value = trim((struct span){at, len});

    if (header == HEADER_UNKNOWN) {
        return 0;
    }
    if (request->field_count == FIELDS_MAX) {
        llhttp_set_error_reason(parser, "too many headers");
        return HPE_USER;
    }
    request->fields[request->field_count++] =
        (struct field){header, piece_of(request, value.at, value.len)};
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_request *request = parser->data;

    request->head_parsed = true;
    return 0;
}

/* Stops behind the request: what follows is the next one's, or another protocol's. */
static int on_message_complete(llhttp_t *parser)
{
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_message_complete = on_message_complete,
};

/* Joins the fields of a header (RFC 9110, 5.3) behind the head. 0 or -ENOMEM. */
static int join_fields(struct http_request *request, unsigned header)
{
    size_t start = request->len;

    for (size_t i = 0; i < request->field_count; i++) {
        struct piece value = request->fields[i].value;
        if (request->fields[i].header != header) {
            continue;
        }
        if (reserve_text(request, value.len + 2) < 0) {
            return -ENOMEM;
        }
        if (request->len > start) {
            append_text(request, ", ", 2);
        }
        append_text(request, request->text + value.at, value.len);
    }
    request->values[header] = (struct piece){(uint16_t)start, (uint16_t)(request->len - start)};
    return 0;
}

/* 0; HTTP_REQUEST_BAD; -ENOMEM. */
static int collect_values(struct http_request *request)
{
    for (size_t i = 0; i < request->field_count; i++) {
        const struct field *field = &request->fields[i];
        struct piece *value = &request->values[field->header];
        bool joined = value->at >= request->head_len;

        if (value->at == 0) {
            *value = field->value;
        } else if (!known_headers[field->header].repeats) {
            return refuse(request, HTTP_REQUEST_BAD,
                          "a header that may come only once is repeated");
        } else if (!joined && join_fields(request, field->header) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static bool is_http_1_1(const struct http_request *request)
{
    return request->parser.http_major == 1 && request->parser.http_minor == 1;
}

/* The version by its text: to llhttp RTSP/1.1 is 1.1, too. */
static const char *check_version(const struct http_request *request)
{
    struct span target = span_of(request, request->target_piece);
    struct span version = {target.at + target.len + 1, strlen("HTTP/1.1")};

    return span_is(version, "HTTP/1.1") || span_is(version, "HTTP/1.0")
               ? NULL
               : "the version must be HTTP/1.1 or HTTP/1.0";
}

/* Methods of RFC 9110 and PATCH (RFC 5789). */
static const char *check_method(const struct http_request *request)
{
    switch (request->parser.method) {
    case HTTP_GET:
    case HTTP_HEAD:
    case HTTP_OPTIONS:
    case HTTP_POST:
    case HTTP_PUT:
    case HTTP_DELETE:
    case HTTP_PATCH:
    case HTTP_CONNECT:
    case HTTP_TRACE:
        return NULL;
    default:
        return "not a method of HTTP";
    }
}

/* RFC 9112, 3.2: two methods have a form of target of their own. */
static const char *check_target(struct http_request *request)
{
    struct span target = span_of(request, request->target_piece);

    request->target = (struct http_target){target, {NULL, 0}};
    if (span_is(target, "*")) {
        return request->parser.method == HTTP_OPTIONS ? NULL : "the target * is for OPTIONS only";
    }
    if (request->parser.method == HTTP_CONNECT) {
        return NULL;
    }
    return http_target_divide(target, &request->target);
}

/* RFC 9112, 3.2; the characters are those of RFC 3986, 3.2.2 and 3.2.3. */
static const char *check_host(const struct http_request *request)
{
    struct span host = http_request_header(request, HTTP_HEADER_HOST);

    if (!host.at) {
        return is_http_1_1(request) ? "the header Host is missing" : NULL;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (!isalnum((unsigned char)host.at[i]) && !strchr("-._~!$&'()*+,;=%:[]", host.at[i])) {
            return "the header Host isn't a host";
        }
    }
    return NULL;
}

/* How long the body is must be beyond doubt (RFC 9112, 6.1 and 6.3), or the next request begins
 * where a proxy in front doesn't think it does. */
static const char *check_framing(const struct http_request *request)
{
    struct span coding = span_of(request, request->values[HEADER_TRANSFER_ENCODING]);

    if (!coding.at) {
        return NULL;
    }
    if (request->values[HEADER_CONTENT_LENGTH].at > 0) {
        return "Content-Length together with Transfer-Encoding";
    }
    if (!is_http_1_1(request) || !span_is_in_any_case(coding, "chunked")) {
        return "the only Transfer-Encoding is chunked, in HTTP/1.1";
    }
    return NULL;
}

static const char *check_head(struct http_request *request)
{
    const char *error = check_version(request);

    error = error ? error : check_method(request);
    error = error ? error : check_target(request);
    error = error ? error : check_host(request);
    return error ? error : check_framing(request);
}

/* Looks at how llhttp went on. 0: it wants more; HTTP_REQUEST_COMPLETE; HTTP_REQUEST_BAD. */
static int outcome_of(struct http_request *request, llhttp_errno_t result)
{
    switch (result) {
    case HPE_OK:
        return 0;
    case HPE_PAUSED:
        return HTTP_REQUEST_COMPLETE;
    default:
        return refuse(request, HTTP_REQUEST_BAD, llhttp_get_error_reason(&request->parser));
    }
}

/* Parses the collected head. 0: a body follows; an outcome; -ENOMEM. */
static int parse_head(struct http_request *request)
{
    const char *error;
    int outcome, result;

    request->head_len = request->len;
    outcome = outcome_of(request, llhttp_execute(&request->parser, request->text, request->len));
    if (outcome == HTTP_REQUEST_BAD) {
        return outcome;
    }
    if (!request->head_parsed) { /* PRI, the preface of HTTP/2, goes on behind its empty line */
        return refuse(request, HTTP_REQUEST_BAD, "not a method of HTTP");
    }
    result = collect_values(request);
    if (result) {
        return result;
    }
    error = check_head(request);
    if (error) {
        return refuse(request, HTTP_REQUEST_BAD, error);
    }
    if (outcome == 0 && request->parser.content_length > HTTP_REQUEST_BODY_MAX) {
        return refuse(request, HTTP_REQUEST_BODY_TOO_LARGE, "the request's body is too large");
    }
    return outcome;
}

/* ── Step 3: the body ────────────────────────────────────────────────────────────────────────── */

/* 0; an outcome. */
static int feed_body(struct http_request *request, const char *data, size_t len, size_t *ret_used)
{
    size_t room = HTTP_REQUEST_BODY_MAX - request->body_len;
    size_t fed = len < room ? len : room;
    int outcome = outcome_of(request, llhttp_execute(&request->parser, data, fed));

    if (outcome == HTTP_REQUEST_COMPLETE) {
        fed = (size_t)(llhttp_get_error_pos(&request->parser) - data);
    } else if (outcome == 0 && fed < len) {
        outcome = refuse(request, HTTP_REQUEST_BODY_TOO_LARGE, "the request's body is too large");
    }
    request->body_len += fed;
    *ret_used += fed;
    return outcome;
}

/* ── The request ─────────────────────────────────────────────────────────────────────────────── */

struct http_request *http_request_new(void)
{
    struct http_request *request = mem_zalloc(1, sizeof(*request));

    if (request) {
        llhttp_init(&request->parser, HTTP_REQUEST, &settings);
        request->parser.data = request;
    }
    return request;
}

void http_request_free(struct http_request *request)
{
    if (request) {
        mem_free(request->text);
        mem_free(request);
    }
}

int http_request_feed(struct http_request *request, const char *data, size_t len, size_t *ret_used)
{
    int result;

    *ret_used = 0;
    if (!request->head_parsed) {
        result = feed_head(request, data, len, ret_used);
        if (result == 0 && http_head_is_complete(&request->head)) {
            result = parse_head(request);
        }
        if (result || !request->head_parsed) {
            return result;
        }
    }
    return *ret_used < len ? feed_body(request, data + *ret_used, len - *ret_used, ret_used) : 0;
}

enum http_method http_request_method(const struct http_request *request)
{
    switch (request->parser.method) {
    case HTTP_GET:
        return HTTP_METHOD_GET;
    case HTTP_HEAD:
        return HTTP_METHOD_HEAD;
    case HTTP_OPTIONS:
        return HTTP_METHOD_OPTIONS;
    default:
        return HTTP_METHOD_OTHER;
    }
}

struct span http_request_path(const struct http_request *request)
{
    return request->target.path;
}

struct span http_request_query(const struct http_request *request)
{
    return request->target.query;
}

struct span http_request_header(const struct http_request *request, enum http_header header)
{
    return span_of(request, request->values[header]);
}

bool http_request_header_lists(const struct http_request *request, enum http_header header,
                               const char *token)
{
    struct span rest = http_request_header(request, header);
    const char *end = rest.at ? rest.at + rest.len : NULL;

    while (rest.at) {
        const char *comma = memchr(rest.at, ',', (size_t)(end - rest.at));
        const char *element_end = comma ? comma : end;
        struct span element = {rest.at, (size_t)(element_end - rest.at)};
        if (span_is_in_any_case(trim(element), token)) {
            return true;
        }
        rest.at = comma ? comma + 1 : NULL;
    }
    return false;
}

bool http_request_keeps_alive(const struct http_request *request)
{
    /* What follows a refused CONNECT is anybody's guess (RFC 9110, 9.3.6). */
    return is_http_1_1(request) && request->parser.method != HTTP_CONNECT &&
           !http_request_header_lists(request, HTTP_HEADER_CONNECTION, "close");
}

bool http_request_upgrades(const struct http_request *request)
{
    return is_http_1_1(request) && http_request_header(request, HTTP_HEADER_UPGRADE).len > 0 &&
           http_request_header_lists(request, HTTP_HEADER_CONNECTION, "upgrade");
}

const char *http_request_error(const struct http_request *request)
{
    return request->error;
}
