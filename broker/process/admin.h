/* The admin port: /metrics, /healthz, /readyz and /status over HTTP, in the supervisor's loop.
 *
 * Receives   a listening socket
 * Hands on   what node.h and the metrics page tell, as answers
 * Owns       the socket and its connections, ADMIN_MAX_CLIENTS at the most; borrows the node
 *
 * It is for those who run the node, and names everything to everybody who reaches it: so it is
 * bound to loopback unless told otherwise. Who takes too long for a request, or for taking its
 * answer, is closed. When all places are taken, a newcomer gets that of the client that has been
 * silent for longest: silent clients can't shut a health check out.
 */
#ifndef PROGRESSD_BROKER_PROCESS_ADMIN_H
#define PROGRESSD_BROKER_PROCESS_ADMIN_H

#include "broker/loop/loop.h"
#include "broker/process/node.h"

#define ADMIN_MAX_CLIENTS 64
#define ADMIN_REQUEST_TIMEOUT_MS 10000 /* for the first request, and for an answer to be taken */
#define ADMIN_IDLE_TIMEOUT_MS \
    75000 /* for each further one: longer than scrapers take between two */

struct admin;

/* Takes the descriptor over, also on failure. `node` must outlive the object. 0 and *ret_admin; a
 * UV_E*; or -ENOMEM. */
int admin_open(struct loop *loop, int fd, struct node *node, struct admin **ret_admin) MUST_CHECK;

/* Closes the port and all connections; on_closed comes later, and the object is freed by then. */
void admin_close(struct admin *admin, void (*on_closed)(void *owner), void *owner);

#endif
