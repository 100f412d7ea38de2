#include "broker/net/listen_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections that wait to be accepted; the kernel takes no more than net.core.somaxconn. */
#define BACKLOG 4096

/* What the kernel may hold of what a slow client doesn't take (it doubles the figure). Left alone
 * it would grow to megabytes, with tens of thousands of clients; and what it holds is stale
 * progress, which can't be replaced by newer any more. */
#define SEND_BUFFER 32768

/* The loopback's segments are 64 KiB: with a send buffer that never fills one the receiver waits
 * 40 ms before it acknowledges, for each buffer of a larger answer. It must take several. Networks'
 * segments are smaller anyway. */
#define SEGMENT (SEND_BUFFER / 4)

union address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
};

static socklen_t fill(const struct config_address *from, union address *to)
{
    *to = (union address){.ip6 = {.sin6_port = 0}};
    if (from->kind == CONFIG_ADDRESS_IP4) {
        to->ip4.sin_family = AF_INET;
        to->ip4.sin_port = htons(from->port);
        inet_pton(AF_INET, from->ip, &to->ip4.sin_addr);
        return sizeof(to->ip4);
    }
    to->ip6.sin6_family = AF_INET6;
    to->ip6.sin6_port = htons(from->port);
    if (from->kind == CONFIG_ADDRESS_IP6) {
        inet_pton(AF_INET6, from->ip, &to->ip6.sin6_addr);
    }
    return sizeof(to->ip6);
}

/* Accepted sockets inherit the last three (Linux), so they are set once and not for each client. */
static int set_options(int fd, const struct config_address *address)
{
    const int on = 1, only_ip6 = address->kind == CONFIG_ADDRESS_IP6, send_buffer = SEND_BUFFER,
              segment = SEGMENT;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (address->kind != CONFIG_ADDRESS_IP4 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_ip6, sizeof(only_ip6)) < 0) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) < 0) {
        return -errno;
    }
    return 0;
}

/* The real port, or -errno. */
static int bind_and_listen(int fd, const struct config_address *address)
{
    union address socket_address;
    socklen_t len = fill(address, &socket_address);
    int r = set_options(fd, address);

    if (r < 0) {
        return r;
    }
    if (bind(fd, &socket_address.any, len) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &socket_address.any, &len) < 0) {
        return -errno;
    }
    return ntohs(socket_address.any.sa_family == AF_INET ? socket_address.ip4.sin_port
                                                         : socket_address.ip6.sin6_port);
}

static int open_one(const struct config_address *address, struct config_address *ret_bound)
{
    const int family = address->kind == CONFIG_ADDRESS_IP4 ? AF_INET : AF_INET6;
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int port;

    if (fd < 0) {
        return -errno;
    }
    port = bind_and_listen(fd, address);
    if (port < 0) {
        close(fd);
        return port;
    }
    *ret_bound = *address;
    ret_bound->port = (uint16_t)port;
    return fd;
}

int listen_socket_open(const struct config_address *address, struct config_address *ret_bound)
{
    int fd = open_one(address, ret_bound);

    if (address->kind == CONFIG_ADDRESS_ALL && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        fd = open_one(&(struct config_address){CONFIG_ADDRESS_IP4, "0.0.0.0", address->port},
                      ret_bound);
    }
    return fd;
}
