/* What ties a child to its supervisor: the control pipe, and the signals that end a process.
 *
 * Receives   lines and the end of the pipe (control.h); SIGTERM and SIGINT
 * Hands on   on_order, on_end
 * Owns       the child's end of the pipe
 *
 * SIGINT is ignored: a terminal sends it to every process, and the supervisor decides.
 */
#ifndef PROGRESSD_BROKER_LOOP_PARENT_H
#define PROGRESSD_BROKER_LOOP_PARENT_H

#include "broker/loop/control.h"
#include "broker/loop/signals.h"

enum parent_end {
    PARENT_GONE,      /* the supervisor ended */
    PARENT_TERMINATE, /* SIGTERM to this process */
};

struct parent_events {
    /* A line of the supervisor's, without its end. */
    void (*on_order)(void *owner, const char *order);
    /* The child has to end. May come more than once. */
    void (*on_end)(void *owner, enum parent_end end);
};

struct parent {
    struct control control;
    struct signals signals;
    const struct parent_events *events;
    void *owner;
};

/* Takes the control socket over. 0, or a UV_E*: parent_close() is to be called all the same. */
int parent_open(struct parent *parent, struct loop *loop, int control_fd,
                const struct parent_events *events, void *owner) MUST_CHECK;

/* Tells the supervisor something. */
void parent_tell(struct parent *parent, const char *line);

/* Closes all of it; no event comes afterwards. May be called twice. */
void parent_close(struct parent *parent);

#endif
