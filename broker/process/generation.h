/* A configuration, and the children that run under it: the workers, and the recorder if it is on.
 *
 * Receives   start and stop; what its children say
 * Hands on   on_ready, on_stopped
 * Owns       the configuration, its memory file, the children and their slots of the metrics page
 *
 * During a reload two generations stand side by side: the new one takes over when it is ready, and
 * the old one drains. So each has slots of its own, and its children the number of their slot for a
 * name.
 *
 * States
 *   NEW       nothing was started
 *   STARTING  its children were started; not all workers have said "ready"
 *   READY     all workers have, once: a worker that dies later is replaced, and changes nothing
 * here STOPPING  its children were told to stop STOPPED   nothing of it runs; on_stopped has come
 */
#ifndef PROGRESSD_BROKER_PROCESS_GENERATION_H
#define PROGRESSD_BROKER_PROCESS_GENERATION_H

#include "broker/config/config.h"
#include "broker/loop/loop.h"
#include "broker/process/child_process.h"
#include "common/metrics.h"

/* clang-format off */
#define GENERATION_STATES(X) \
    X(GENERATION_NEW, "new", STATE_TO(GENERATION_STARTING) | STATE_TO(GENERATION_STOPPING)) \
    X(GENERATION_STARTING, "starting", \
      STATE_TO(GENERATION_READY) | STATE_TO(GENERATION_STOPPING)) \
    X(GENERATION_READY, "ready", STATE_TO(GENERATION_STOPPING)) \
    X(GENERATION_STOPPING, "stopping", STATE_TO(GENERATION_STOPPED)) \
    X(GENERATION_STOPPED, "stopped", 0)
/* clang-format on */
enum generation_state { GENERATION_STATES(STATE_ENUM) };
extern const struct state_machine generation_machine;

/* Which slots of the page are taken. The page's last is the supervisor's. */
struct generation_slots {
    const struct metrics_page *page;
    uint8_t taken[METRICS_MAX_SLOTS];
};

struct generation;

struct generation_events {
    /* READY. */
    void (*on_ready)(struct generation *generation);
    /* A worker exited that was not told to. */
    void (*on_worker_lost)(struct generation *generation);
    /* STOPPED: generation_free() may be called. Comes once, perhaps before generation_stop()
     * returns. */
    void (*on_stopped)(struct generation *generation);
};

struct generation_settings {
    struct loop *loop;
    struct generation_slots *slots;
    int metrics_fd; /* borrowed, like the next */
    const struct listen_sockets *listen;
    const char *greeting; /* what workers are told first */
    const struct generation_events *events;
    void *owner;
};

/* Members may be read. */
struct generation {
    struct list link; /* for the owner */
    struct generation_settings settings;
    struct config *config;
    uint8_t state; /* enum generation_state */
    struct child_process_settings children_settings;
    struct child_process *children; /* the workers, then the recorder if it is on */
    uint32_t workers, count, left;  /* left: not stopped */
    bool keeps_recorder;            /* it stops after the workers */
};

enum generation_outcome { GENERATION_NO_SLOTS = 1 };

/* Takes the configuration over, also on failure. 0 and *ret_generation; GENERATION_NO_SLOTS when
 * the page has too few that are free; or -errno. */
int generation_new(const struct generation_settings *settings, struct config *config,
                   struct generation **ret_generation) MUST_CHECK;

/* The configuration as it is now goes to the children. 0 or -errno, with nothing started. */
int generation_start(struct generation *generation) MUST_CHECK;

/* Tells the children to stop, and kills those that need longer than shutdown-timeout and a moment.
 * Ends a drain too. */
void generation_stop(struct generation *generation, unsigned close_code);

/* The same, but clients are sent away over drain-timeout. `is_replaced`: by other workers on the
 * same sockets, with a recorder of their own; otherwise the recorder stays until the workers have
 * gone. */
void generation_drain(struct generation *generation, bool is_replaced);

/* Kills what still runs. */
void generation_kill(struct generation *generation);

/* Kills children that stand still: their signs of life count from `since_ms` on. Returns how many
 * it killed. To be called again and again. */
uint32_t generation_watch(struct generation *generation, uint64_t since_ms);

/* Whether every worker has a link to Redis. */
bool generation_is_linked(const struct generation *generation);

/* Its recorder, or NULL. */
const struct child_process *generation_recorder(const struct generation *generation);

/* It must be NEW or STOPPED. Accepts NULL. */
void generation_free(struct generation *generation);

#endif
