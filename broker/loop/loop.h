/* The event loop of a process, with what every process hangs on it: timers, and the turn's end.
 *
 * Receives   objects that have something to do at the turn's end; deadlines, by its timer wheel
 * Hands on   on_due of each; the process' sign of life and its loop's delay, in its metrics slot;
 *            log_tick()
 * Owns       libuv's loop, the wheel, and the two handles that drive them
 *
 * A turn takes in what has come, and everything that it produced for one peer is written at its
 * end, at once: an object that has something to write says so by loop_at_turn_end(), as often as it
 * likes, and its on_due runs once, before the loop waits again. What on_due makes due itself runs
 * in the same turn. What is more than one turn should do goes on in the next one, which
 * loop_next_turn() asks for: the loop looks for what has come meanwhile, but doesn't sleep.
 *
 * Life: loop_open() … loop_close() … loop_run() returns when every handle on the loop is closed.
 */
#ifndef PROGRESSD_BROKER_LOOP_LOOP_H
#define PROGRESSD_BROKER_LOOP_LOOP_H

#include <uv.h>

#include "common/metrics.h"
#include "common/timer_wheel.h"

struct loop {
    uv_loop_t uv; /* its data is the object, see loop_of() */
    struct timer_wheel wheel;
    struct list due;              /* of struct loop_due, in the order they became it */
    struct list next;             /* of struct loop_due: at the end of the next turn */
    struct metrics_slot *metrics; /* the process' own; NULL: nothing is counted */
    uint64_t tick_due_ms;         /* when the next tick should come */
    uv_timer_t tick;
    uv_prepare_t turn_end;
    uv_idle_t awake; /* runs while `next` has something: then the loop doesn't sleep */
};

/* Something to do at the turn's end. Embedded. */
struct loop_due {
    struct list link;
    void (*on_due)(struct loop_due *due);
};

/* Prepares an empty loop. 0, or a UV_E* with nothing opened. */
int loop_open(struct loop *loop, struct metrics_slot *metrics) MUST_CHECK;

/* Closes the loop's own handles: nothing is timed, nor due, any more. May be called twice. */
void loop_close(struct loop *loop);

/* Runs until every handle is closed; the loop is gone then. */
void loop_run(struct loop *loop);

/* The loop that libuv's loop is part of; it must be that of a struct loop. */
static inline struct loop *loop_of(const uv_loop_t *uv)
{
    assert(uv->data);
    return uv->data;
}

static inline uint64_t loop_now(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

/* Call once before anything else. */
void loop_due_init(struct loop_due *due, void (*on_due)(struct loop_due *due));

/* on_due comes at the end of this turn; once, however often this is called until then. */
void loop_at_turn_end(struct loop *loop, struct loop_due *due);

/* on_due comes at the end of the next turn, once, and the loop doesn't sleep before it. `due` must
 * not be due in this one. */
void loop_next_turn(struct loop *loop, struct loop_due *due);

/* on_due does not come, if it was to. */
void loop_due_cancel(struct loop_due *due);

#endif
