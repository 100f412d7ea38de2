/* The listening socket in a worker: accepts, and knows when not to.
 *
 * Receives   readiness of the socket that all workers share
 * Hands on   accepted sockets to on_accept()
 * Owns       its poll handle, and this process' descriptor of the socket
 *
 * States
 *   LISTENER_ACCEPTING  takes who comes                            -> YIELDING, EXHAUSTED
 *   LISTENER_YIELDING   the worker holds well over its share of connections: the others have one
 *                       tick to take those that wait               -> INSISTING
 *   LISTENER_INSISTING  they did not, being busy or gone: takes all that wait
 *                                                                  -> ACCEPTING, EXHAUSTED
 *   LISTENER_EXHAUSTED  no descriptor or no memory is left (EMFILE and the like): waits for
 *                       listener_resume(), or a second             -> ACCEPTING
 *   LISTENER_CLOSED     on_closed comes (from any)
 *
 * Whoever isn't accepted waits in the kernel's queue. uv_listen() would accept and close them.
 */
#ifndef PROGRESSD_BROKER_NET_LISTENER_H
#define PROGRESSD_BROKER_NET_LISTENER_H

#include <sys/socket.h>
#include <uv.h>

#include "common/metrics.h"
#include "common/state.h"
#include "common/timer_wheel.h"

struct listener_events {
    /* Whether this worker should leave connections to the others, if they take them. */
    bool (*is_over_share)(void *owner);
    /* The socket is non-blocking, and on_accept's. */
    void (*on_accept)(void *owner, int fd, const struct sockaddr *peer);
    /* After listener_close(): its memory may go. */
    void (*on_closed)(void *owner);
};

#define LISTENER_STATES(X)                                                                       \
    X(LISTENER_ACCEPTING, "accepting",                                                           \
      STATE_TO(LISTENER_YIELDING) | STATE_TO(LISTENER_EXHAUSTED) | STATE_TO(LISTENER_CLOSED))    \
    X(LISTENER_YIELDING, "yielding", STATE_TO(LISTENER_INSISTING) | STATE_TO(LISTENER_CLOSED))   \
    X(LISTENER_INSISTING, "insisting",                                                           \
      STATE_TO(LISTENER_ACCEPTING) | STATE_TO(LISTENER_EXHAUSTED) | STATE_TO(LISTENER_CLOSED))   \
    X(LISTENER_EXHAUSTED, "exhausted", STATE_TO(LISTENER_ACCEPTING) | STATE_TO(LISTENER_CLOSED)) \
    X(LISTENER_CLOSED, "closed", 0)
enum listener_state { LISTENER_STATES(STATE_ENUM) };
extern const struct state_machine listener_machine;

struct listener {
    uv_poll_t poll;
    struct timer timer; /* the end of a pause that ends by itself */
    struct timer_wheel *wheel;
    struct metrics_slot *metrics;
    const struct listener_events *events;
    void *owner;
    int fd;
    uint8_t state;   /* enum listener_state */
    bool complained; /* nothing was accepted since it ran out of something */
};

/* Begins to accept, and takes the descriptor over. 0 or a UV_E* with nothing opened. */
int listener_open(struct listener *listener, uv_loop_t *loop, int fd, struct timer_wheel *wheel,
                  struct metrics_slot *metrics, const struct listener_events *events,
                  void *owner) MUST_CHECK;

/* A descriptor may be free again. */
void listener_resume(struct listener *listener);

/* Stops for good, after taking who waits by now, share or not, if `take_waiting`: for a socket that
 * nobody else serves. It is closed at once: with the last process that does so the kernel refuses
 * who comes. May be called twice. */
void listener_close(struct listener *listener, bool take_waiting);

#endif
