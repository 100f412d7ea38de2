/* A front process: one loop, clients on one side, Redis on the other, no state that Redis hasn't.
 *
 * Receives   what the supervisor hands down (struct worker_inherited), orders on the control pipe
 * Hands on   a line "ready" on the control pipe once it accepts; its numbers in its metrics slot
 * Owns       the loop and everything on it: hub, sessions, listener
 *
 * Control pipe (control.h): the lines end the worker: it stops accepting, sends its clients
 * away, and ends when they are gone or after shutdown-timeout.
 *   stop <close code>   all at once, with that code; who waits to be accepted is taken first. Ends
 * a drain too drain <ms>          with 1012, one after the other, over so long; who waits is taken
 * first replace <ms>        likewise, but who waits is left to other workers The pipe's end means
 * that the supervisor is gone: the same as "stop 1001". SIGTERM is the same as "stop 1012"; SIGINT
 * is ignored, since a terminal sends it to every process and the supervisor decides.
 *
 * A worker ends only when its loop is empty, so that nothing it opened is left.
 */
#ifndef PROGRESSD_BROKER_PROCESS_WORKER_H
#define PROGRESSD_BROKER_PROCESS_WORKER_H

#include "broker/config/config.h"
#include "common/metrics.h"

struct worker_inherited {
    const struct config *config;
    const struct metrics_page *page; /* of all processes */
    uint32_t slot;                   /* this worker's */
    int listen_fd;                   /* the first of the sockets for config->listen: non-blocking,
                                        shared by all workers; this worker's are closed when it
                                        stops accepting */
    int control_fd;                  /* a socket to the supervisor */
};

/* Runs until told to stop. The process' exit status: 0 when it stopped as told. */
int worker_run(const struct worker_inherited *inherited);

#endif
