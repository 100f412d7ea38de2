#include "broker/web/web_page.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "broker/session/http_answer.h"
#include "broker/web/web_cache.h"
#include "broker/web/web_root.h"

/* Scripts of our own alone; pictures also within styles, where build tools put small ones; and
 * connections to whichever broker the page is told to watch. */
#define SECURITY_POLICY                                                   \
    "Content-Security-Policy: default-src 'self'; img-src 'self' data:; " \
    "style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss: http: https:\r\n"

/* ── What a file's name says ─────────────────────────────────────────────────────────────────── */

/* The name behind the last slash. */
static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static const char *content_type_of(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".css", "text/css; charset=utf-8"},
        {".html", "text/html; charset=utf-8"},
        {".ico", "image/vnd.microsoft.icon"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".png", "image/png"},
        {".svg", "image/svg+xml"},
        {".txt", "text/plain; charset=utf-8"},
        {".webmanifest", "application/manifest+json"},
        {".woff2", "font/woff2"},
    };
    const char *ending = strrchr(name_in(path), '.');

    for (size_t i = 0; ending && i < ARRAY_LEN(types); i++) {
        if (strcasecmp(types[i].ending, ending) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

static bool is_in_assets(const char *path, const char *name)
{
    const char folder[] = "assets/";
    const size_t len = strlen(folder);

    return (size_t)(name - path) >= len && memcmp(name - len, folder, len) == 0 &&
           ((size_t)(name - path) == len || name[-(ptrdiff_t)len - 1] == '/');
}

#define HASH_LEN 8

/* Whether the file's content is in its name. A word of small letters is taken for a word, although
 * it might be a hash: then the file is asked for again, and nothing is lost. */
static bool is_named_by_content(const char *path)
{
    const char *name = name_in(path), *ending = strrchr(name, '.');
    const char *hash = ending ? ending - HASH_LEN : NULL;
    bool is_word = true;

    if (!ending || ending - name < 1 + 1 + HASH_LEN || hash[-1] != '-' ||
        !is_in_assets(path, name)) {
        return false;
    }
    for (size_t i = 0; i < HASH_LEN; i++) {
        const unsigned char c = (unsigned char)hash[i];

        if (!isalnum(c) && c != '-' && c != '_') {
            return false;
        }
        is_word = is_word && (islower(c) || c == '-');
    }
    return !is_word;
}

/* ── Answers ─────────────────────────────────────────────────────────────────────────────────── */

static void web_page_refuse(const struct front *front, struct http_connection *http,
                            const struct http_request *request, const char *why)
{
    http_answer_error(front, http, request, &(struct http_answer){.status = 404}, "NOT_FOUND", why);
}

static void refuse_for_now(const struct front *front, struct http_connection *http,
                           const struct http_request *request)
{
    http_answer_error(front, http, request,
                      &(struct http_answer){.status = 503, .headers = "Retry-After: 1\r\n"},
                      error_code_name(ERROR_UNAVAILABLE), "the file can't be read now, try again");
}

/* To the same path with a slash behind, so that the page's relative links lead below it. */
static void redirect_to_folder(const struct front *front, struct http_connection *http,
                               const struct http_request *request)
{
    struct span path = http_request_path(request), query = http_request_query(request);
    CLEANUP(text_deinit) struct text headers = TEXT_EMPTY;

    text_printf(&headers, "Location: %.*s/", (int)path.len, path.at);
    if (query.at) {
        text_printf(&headers, "?%.*s", (int)query.len, query.at);
    }
    text_puts(&headers, "\r\n");
    if (text_failed(&headers)) {
        channel_abort(&http->channel);
        return;
    }
    http_answer(
        front, http, request,
        &(struct http_answer){.status = 301, .cache_control = "no-cache", .headers = headers.data});
}

static void send_content(const struct front *front, struct http_connection *http,
                         const struct http_request *request, const char *path,
                         const struct web_content *content)
{
    char headers[sizeof(SECURITY_POLICY) + sizeof("ETag: \"\"\r\n") + WEB_ETAG_SIZE];
    struct http_answer answer = {
        .status = 200,
        .content_type = content_type_of(path),
        .cache_control =
            is_named_by_content(path) ? "public, max-age=31536000, immutable" : "no-cache",
        .headers = headers,
    };

    snprintf(headers, sizeof(headers), SECURITY_POLICY "ETag: \"%s\"\r\n", content->etag);
    if (http_client_has(request, content->etag)) {
        answer.status = 304;
    } else {
        answer.shared_body = content->bytes;
    }
    http_answer(front, http, request, &answer);
}

static void answer_with_file(const struct front *front, struct http_connection *http,
                             const struct http_request *request, const struct web_file *file)
{
    const struct web_content *content;

    switch (web_cache_get(front->web_cache, file->fd, &file->status, &content)) {
    case 0:
        send_content(front, http, request, file->path, content);
        break;
    case WEB_CACHE_TOO_LARGE:
        web_page_refuse(front, http, request, "the file is too large to be served");
        break;
    default:
        refuse_for_now(front, http, request);
    }
}

void web_page_answer(const struct front *front, struct http_connection *http,
                     const struct http_request *request)
{
    const enum http_method method = http_request_method(request);
    struct web_file file;

    if (method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD) {
        http_answer_error(front, http, request,
                          &(struct http_answer){.status = 405, .headers = "Allow: GET, HEAD\r\n"},
                          "METHOD_NOT_ALLOWED", "use GET or HEAD");
        return;
    }
    switch (web_root_open(front->config->web_root, http_request_path(request), &file)) {
    case 0:
        answer_with_file(front, http, request, &file);
        close(file.fd);
        break;
    case WEB_ROOT_MISSING:
        web_page_refuse(front, http, request, "no such file");
        break;
    case WEB_ROOT_FOLDER:
        redirect_to_folder(front, http, request);
        break;
    default:
        refuse_for_now(front, http, request);
    }
}
