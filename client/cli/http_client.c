#include "client/cli/http_client.h"

#include <errno.h>

void http_reply_deinit(struct http_reply *reply)
{
    text_deinit(&reply->body);
}

/* Taking less than was given ends the exchange. */
static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct text *body = context;

    if (size * count > HTTP_BODY_MAX - body->len) {
        return 0;
    }
    text_append(body, data, size * count);
    return text_failed(body) ? 0 : size * count;
}

static int make_list(const char *const headers[], size_t count, struct curl_slist **ret_list)
{
    struct curl_slist *list = NULL;

    assert(count <= HTTP_HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct curl_slist *longer = curl_slist_append(list, headers[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return -ENOMEM;
        }
        list = longer;
    }
    *ret_list = list;
    return 0;
}

/* What came of it. */
static int read_reply(CURL *handle, struct http_reply *reply)
{
    long status = 0, version = 0;
    curl_off_t seconds = 0;

    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds);
    reply->status = (int)status;
    reply->retry_after_s = (long)seconds;
    return status > 0 && version > 0 ? 0 : WIRE_BAD_PROTOCOL;
}

static int exchange(CURL *handle, struct curl_slist *headers, struct http_reply *reply)
{
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reply->body);
    const int rc = wire_result(handle, curl_easy_perform(handle));
    if (text_failed(&reply->body)) {
        return -ENOMEM;
    }
    return rc ? rc : read_reply(handle, reply);
}

int http_client_get(const struct wire_address *address, const char *path,
                    const char *const headers[], size_t header_count, int64_t deadline,
                    struct http_reply *ret_reply)
{
    CLEANUP(text_deinit) struct text url = TEXT_EMPTY;
    struct curl_slist *list = NULL;
    struct http_reply reply = {0};

    text_printf(&url, "%s%s", address->url, path);
    CURL *handle = text_failed(&url) ? NULL : wire_handle_new(url.data, deadline);
    int rc = handle ? make_list(headers, header_count, &list) : -ENOMEM;
    if (rc == 0) {
        rc = exchange(handle, list, &reply);
    }
    curl_easy_cleanup(handle);
    curl_slist_free_all(list);
    if (rc) {
        http_reply_deinit(&reply);
        return rc;
    }
    *ret_reply = reply;
    return 0;
}
