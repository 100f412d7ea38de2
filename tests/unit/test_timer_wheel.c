#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/timer_wheel.h"

#define TICK TIMER_WHEEL_TICK_MS
#define REACH_MS (UINT64_C(64) * 64 * 64 * 64 * TICK)

struct alarm {
    struct timer timer;
    struct timer_wheel *wheel;
    struct alarm *other;
    uint64_t due_ms;
    int fired;
    uint64_t fired_tick;
};

static int order; /* counts firings over all alarms of a test */

static void on_due(struct timer *timer)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    alarm->fired++;
    alarm->fired_tick = alarm->wheel->now_tick;
    order++;
}

static void alarm_init(struct alarm *alarm, struct timer_wheel *wheel)
{
    *alarm = (struct alarm){.wheel = wheel};
    timer_init(&alarm->timer, on_due);
}

static void alarm_set(struct alarm *alarm, uint64_t due_ms)
{
    alarm->due_ms = due_ms;
    alarm->fired = 0;
    timer_set(alarm->wheel, &alarm->timer, due_ms);
}

/* Neither early nor more than a tick late. */
static void assert_fired_on_time(const struct alarm *alarm)
{
    uint64_t fired_ms = alarm->fired_tick * TICK;
    cr_assert_eq(alarm->fired, 1);
    cr_assert_geq(fired_ms, alarm->due_ms);
    cr_assert_lt(fired_ms, alarm->due_ms + TICK);
}

Test(timer_wheel, a_timer_fires_once_neither_early_nor_more_than_a_tick_late)
{
    static const uint64_t ticks_ahead[] = {1,         2,
                                           62,        63,
                                           64,        65,
                                           127,       128,
                                           4095,      4096,
                                           4097,      64 * 4096 - 1,
                                           64 * 4096, 64 * 4096 + 1,
                                           300000};
    static const uint64_t starts[] = {0, 63 * TICK, 64 * TICK, 4095 * TICK + 99, 12345678};

    for (size_t s = 0; s < ARRAY_LEN(starts); s++) {
        for (size_t i = 0; i < ARRAY_LEN(ticks_ahead); i++) {
            for (int offset = -1; offset <= 1; offset++) {
                struct timer_wheel wheel;
                struct alarm alarm;
                timer_wheel_init(&wheel, starts[s]);
                alarm_init(&alarm, &wheel);
                uint64_t due = (starts[s] / TICK + ticks_ahead[i]) * TICK + (uint64_t)offset;
                alarm_set(&alarm, due);
                timer_wheel_advance(&wheel, due - 1 - (due - 1) % TICK);
                cr_assert_eq(alarm.fired, 0, "early: %zu ticks from %zu", (size_t)ticks_ahead[i],
                             (size_t)starts[s]);
                timer_wheel_advance(&wheel, due + TICK);
                assert_fired_on_time(&alarm);
                cr_assert_not(timer_is_set(&alarm.timer));
                cr_assert_eq(wheel.armed, 0);
            }
        }
    }
}

Test(timer_wheel, a_deadline_that_has_passed_is_due_at_the_next_tick)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 100 * TICK);
    alarm_init(&alarm, &wheel);

    static const uint64_t passed[] = {0, 1, 99 * TICK, 100 * TICK};
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        uint64_t tick = wheel.now_tick;
        alarm_set(&alarm, passed[i]);
        timer_wheel_advance(&wheel, tick * TICK + TICK - 1);
        cr_assert_eq(alarm.fired, 0);
        timer_wheel_advance(&wheel, tick * TICK + TICK);
        cr_assert_eq(alarm.fired, 1);
    }
}

Test(timer_wheel, a_deadline_beyond_the_reach_is_kept_until_it_comes)
{
    static const uint64_t far[] = {REACH_MS - TICK, REACH_MS, REACH_MS + TICK, 3 * REACH_MS + 7};

    for (size_t i = 0; i < ARRAY_LEN(far); i++) {
        struct timer_wheel wheel;
        struct alarm alarm;
        timer_wheel_init(&wheel, 0);
        alarm_init(&alarm, &wheel);
        alarm_set(&alarm, far[i]);
        timer_wheel_advance(&wheel, far[i] - 1);
        cr_assert_eq(alarm.fired, 0);
        timer_wheel_advance(&wheel, far[i] + TICK);
        assert_fired_on_time(&alarm);
    }
}

Test(timer_wheel, a_deadline_of_never_does_not_overflow)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 5);
    alarm_init(&alarm, &wheel);

    alarm_set(&alarm, UINT64_MAX);
    timer_wheel_advance(&wheel, 1000000);
    cr_assert_eq(alarm.fired, 0);
    timer_cancel(&wheel, &alarm.timer);
    cr_assert_eq(wheel.armed, 0);
}

