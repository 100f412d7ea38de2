/* Where a timer waits.
 *
 * A timer that is due within 64 ticks waits on level 0, in the slot of its own tick; one that is
 * due later, on the level whose slots are just wide enough, together with all others of the same
 * span of ticks. When the wheel enters that span, its timers are placed again, each on a lower
 * level. Invariants between two calls:
 *   - a timer on level 0 is due after now_tick, and within 63 ticks;
 *   - the spans of the higher levels that now_tick lies in have been emptied.
 */
#include "common/timer_wheel.h"

#define SLOT_BITS 6
#define SLOT_MASK (TIMER_WHEEL_SLOTS - 1)
#define REACH_TICKS (UINT64_C(1) << (SLOT_BITS * TIMER_WHEEL_LEVELS))

_Static_assert(TIMER_WHEEL_SLOTS == 1 << SLOT_BITS, "a level's index is SLOT_BITS bits of a tick");

static unsigned slot_index(uint64_t tick, unsigned level)
{
    return (tick >> (SLOT_BITS * level)) & SLOT_MASK;
}

/* Rounded up, so that no timer fires early. */
static uint64_t tick_of_deadline(uint64_t due_ms)
{
    return due_ms / TIMER_WHEEL_TICK_MS + (due_ms % TIMER_WHEEL_TICK_MS != 0);
}

/* Puts a timer where it belongs, seen from now; `due_tick` isn't past. */
static void place(struct timer_wheel *wheel, struct timer *timer, uint64_t due_tick)
{
    uint64_t ahead = due_tick - wheel->now_tick;
    if (ahead >= REACH_TICKS) {
        ahead = REACH_TICKS - 1;
        due_tick = wheel->now_tick + ahead;
    }
    unsigned level = 0;
    while (ahead >> (SLOT_BITS * (level + 1)) != 0) {
        level++;
    }
    list_append(&wheel->slots[level][slot_index(due_tick, level)], &timer->link);
}

/* Places the timers of the span that begins now again. */
static void cascade(struct timer_wheel *wheel, unsigned level)
{
    struct list span;
    list_init(&span);
    list_splice(&span, &wheel->slots[level][slot_index(wheel->now_tick, level)]);

    LIST_EACH (link, &span) {
        struct timer *timer = CONTAINER_OF(link, struct timer, link);
        list_remove(link);
        place(wheel, timer, tick_of_deadline(timer->due_ms));
    }
}

/* Runs the timers of the current tick. They move to a list of their own first, since a callback
 * may cancel any of them. */
static void run_due(struct timer_wheel *wheel)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &wheel->slots[0][slot_index(wheel->now_tick, 0)]);

    for (struct list *link; (link = list_first(&due));) {
        struct timer *timer = CONTAINER_OF(link, struct timer, link);
        timer_cancel(wheel, timer);
        timer->on_due(timer);
    }
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    wheel->now_tick = now_ms / TIMER_WHEEL_TICK_MS;
    wheel->armed = 0;
    for (unsigned level = 0; level < TIMER_WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < TIMER_WHEEL_SLOTS; i++) {
            list_init(&wheel->slots[level][i]);
        }
    }
}

void timer_init(struct timer *timer, void (*on_due)(struct timer *timer))
{
    list_init(&timer->link);
    timer->due_ms = 0;
    timer->on_due = on_due;
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms)
{
    timer_cancel(wheel, timer);
    timer->due_ms = due_ms;

    uint64_t due_tick = tick_of_deadline(due_ms);
    place(wheel, timer, due_tick > wheel->now_tick ? due_tick : wheel->now_tick + 1);
    wheel->armed++;
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (timer_is_set(timer)) {
        assert(wheel->armed > 0);
        list_remove(&timer->link);
        wheel->armed--;
    }
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    uint64_t target = now_ms / TIMER_WHEEL_TICK_MS;

    while (wheel->now_tick < target && wheel->armed > 0) {
        wheel->now_tick++;
        for (unsigned level = 1; level < TIMER_WHEEL_LEVELS; level++) {
            if (slot_index(wheel->now_tick, level - 1) != 0) {
                break;
            }
            cascade(wheel, level);
        }
        run_due(wheel);
    }
    if (wheel->now_tick < target) {
        wheel->now_tick = target; /* nothing is set: nothing to walk through */
    }
}
