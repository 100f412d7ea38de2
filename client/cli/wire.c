#include "client/cli/wire.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ── Addresses ───────────────────────────────────────────────────────────────────────────────── */

static bool parse_host(const char **at, char host[256])
{
    const char *begin = *at, *end;

    if (*begin == '[') {
        begin++;
        end = strchr(begin, ']');
        *at = end ? end + 1 : begin;
    } else {
        end = begin + strcspn(begin, ":/?#@");
        *at = end;
    }
    if (!end || end == begin || end - begin > 255) {
        return false;
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    return true;
}

static bool parse_port(const char **at, char port[6])
{
    size_t len;

    if (**at != ':') {
        strcpy(port, "80");
        return true;
    }
    (*at)++;
    len = strspn(*at, "0123456789");
    if (len == 0 || len > 5) {
        return false;
    }
    memcpy(port, *at, len);
    port[len] = '\0';
    *at += len;
    return atoi(port) >= 1 && atoi(port) <= 65535;
}

int wire_address_parse(const char *url, struct wire_address *ret_address)
{
    struct wire_address address;
    const char *at = url + strlen("http://");

    if (strncmp(url, "http://", strlen("http://")) != 0 || !parse_host(&at, address.host) ||
        !parse_port(&at, address.port)) {
        return WIRE_BAD_URL;
    }
    if (strcmp(at, "") != 0 && strcmp(at, "/") != 0) {
        return WIRE_BAD_URL;
    }
    *ret_address = address;
    return 0;
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

/* 0; -ETIMEDOUT; -errno. */
static int wait_for(int fd, short events, int64_t deadline)
{
    struct pollfd polled = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = deadline - wire_clock();
        int timeout = left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
        int ready = poll(&polled, 1, timeout);

        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
        if (left <= 0) {
            return -ETIMEDOUT;
        }
    }
}

/* ── The connection ──────────────────────────────────────────────────────────────────────────── */

/* 0; -ETIMEDOUT; -errno. */
static int finish_connecting(int fd, int64_t deadline)
{
    int error = 0, result = wait_for(fd, POLLOUT, deadline);
    socklen_t size = sizeof(error);

    if (result < 0) {
        return result;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

static int connect_to(struct wire *wire, const struct addrinfo *address, int64_t deadline)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), result = 0;

    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        result = errno == EINPROGRESS ? finish_connecting(fd, deadline) : -errno;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    wire->fd = fd;
    return 0;
}

int wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int result = WIRE_UNKNOWN_HOST;

    if (getaddrinfo(address->host, address->port, &hints, &found) != 0) {
        return WIRE_UNKNOWN_HOST;
    }
    for (struct addrinfo *each = found; each && result != 0; each = each->ai_next) {
        result = connect_to(wire, each, deadline);
    }
    freeaddrinfo(found);
    return result;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0) {
        close(wire->fd);
        *wire = WIRE_CLOSED;
    }
}

static bool is_to_wait(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

int wire_write(struct wire *wire, const void *data, size_t len, int64_t deadline)
{
    const char *at = data, *end = at + len;

    while (at < end) {
        ssize_t sent = send(wire->fd, at, (size_t)(end - at), MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            continue;
        }
        int result = is_to_wait(errno) ? wait_for(wire->fd, POLLOUT, deadline) : -errno;
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

int wire_read(struct wire *wire, void *buffer, size_t size, int64_t deadline, size_t *ret_len)
{
    for (;;) {
        ssize_t received = recv(wire->fd, buffer, size, 0);
        if (received > 0) {
            *ret_len = (size_t)received;
            return 0;
        }
        if (received == 0) {
            return WIRE_ENDED;
        }
        int result = is_to_wait(errno) ? wait_for(wire->fd, POLLIN, deadline) : -errno;
        if (result < 0) {
            return result;
        }
    }
}
