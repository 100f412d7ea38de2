#include "broker/config/origin.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define SEPARATORS ", \t"

void origins_deinit(struct origins *origins)
{
    mem_free(origins->items);
    *origins = (struct origins){0};
}

static uint16_t scheme_port(const char *scheme)
{
    if (strcmp(scheme, "https") == 0) {
        return 443;
    }
    return strcmp(scheme, "http") == 0 ? 80 : 0;
}

/* Copies in lower case; false when it doesn't fit, is empty, or has other characters than letters,
 * digits and `others`. */
static bool copy_lower(char *buffer, size_t size, struct span text, const char *others)
{
    if (text.len == 0 || text.len >= size) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];

        if (c == '\0' || c > 127 || (!isalnum(c) && !strchr(others, c))) {
            return false;
        }
        buffer[i] = (char)tolower(c);
    }
    buffer[text.len] = '\0';
    return true;
}

static bool origin_read_port(struct span digits, uint16_t *ret_port)
{
    uint32_t port = 0;

    if (digits.len == 0 || digits.len > 5) {
        return false;
    }
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(digits.at[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

/* Reads host[:port] into an origin whose scheme, which gives the default port, is known. */
static bool read_authority(struct span authority, struct origin *origin)
{
    bool is_ip6 = authority.len > 0 && authority.at[0] == '[';
    const char *end = authority.at + authority.len;
    const char *bracket = is_ip6 ? memchr(authority.at, ']', authority.len) : NULL;
    struct span host = authority;
    const char *colon;

    if (is_ip6) {
        if (!bracket) {
            return false;
        }
        host.len = (size_t)(bracket + 1 - authority.at);
        colon = bracket + 1 < end ? bracket + 1 : NULL;
        if (colon && *colon != ':') {
            return false;
        }
    } else {
        colon = authority.len > 0 ? memchr(authority.at, ':', authority.len) : NULL;
        if (colon) {
            host.len = (size_t)(colon - authority.at);
        }
    }
    origin->port = scheme_port(origin->scheme);
    if (colon &&
        !origin_read_port((struct span){colon + 1, (size_t)(end - colon - 1)}, &origin->port)) {
        return false;
    }
    return copy_lower(origin->host, sizeof(origin->host), host, is_ip6 ? ":.[]" : ".-_");
}

/* Reads scheme://host[:port], and nothing behind it. */
static bool read_origin(struct span text, struct origin *ret_origin)
{
    const char *separator = text.len > 0 ? memmem(text.at, text.len, "://", 3) : NULL;

    if (!separator) {
        return false;
    }
    size_t scheme_len = (size_t)(separator - text.at);
    return copy_lower(ret_origin->scheme, sizeof(ret_origin->scheme),
                      (struct span){text.at, scheme_len}, "+-.") &&
           read_authority((struct span){separator + 3, text.len - scheme_len - 3}, ret_origin);
}

static bool same_host(const struct origin *a, const struct origin *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* The origin of a page that has none (RFC 6454, 6.2). */
static bool is_null(struct span text)
{
    return text.len == 4 && memcmp(text.at, "null", 4) == 0;
}

static int add_one(struct origins *origins, struct span word)
{
    struct origin origin;

    if (word.len == 1 && word.at[0] == '*') {
        origins->any = true;
        return 0;
    }
    if (is_null(word)) {
        origins->allows_null = true;
        return 0;
    }
    if (!read_origin(word, &origin)) {
        return ORIGIN_INVALID;
    }
    struct origin *items =
        mem_realloc(origins->items, (origins->count + 1) * sizeof(*origins->items));
    if (!items) {
        return -ENOMEM;
    }
    origins->items = items;
    items[origins->count++] = origin;
    return 0;
}

int origins_add(struct origins *origins, const char *list, struct span *ret_fault)
{
    for (list += strspn(list, SEPARATORS); *list; list += strspn(list, SEPARATORS)) {
        struct span word = {list, strcspn(list, SEPARATORS)};
        int rc = add_one(origins, word);

        if (rc) {
            *ret_fault = word;
            return rc;
        }
        list += word.len;
    }
    return 0;
}

void origins_write(const struct origins *origins, struct text *text)
{
    const char *separator = "";

    if (origins->any) {
        text_puts(text, "*");
        separator = " ";
    }
    if (origins->allows_null) {
        text_printf(text, "%snull", separator);
        separator = " ";
    }
    for (size_t i = 0; i < origins->count; i++) {
        const struct origin *origin = &origins->items[i];

        text_printf(text, "%s%s://%s", separator, origin->scheme, origin->host);
        if (origin->port != scheme_port(origin->scheme)) {
            text_printf(text, ":%u", origin->port);
        }
        separator = " ";
    }
}

bool origin_is_allowed(const struct origins *origins, struct span origin, struct span host)
{
    struct origin page, own;

    if (origins->any || (origins->allows_null && is_null(origin))) {
        return true;
    }
    if (!read_origin(origin, &page)) {
        return false;
    }
    if (origins->count == 0 && !origins->allows_null) {
        memcpy(own.scheme, page.scheme, sizeof(own.scheme));
        return read_authority(host, &own) && same_host(&page, &own);
    }
    for (size_t i = 0; i < origins->count; i++) {
        if (strcmp(page.scheme, origins->items[i].scheme) == 0 &&
            same_host(&page, &origins->items[i])) {
            return true;
        }
    }
    return false;
}