Test(timer_wheel, many_timers_fire_on_time_and_in_order_under_uneven_ticks)
{
    enum { ALARMS = 3000 };
    static struct alarm alarms[ALARMS];
    struct timer_wheel wheel;
    uint64_t now = 777777;
    timer_wheel_init(&wheel, now);
    srand(3);
    for (int i = 0; i < ALARMS; i++) {
        alarm_init(&alarms[i], &wheel);
        alarm_set(&alarms[i], now + 1 + (uint64_t)rand() % (i % 3 ? 9000 : 3000000));
    }
    while (wheel.armed > 0) {
        /* steps of less than a tick, and now and then a jump */
        now += (uint64_t)rand() % 150 + (rand() % 50 == 0 ? 100000 : 0);
        timer_wheel_advance(&wheel, now);
        for (int i = 0; i < ALARMS; i++) {
            if (alarms[i].fired) {
                assert_fired_on_time(&alarms[i]);
            } else {
                cr_assert_gt(alarms[i].due_ms, now - now % TICK, "late");
            }
        }
    }
}

Test(timer_wheel, moving_and_cancelling_leave_no_trace)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);

    timer_cancel(&wheel, &alarm.timer); /* not set: nothing happens */
    alarm_set(&alarm, 10 * TICK);
    alarm_set(&alarm, 5000 * TICK);
    alarm_set(&alarm, 20 * TICK);
    cr_assert_eq(wheel.armed, 1);
    timer_wheel_advance(&wheel, 19 * TICK);
    cr_assert_eq(alarm.fired, 0);
    timer_wheel_advance(&wheel, 20 * TICK);
    cr_assert_eq(alarm.fired, 1);

    alarm_set(&alarm, 30 * TICK);
    timer_cancel(&wheel, &alarm.timer);
    timer_cancel(&wheel, &alarm.timer);
    cr_assert_not(timer_is_set(&alarm.timer));
    cr_assert_eq(wheel.armed, 0);
    timer_wheel_advance(&wheel, 6000 * TICK);
    cr_assert_eq(alarm.fired, 0);
}

Test(timer_wheel, a_clock_that_stands_still_or_goes_back_fires_nothing)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 10000);
    alarm_init(&alarm, &wheel);

    alarm_set(&alarm, 10050);
    timer_wheel_advance(&wheel, 10000);
    timer_wheel_advance(&wheel, 0);
    cr_assert_eq(alarm.fired, 0);
    cr_assert_eq(wheel.now_tick, 100);
    timer_wheel_advance(&wheel, 10100);
    cr_assert_eq(alarm.fired, 1);
}

static void set_again(struct timer *timer)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    on_due(timer);
    timer_set(alarm->wheel, timer, timer->due_ms + 10 * TICK);
}

Test(timer_wheel, a_callback_may_set_its_own_timer_and_a_jump_walks_through_all_of_them)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    timer_init(&alarm.timer, set_again);

    alarm_set(&alarm, 10 * TICK);
    timer_wheel_advance(&wheel, 1000 * TICK);
    cr_assert_eq(alarm.fired, 100);
    cr_assert_eq(wheel.armed, 1);
}

static void set_for_now(struct timer *timer)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    on_due(timer);
    timer_set(alarm->wheel, timer, 0);
}

Test(timer_wheel, a_callback_that_sets_a_passed_deadline_runs_once_a_tick)
{
    struct timer_wheel wheel;
    struct alarm alarm;
    timer_wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    timer_init(&alarm.timer, set_for_now);

    alarm_set(&alarm, TICK);
    timer_wheel_advance(&wheel, 7 * TICK);
    cr_assert_eq(alarm.fired, 7);
}

static void cancel_other(struct timer *timer)
{
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    on_due(timer);
    timer_cancel(alarm->wheel, &alarm->other->timer);
}

Test(timer_wheel, a_callback_may_cancel_another_timer_of_the_same_tick)
{
    struct timer_wheel wheel;
    struct alarm a, b;
    timer_wheel_init(&wheel, 0);
    alarm_init(&a, &wheel);
    alarm_init(&b, &wheel);
    timer_init(&a.timer, cancel_other);
    timer_init(&b.timer, cancel_other);
    a.other = &b;
    b.other = &a;

    alarm_set(&a, 70 * TICK);
    alarm_set(&b, 70 * TICK);
    timer_wheel_advance(&wheel, 100 * TICK);
    cr_assert_eq(a.fired + b.fired, 1);
    cr_assert_eq(wheel.armed, 0);
}

static void free_holder(struct timer *timer)
{
    order++;
    mem_free(CONTAINER_OF(timer, struct alarm, timer));
}

Test(timer_wheel, a_callback_may_free_the_object_that_holds_its_timer)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 0);
    order = 0;
    for (int i = 0; i < 3; i++) {
        struct alarm *alarm = mem_alloc(sizeof(*alarm));
        alarm_init(alarm, &wheel);
        timer_init(&alarm->timer, free_holder);
        alarm_set(alarm, 64 * TICK);
    }
    timer_wheel_advance(&wheel, 64 * TICK);
    cr_assert_eq(order, 3);
    cr_assert_eq(wheel.armed, 0);
}
