/* One worker or recorder, as the supervisor sees it: started, replaced when it dies, stopped.
 *
 * Receives   orders to start and to stop
 * Hands on   on_ready, on_exited, on_stopped; orders over the control pipe
 * Owns       the process and its control pipe; borrows the descriptors that it hands down
 *
 * A child is this program again, by /proc/self/exe: so it is the same version, also when the file
 * on disk has been replaced. What it finds open is in child.h.
 *
 * States
 *   IDLE      not started yet
 *   STARTING  runs, and has not said "ready"
 *   READY     runs, and said so
 *   SILENT    was READY, and gives no sign of life
 *   STOPPING  was told to stop, and is killed when its time is up; or was killed for its silence
 *   DEAD      has exited; its handles are closing
 *   PAUSING   waits for its next start, since it keeps dying
 *   STOPPED   for good; nothing of it is open
 */
#ifndef PROGRESSD_BROKER_PROCESS_CHILD_PROCESS_H
#define PROGRESSD_BROKER_PROCESS_CHILD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/loop/control.h"
#include "broker/net/listen_socket.h"
#include "broker/process/respawn.h"
#include "common/state.h"

/* clang-format off */
#define CHILD_STATES(X) \
    X(CHILD_IDLE, "idle", STATE_TO(CHILD_STARTING) | STATE_TO(CHILD_STOPPED)) \
    X(CHILD_STARTING, "starting", \
      STATE_TO(CHILD_READY) | STATE_TO(CHILD_STOPPING) | STATE_TO(CHILD_DEAD)) \
    X(CHILD_READY, "ready", \
      STATE_TO(CHILD_SILENT) | STATE_TO(CHILD_STOPPING) | STATE_TO(CHILD_DEAD)) \
    X(CHILD_SILENT, "silent", \
      STATE_TO(CHILD_READY) | STATE_TO(CHILD_STOPPING) | STATE_TO(CHILD_DEAD)) \
    X(CHILD_STOPPING, "stopping", STATE_TO(CHILD_STOPPING) | STATE_TO(CHILD_DEAD)) \
    X(CHILD_DEAD, "dead", \
      STATE_TO(CHILD_STARTING) | STATE_TO(CHILD_PAUSING) | STATE_TO(CHILD_STOPPED)) \
    X(CHILD_PAUSING, "pausing", STATE_TO(CHILD_STARTING) | STATE_TO(CHILD_STOPPED)) \
    X(CHILD_STOPPED, "stopped", 0)
/* clang-format on */

enum child_state { CHILD_STATES(STATE_ENUM) };
extern const struct state_machine child_machine;

struct child_process;

struct child_process_events {
    /* It said "ready". */
    void (*on_ready)(struct child_process *child);
    /* It has exited, and will be replaced unless it was told to stop. */
    void (*on_exited)(struct child_process *child);
    /* STOPPED: once, after child_process_stop(). */
    void (*on_stopped)(struct child_process *child);
};

/* What all children share. Borrowed. */
struct child_process_settings {
    uv_loop_t *loop;
    int config_fd, metrics_fd;
    const struct listen_sockets *listen; /* for workers */
    const char *greeting;                /* a line that a worker is told first; NULL: none */
    const struct child_process_events *events;
    void *owner;
};

/* Embedded. The members up to `restarts` may be read. */
struct child_process {
    const struct child_process_settings *settings;
    const char *role; /* CHILD_ROLE_* */
    uint32_t slot;
    uint8_t state;         /* enum child_state */
    int pid;               /* 0 unless it runs */
    uint64_t started_at_s; /* since 1970 */
    uint32_t restarts;     /* how often it was replaced */

    uv_process_t process;
    struct control control;
    uv_timer_t timer; /* PAUSING: the next start; STOPPING: the kill */
    uint64_t spawned_ms;
    struct respawn respawn;
    uint8_t open_handles; /* of process and control */
    bool ending;          /* child_process_stop() was called: DEAD leads to STOPPED */
};

/* Prepares a child of `role` with its slot of the metrics page. */
void child_process_init(struct child_process *child, const struct child_process_settings *settings,
                        const char *role, uint32_t slot);

/* Starts it. If the system has no room for another process, it tries again by itself. */
void child_process_start(struct child_process *child);

/* Gives it an order that ends it (worker.h), and kills it if it hasn't exited after `patience_ms`.
 * on_stopped comes, perhaps before this returns. May be called again, with another order. */
void child_process_stop(struct child_process *child, const char *order, uint64_t patience_ms);

/* Kills it, if it runs. */
void child_process_kill(struct child_process *child);

/* Judges its last sign of life, `alive_ms` of the loop's clock, or its start if that is later:
 * READY becomes SILENT after half of `limit_ms`, and after all of it the child is killed, also if
 * it is still STARTING. To be called again and again. True when it was killed by this call. */
bool child_process_watch(struct child_process *child, uint64_t alive_ms, uint64_t limit_ms);

#endif
