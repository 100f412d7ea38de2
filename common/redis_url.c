#include "common/redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/mem.h"

#define DEFAULT_PORT 6379

static int invalid(char *why, const char *reason)
{
    snprintf(why, REDIS_URL_WHY_SIZE, "%s", reason);
    return REDIS_URL_INVALID;
}

static void wipe(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    mem_free(secret);
}

void redis_url_deinit(struct redis_url *redis)
{
    wipe(redis->url);
    wipe(redis->password);
    mem_free(redis->user);
    mem_free(redis->host);
    mem_free(redis->path);
    *redis = (struct redis_url){.kind = REDIS_URL_NONE};
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    digit = (char)tolower((unsigned char)digit);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* A decoded copy of `len` characters. */
static int decode(const char *text, size_t len, char **ret_decoded, char *why)
{
    char *decoded = mem_alloc(len + 1);
    size_t written = 0;

    if (!decoded) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < len; i++) {
        decoded[written] = text[i];
        if (text[i] == '%') {
            int high = i + 2 < len ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(text[i + 2]) : -1;

            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                mem_free(decoded);
                return invalid(why, "has a % that is not followed by two hexadecimal digits "
                                    "(% itself is %25), or %00");
            }
            decoded[written] = (char)(high << 4 | low);
            i += 2;
        }
        written++;
    }
    decoded[written] = '\0';
    *ret_decoded = decoded;
    return 0;
}

/* Reads user:password. */
static int read_userinfo(const char *text, size_t len, struct redis_url *redis, char *why)
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon ? (size_t)(colon - text) : len;
    int rc = 0;

    if (user_len > 0) {
        rc = decode(text, user_len, &redis->user, why);
    }
    if (rc == 0 && colon) {
        rc = decode(colon + 1, len - user_len - 1, &redis->password, why);
    }
    return rc;
}

static int read_port(const char *digits, size_t len, struct redis_url *redis, char *why)
{
    uint32_t port = 0;

    for (size_t i = 0; i < len && port <= UINT16_MAX; i++) {
        if (!isdigit((unsigned char)digits[i])) {
            port = 0;
            break;
        }
        port = port * 10 + (uint32_t)(digits[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return invalid(why, "must have a port from 1 to 65535");
    }
    redis->port = (uint16_t)port;
    return 0;
}

static int read_host(const char *text, size_t len, struct redis_url *redis, char *why)
{
    const char *bracket = len > 0 && text[0] == '[' ? memchr(text, ']', len) : NULL;
    const char *host = bracket ? text + 1 : text;
    const char *host_end = bracket ? bracket : memchr(text, ':', len);
    const char *end = text + len;

    if (!host_end) {
        host_end = end;
    }
    const char *rest = bracket ? bracket + 1 : host_end;
    if (host == host_end) {
        return invalid(why, "must name a host: redis://[user[:password]@]host[:port]");
    }
    for (const char *at = host; at < host_end; at++) {
        if (!isalnum((unsigned char)*at) && !strchr(bracket ? ":." : ".-_", *at)) {
            return invalid(why, "must have a host name or address; special characters in user and "
                                "password are written %XX");
        }
    }
    redis->port = DEFAULT_PORT;
    if (rest < end) {
        int rc = *rest == ':' ? read_port(rest + 1, (size_t)(end - rest - 1), redis, why)
                              : invalid(why, "must have a colon and a port after the host");
        if (rc) {
            return rc;
        }
    }
    redis->host = mem_strndup(host, (size_t)(host_end - host));
    return redis->host ? 0 : -ENOMEM;
}

/* Checks what follows the host: nothing, or the number of the one database that is used. */
static int check_database(const char *path, char *why)
{
    if (*path == '\0' || strcmp(path, "/") == 0 || strcmp(path, "/0") == 0) {
        return 0;
    }
    if (*path == '/' && strspn(path + 1, "0123456789") == strlen(path + 1)) {
        return invalid(why, "must not have a database number but 0: Redis' pub/sub ignores them; "
                            "redis-prefix keeps installations apart");
    }
    return invalid(why, "must end after the port");
}

static int read_tcp(const char *rest, struct redis_url *redis, char *why)
{
    size_t authority = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', authority);
    const char *host = at ? at + 1 : rest;

    redis->kind = REDIS_URL_TCP;
    if (at) {
        int rc = read_userinfo(rest, (size_t)(at - rest), redis, why);
        if (rc) {
            return rc;
        }
    }
    int rc = read_host(host, (size_t)(rest + authority - host), redis, why);
    return rc ? rc : check_database(rest + authority, why);
}

static int read_unix(const char *rest, struct redis_url *redis, char *why)
{
    const char *path = strchr(rest, '/');

    redis->kind = REDIS_URL_UNIX;
    if (!path || (path > rest && path[-1] != '@')) {
        return invalid(why, "must have a whole path: unix:///path or unix://user:password@/path");
    }
    if (path > rest) {
        int rc = read_userinfo(rest, (size_t)(path - rest - 1), redis, why);
        if (rc) {
            return rc;
        }
    }
    if (strpbrk(path, "?#")) {
        return invalid(why, "must end after the path; ? and # in it are written %3F and %23");
    }
    int rc = decode(path, strlen(path), &redis->path, why);
    if (rc == 0 && strlen(redis->path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return invalid(why, "must have a path of at most 107 bytes, as long as a socket's can be");
    }
    return rc;
}

static int read_parts(const char *url, struct redis_url *redis, char *why)
{
    if (strncasecmp(url, "redis://", 8) == 0) {
        return read_tcp(url + 8, redis, why);
    }
    if (strncasecmp(url, "unix://", 7) == 0) {
        return read_unix(url + 7, redis, why);
    }
    if (strncasecmp(url, "rediss://", 9) == 0) {
        return invalid(why, "cannot be rediss://: TLS to Redis is not supported in this version");
    }
    return *url ? invalid(why, "must begin with redis:// or unix://, or be empty") : 0;
}

int redis_url_read(const char *url, struct redis_url *ret_redis, char why[REDIS_URL_WHY_SIZE])
{
    struct redis_url redis = {.kind = REDIS_URL_NONE};
    int rc = read_parts(url, &redis, why);

    if (rc == 0) {
        redis.url = mem_strndup(url, strlen(url));
        rc = redis.url ? 0 : -ENOMEM;
    }
    if (rc) {
        redis_url_deinit(&redis);
        return rc;
    }
    *ret_redis = redis;
    return 0;
}

void redis_url_of_socket(const char *path, struct text *text)
{
    text_puts(text, "unix://");
    for (; *path; path++) {
        if (isalnum((unsigned char)*path) || strchr("/._-~", *path)) {
            text_append(text, path, 1);
        } else {
            text_printf(text, "%%%02X", (unsigned char)*path);
        }
    }
}
