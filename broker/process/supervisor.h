/* The parent of all processes: opens what they share, starts and replaces them, ends them.
 *
 * Receives   the configuration; signals; what the children say on their control pipes
 * Hands on   the listening socket, the configuration, the metrics page and their orders to the
 *            children (child.h); the node's state to admin
 * Owns       the sockets, the page, the children, the embedded Redis, the admin port
 *
 * It serves no client: so it has little to fail of, and what ends a worker leaves it standing.
 *
 * Ending. After SIGTERM the node is not ready any more, but serves and accepts for drain-delay;
 * then it sends the clients away over drain-timeout, with 1012 (come back). SIGINT does so at once,
 * with 1001: the
 * workers stop, with the recorder; then the embedded Redis, since they need it up to their end;
 * then the admin port, which tells /readyz until then. A second signal kills the children at once.
 * A child whose supervisor died leaves by itself.
 *
 * SIGHUP. The configuration is loaded anew. If it can be used a new generation of workers starts
 * beside the old one, on the same listening socket; when it is ready, and has its links to Redis or
 * LINK_PATIENCE_MS are over, it takes over, and the old one's clients are sent away over
 * drain-timeout. Otherwise nothing changes, and the log says why: so it does for an option that
 * only a restart can change, and for new workers that don't get ready within START_PATIENCE_MS.
 */
#ifndef PROGRESSD_BROKER_PROCESS_SUPERVISOR_H
#define PROGRESSD_BROKER_PROCESS_SUPERVISOR_H

#include "broker/config/config.h"

/* Loads the configuration as at the start of the program. 0, *ret_config (the caller's) and maybe
 * warnings, a line each; or anything else, with the reasons in `message`. */
typedef int (*supervisor_load_fn)(struct config **ret_config, struct text *message);

/* Runs until told to stop. Takes `config` over; `load` is for the next ones. The process' exit
 * status: 0 when it stopped as told; 1 when it could not start or had to kill its children. */
int supervisor_run(struct config *config, supervisor_load_fn load);

#endif
