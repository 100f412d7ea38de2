#include "client/cli/wire.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *wire_outcome_text(int rc)
{
    switch (rc) {
    case WIRE_BAD_URL:
        return "that is no http:// or https:// URL";
    case WIRE_UNKNOWN_HOST:
        return "there is no such host";
    case WIRE_UNTRUSTED:
        return "TLS failed: its certificate isn't trusted here, or it doesn't speak TLS";
    case WIRE_ENDED:
        return "the connection was cut";
    case WIRE_BAD_PROTOCOL:
        return "it doesn't speak HTTP and WebSocket";
    case WIRE_REFUSED:
        return "it refuses WebSocket";
    default:
        return strerror(-rc);
    }
}

/* ── Addresses ───────────────────────────────────────────────────────────────────────────────── */

/* The part's text, into `size` bytes; "" where there is none. False: it doesn't fit. */
static bool copy_part(CURLU *url, CURLUPart part, char *buffer, size_t size)
{
    char *text = NULL;

    buffer[0] = '\0';
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK) {
        return true;
    }
    const bool fits = strlen(text) < size;
    if (fits) {
        strcpy(buffer, text);
    }
    curl_free(text);
    return fits;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char text[2];

    return !copy_part(url, part, text, sizeof(text)) || text[0] != '\0';
}

static void trim_slashes(char *path)
{
    size_t len = strlen(path);

    while (len > 0 && path[len - 1] == '/') {
        path[--len] = '\0';
    }
}

static bool wire_read_parts(CURLU *parsed, struct wire_address *address)
{
    char scheme[16], host[512], port[8];

    if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD) ||
        has_part(parsed, CURLUPART_QUERY) || has_part(parsed, CURLUPART_FRAGMENT) ||
        !copy_part(parsed, CURLUPART_SCHEME, scheme, sizeof(scheme)) ||
        !copy_part(parsed, CURLUPART_HOST, host, sizeof(host)) ||
        !copy_part(parsed, CURLUPART_PORT, port, sizeof(port)) ||
        !copy_part(parsed, CURLUPART_PATH, address->path, sizeof(address->path))) {
        return false;
    }
    if ((strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) || strcmp(port, "0") == 0) {
        return false;
    }
    trim_slashes(address->path);
    snprintf(address->authority, sizeof(address->authority), "%s%s%s", host, port[0] ? ":" : "",
             port);
    return snprintf(address->url, sizeof(address->url), "%s://%s%s", scheme, address->authority,
                    address->path) < (int)sizeof(address->url);
}

int wire_address_parse(const char *url, struct wire_address *ret_address)
{
    struct wire_address address;
    CURLU *parsed = curl_url();
    bool is_good = parsed &&
                   (strncmp(url, "http://", strlen("http://")) == 0 ||
                    strncmp(url, "https://", strlen("https://")) == 0) &&
                   curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                   wire_read_parts(parsed, &address);

    curl_url_cleanup(parsed);
    if (is_good) {
        *ret_address = address;
    }
    return is_good ? 0 : WIRE_BAD_URL;
}

/* ── Waiting ─────────────────────────────────────────────────────────────────────────────────── */

int64_t wire_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t wire_deadline(int64_t milliseconds)
{
    return wire_clock() + milliseconds;
}

/* Milliseconds, from `least` on. */
static int time_left(int64_t deadline, int least)
{
    const int64_t left = deadline - wire_clock();

    return left < least ? least : left > INT_MAX ? INT_MAX : (int)left;
}

/* 0; -ETIMEDOUT; -errno. */
static int wait_for(const struct wire *wire, short events, int64_t deadline)
{
    curl_socket_t fd = -1;

    if (curl_easy_getinfo(wire->handle, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd < 0) {
        return -ECONNRESET;
    }
    struct pollfd polled = {.fd = fd, .events = events};
    for (;;) {
        const int left = time_left(deadline, 0);
        const int ready = poll(&polled, 1, left);

        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
        if (left == 0) {
            return -ETIMEDOUT;
        }
    }
}

/* ── libcurl ─────────────────────────────────────────────────────────────────────────────────── */

CURL *wire_handle_new(const char *url, int64_t deadline)
{
    CURL *handle = curl_easy_init();
    const char *trusted = getenv("SSL_CERT_FILE");
    const long left = time_left(deadline, 1);

    if (!handle || curl_easy_setopt(handle, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(handle, CURLOPT_USERAGENT, "progressctl/" PROGRESSD_VERSION) != CURLE_OK ||
        (trusted && *trusted && curl_easy_setopt(handle, CURLOPT_CAINFO, trusted) != CURLE_OK)) {
        curl_easy_cleanup(handle);
        return NULL;
    }
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, left);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, left);
    return handle;
}

static int system_error(CURL *handle, int otherwise)
{
    long error = 0;

    curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &error);
    return error > 0 ? -(int)error : -otherwise;
}

int wire_result(CURL *handle, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return WIRE_UNKNOWN_HOST;
    case CURLE_COULDNT_CONNECT:
        return system_error(handle, ECONNREFUSED);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return system_error(handle, ECONNRESET);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
        return WIRE_UNTRUSTED;
    default:
        return WIRE_BAD_PROTOCOL;
    }
}

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

int wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline)
{
    CURL *handle = wire_handle_new(address->url, deadline);

    if (!handle) {
        return -ENOMEM;
    }
    curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(handle, CURLOPT_HTTPPROXYTUNNEL, 1L);
    const int rc = wire_result(handle, curl_easy_perform(handle));
    if (rc) {
        curl_easy_cleanup(handle);
        return rc;
    }
    wire->handle = handle;
    return 0;
}

void wire_close(struct wire *wire)
{
    curl_easy_cleanup(wire->handle);
    *wire = WIRE_CLOSED;
}

int wire_write(struct wire *wire, const void *data, size_t len, int64_t deadline)
{
    const char *at = data, *end = at + len;

    while (at < end) {
        size_t sent = 0;
        const CURLcode code = curl_easy_send(wire->handle, at, (size_t)(end - at), &sent);
        const int rc = code == CURLE_AGAIN ? wait_for(wire, POLLOUT, deadline)
                                           : wire_result(wire->handle, code);

        if (rc) {
            return rc;
        }
        at += sent;
    }
    return 0;
}

int wire_read(struct wire *wire, void *buffer, size_t size, int64_t deadline, size_t *ret_len)
{
    for (;;) {
        size_t received = 0;
        const CURLcode code = curl_easy_recv(wire->handle, buffer, size, &received);

        if (code == CURLE_OK && received > 0) {
            *ret_len = received;
            return 0;
        }
        if (code == CURLE_OK || code == CURLE_UNSUPPORTED_PROTOCOL) { /* closed now, or before */
            return WIRE_ENDED;
        }
        const int rc = code == CURLE_AGAIN ? wait_for(wire, POLLIN, deadline)
                                           : wire_result(wire->handle, code);
        if (rc) {
            return rc;
        }
    }
}
