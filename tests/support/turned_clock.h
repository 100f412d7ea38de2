/* The loop's clock, turned by the test: what is under test asks uv_now() and gets this time.
 *
 * To be included by one file of a program, which then has no other uv_now().
 */
#ifndef PROGRESSD_TESTS_SUPPORT_TURNED_CLOCK_H
#define PROGRESSD_TESTS_SUPPORT_TURNED_CLOCK_H

#include <uv.h>

#include "common/timer_wheel.h"

static uint64_t turned_clock_ms = 1000000;

uint64_t uv_now(const uv_loop_t *loop)
{
    return turned_clock_ms;
}

/* Everything that is under way on the loop comes to rest. */
static inline void turned_clock_settle(uv_loop_t *loop)
{
    for (int i = 0; i < 100; i++) {
        uv_run(loop, UV_RUN_NOWAIT);
    }
}

/* Time passes, a tick at a time. */
static inline void turned_clock_pass(uv_loop_t *loop, struct timer_wheel *wheel, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += TIMER_WHEEL_TICK_MS) {
        turned_clock_ms += TIMER_WHEEL_TICK_MS;
        timer_wheel_advance(wheel, turned_clock_ms);
        turned_clock_settle(loop);
    }
}

/* Time passes all at once, as for a process that stood still. */
static inline void turned_clock_jump(uv_loop_t *loop, struct timer_wheel *wheel, uint64_t ms)
{
    turned_clock_ms += ms;
    timer_wheel_advance(wheel, turned_clock_ms);
    turned_clock_settle(loop);
}

#endif
