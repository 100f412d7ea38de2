/* A listening TCP socket, for clients or for the admin port.
 *
 * Receives   an address
 * Hands on   the descriptor, which the workers inherit (or admin keeps), and the real port
 * Owns       nothing
 */
#ifndef PROGRESSD_BROKER_NET_LISTEN_SOCKET_H
#define PROGRESSD_BROKER_NET_LISTEN_SOCKET_H

#include "broker/config/config.h"

/* Those for clients, one for each address of `listen`, in its order. */
struct listen_sockets {
    int fds[CONFIG_LISTENERS_MAX];
    uint32_t count;
};

/* Makes a socket that listens there: non-blocking, closed on exec. The descriptor, the caller's,
 * and in *ret_bound the address with its real port; or -errno. */
int listen_socket_open(const struct config_address *address,
                       struct config_address *ret_bound) MUST_CHECK;

#endif
