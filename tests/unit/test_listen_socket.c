#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/listen_socket.h"

static const struct config_address loopback = {CONFIG_ADDRESS_IP4, "127.0.0.1", 0};

/* A client's socket to that port; -1 if nobody listens there. */
static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    cr_assert_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

Test(listen_socket, port_0_becomes_a_real_port_that_takes_clients)
{
    struct config_address bound;
    int fd = listen_socket_open(&loopback, &bound);

    cr_assert_geq(fd, 0);
    cr_assert_gt(bound.port, 0);
    cr_assert_str_eq(bound.ip, "127.0.0.1");
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);

    int client = connect_to(bound.port);
    cr_assert_geq(client, 0);
    close(client);
    close(fd);
    cr_assert_lt(connect_to(bound.port), 0);
}

Test(listen_socket, accepted_sockets_send_at_once_and_hold_little)
{
    struct config_address bound;
    int fd = listen_socket_open(&loopback, &bound);
    int client = connect_to(bound.port), accepted = accept(fd, NULL, NULL);

    cr_assert_geq(accepted, 0);
    cr_assert(option_of(accepted, IPPROTO_TCP, TCP_NODELAY));
    cr_assert_eq(option_of(accepted, SOL_SOCKET, SO_SNDBUF), 2 * 32768);
    cr_assert_leq(option_of(accepted, IPPROTO_TCP, TCP_MAXSEG), 32768 / 2, "it holds several");
    close(accepted);
    close(client);
    close(fd);
}

Test(listen_socket, a_port_in_use_is_an_error_that_leaves_nothing_open)
{
    struct config_address bound, other = {.port = 1};
    int fd = listen_socket_open(&loopback, &bound);
    int next = dup(fd);

    cr_assert_eq(listen_socket_open(&bound, &other), -EADDRINUSE);
    cr_assert_eq(other.port, 1);
    close(next);
    int again = dup(fd);
    cr_assert_eq(again, next, "a descriptor was left open");
    close(again);
    close(fd);
}

Test(listen_socket, a_port_is_free_again_after_clients_were_closed)
{
    struct config_address bound;
    int fd = listen_socket_open(&loopback, &bound);
    int client = connect_to(bound.port), accepted = accept(fd, NULL, NULL);

    close(accepted); /* this side first: its port goes to TIME_WAIT */
    close(client);
    close(fd);
    fd = listen_socket_open(&bound, &bound);
    cr_assert_geq(fd, 0);
    close(fd);
}

Test(listen_socket, an_address_of_another_machine_is_an_error)
{
    const struct config_address elsewhere = {CONFIG_ADDRESS_IP4, "192.0.2.1", 0};
    struct config_address bound;

    cr_assert_eq(listen_socket_open(&elsewhere, &bound), -EADDRNOTAVAIL);
}

Test(listen_socket, every_address_takes_ip4)
{
    const struct config_address all = {CONFIG_ADDRESS_ALL, "", 0};
    struct config_address bound;
    int fd = listen_socket_open(&all, &bound), client;

    cr_assert_geq(fd, 0);
    client = connect_to(bound.port);
    cr_assert_geq(client, 0);
    close(client);
    close(fd);
}
