/* What a child process finds in its hands: the supervisor's side of it is supervisor.c.
 *
 * A child is the same program, executed again as `progressd <role> <slot>`, with these descriptors
 * open: CHILD_CONTROL_FD, a socket to the supervisor; CHILD_CONFIG_FD, the resolved configuration;
 * CHILD_METRICS_FD, the metrics page; CHILD_LISTEN_FD and those behind it, the
 * listening sockets, one for each address of `listen` (workers only).
 */
#ifndef PROGRESSD_BROKER_PROCESS_CHILD_H
#define PROGRESSD_BROKER_PROCESS_CHILD_H

enum child_fd {
    CHILD_CONTROL_FD = 3,
    CHILD_CONFIG_FD,
    CHILD_METRICS_FD,
    CHILD_LISTEN_FD,
};

#define CHILD_ROLE_WORKER "worker"
#define CHILD_ROLE_RECORDER "recorder"

#endif
