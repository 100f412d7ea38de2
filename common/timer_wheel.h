/* Deadlines for many objects on one clock: O(1) to set, move and cancel.
 *
 * Receives   deadlines in milliseconds of the owner's monotonic clock, and its ticks
 * Hands on   on_due, for each timer whose deadline has come, from timer_wheel_advance()
 * Owns       nothing on the heap; timers are embedded in what they time
 *
 * A hashed hierarchy: 4 levels of 64 slots, TICK_MS wide at the lowest, so that deadlines reach
 * 64^4 ticks (19 days) ahead; later ones are held at that edge and set again when they come. A
 * timer never fires early, and at most one tick late, given that advance() is called each tick. No
 * clock in here: tests turn time by hand.
 */
#ifndef PROGRESSD_COMMON_TIMER_WHEEL_H
#define PROGRESSD_COMMON_TIMER_WHEEL_H

#include <stdint.h>

#include "common/list.h"

#define TIMER_WHEEL_TICK_MS 100
#define TIMER_WHEEL_LEVELS 4
#define TIMER_WHEEL_SLOTS 64

struct timer {
    struct list link;
    uint64_t due_ms;
    void (*on_due)(struct timer *timer);
};

struct timer_wheel {
    uint64_t now_tick;
    uint32_t armed; /* timers that are set */
    struct list slots[TIMER_WHEEL_LEVELS][TIMER_WHEEL_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Call once before anything else; `on_due` stays for the timer's life. */
void timer_init(struct timer *timer, void (*on_due)(struct timer *timer));

/* Sets the timer, or moves it if it is set. A deadline that has passed is due at the next tick. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms);

/* Cancels the timer if it is set. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline bool timer_is_set(const struct timer *timer)
{
    return list_is_linked(&timer->link);
}

/* Runs what is due at `now_ms`, in order of ticks. Callbacks may set and cancel any timer, their
 * own too, and free the object that holds it. A jump of any length is walked through. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

#endif
