/* A listening TCP socket, for clients or for the admin port.
 *
 * Receives   an address, from supervisor
 * Hands on   the descriptor, which the workers inherit (or admin keeps), and the real port
 * Owns       nothing
 */
#ifndef PROGRESSD_BROKER_NET_LISTEN_SOCKET_H
#define PROGRESSD_BROKER_NET_LISTEN_SOCKET_H

#include "broker/config/config.h"

/* Makes a socket that listens there: non-blocking, closed on exec. The descriptor, the caller's,
 * and in *ret_bound the address with its real port; or -errno. */
int listen_socket_open(const struct config_address *address,
                       struct config_address *ret_bound) MUST_CHECK;

#endif
