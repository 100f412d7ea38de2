/* The parent of all processes: opens what they share, starts and replaces them, ends them.
 *
 * Receives   the configuration, from main; signals; what the children say on their control pipes
 * Hands on   the listening socket, the configuration, the metrics page and their orders to the
 *            children (child.h); the node's state to admin
 * Owns       the sockets, the page, the children, the embedded Redis, the admin port
 *
 * It serves no client: so it has little to fail of, and what ends a worker leaves it standing.
 *
 * Ending. SIGTERM sends the clients away with 1012 (come back), SIGINT with 1001: the workers stop,
 * with the recorder; then the embedded Redis, since they need it up to their end; then the admin
 * port, which tells /readyz until then. A second signal kills the children at once. A child whose
 * supervisor died leaves by itself.
 */
#ifndef PROGRESSD_BROKER_PROCESS_SUPERVISOR_H
#define PROGRESSD_BROKER_PROCESS_SUPERVISOR_H

#include "broker/config/config.h"

/* Runs until told to stop. `config` gets the embedded Redis' socket. The process' exit status: 0
 * when it stopped as told; 1 when it could not start or had to kill its children. */
int supervisor_run(struct config *config);

#endif
