/* The listening socket in a worker: accepts, and knows when not to.
 *
 * Receives   readiness of the socket that all workers share
 * Hands on   accepted sockets to on_accept()
 * Owns       its poll handle and a duplicate of nothing: the socket is the supervisor's
 *
 * Accepting stops for a while
 *   - when may_accept() says so: too many handshakes under way, until listener_resume();
 *   - when there are no descriptors or no memory left (EMFILE and the like), until
 *     listener_resume() after a connection closed, or a second has passed;
 *   - for one tick, when the worker holds well over its share of connections, so that the others
 *     are first. If they aren't (they are busy, or gone), it goes on, so nobody waits longer.
 * In all these, connections wait in the kernel's queue. uv_listen() would accept and close them.
 */
#ifndef PROGRESSD_BROKER_NET_LISTENER_H
#define PROGRESSD_BROKER_NET_LISTENER_H

#include <sys/socket.h>
#include <uv.h>

#include "common/metrics.h"
#include "common/timer_wheel.h"

struct listener_events {
    bool (*may_accept)(void *owner);
    /* Whether this worker should leave connections to the others, if they take them. */
    bool (*is_over_share)(void *owner);
    /* The socket is non-blocking, and on_accept's. */
    void (*on_accept)(void *owner, int fd, const struct sockaddr *peer);
    /* After listener_close(): its memory may go. */
    void (*on_closed)(void *owner);
};

struct listener {
    uv_poll_t poll;
    struct timer timer; /* the end of a pause that ends by itself */
    struct timer_wheel *wheel;
    struct metrics_slot *metrics;
    const struct listener_events *events;
    void *owner;
    int fd;
    bool paused;
    bool deferred;  /* has left a turn to the others */
    bool exhausted; /* nothing was accepted since it ran out of something */
};

/* Begins to accept. 0 or a UV_E* with nothing opened. */
int listener_open(struct listener *listener, uv_loop_t *loop, int fd, struct timer_wheel *wheel,
                  struct metrics_slot *metrics, const struct listener_events *events,
                  void *owner) MUST_CHECK;

/* A reason for a pause may be over. */
void listener_resume(struct listener *listener);

/* Stops for good. May be called twice. */
void listener_close(struct listener *listener);

#endif
