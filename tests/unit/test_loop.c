#include "broker/loop/loop.h"

#include <criterion/criterion.h>

static struct loop loop;
static struct metrics_slot slot;

static void set_up(void)
{
    cr_assert_eq(loop_open(&loop, &slot), 0);
}

TestSuite(loop, .init = set_up);

struct writer {
    struct loop_due due;
    struct writer *wakes; /* made due by this one's on_due */
    int written;
};

static void on_due(struct loop_due *due)
{
    struct writer *writer = CONTAINER_OF(due, struct writer, due);

    writer->written++;
    if (writer->wakes) {
        loop_at_turn_end(&loop, &writer->wakes->due);
    }
}

Test(loop, what_is_due_runs_once_at_the_turns_end)
{
    struct writer first = {.written = 0}, second = {.written = 0}, cancelled = {.written = 0};

    loop_due_init(&first.due, on_due);
    loop_due_init(&second.due, on_due);
    loop_due_init(&cancelled.due, on_due);
    for (int i = 0; i < 3; i++) {
        loop_at_turn_end(loop_of(&loop.uv), &first.due);
        loop_at_turn_end(&loop, &cancelled.due);
    }
    loop_due_cancel(&cancelled.due);
    first.wakes = &second;
    cr_assert_eq(first.written, 0, "not before the turn's end");
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    cr_assert_eq(first.written, 1);
    cr_assert_eq(second.written, 1, "what is made due at the turn's end belongs to the turn");
    cr_assert_eq(cancelled.written, 0);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    cr_assert_eq(first.written, 1);
    loop_close(&loop);
    loop_run(&loop);
}

static void on_due_again(struct loop_due *due)
{
    struct writer *writer = CONTAINER_OF(due, struct writer, due);

    if (++writer->written < 3) {
        loop_next_turn(&loop, due);
    }
}

Test(loop, work_goes_on_in_the_next_turn_without_sleeping)
{
    struct writer writer = {.written = 0};

    loop_due_init(&writer.due, on_due_again);
    loop_at_turn_end(&loop, &writer.due);
    for (int turns = 1; turns <= 3; turns++) {
        uv_run(&loop.uv, UV_RUN_ONCE); /* sleeps if nothing is left to do, until the tick */
        cr_assert_eq(writer.written, turns);
    }
    cr_assert(list_is_empty(&loop.next));
    loop_close(&loop);
    loop_run(&loop);
}

static struct timer timer;

static void on_timer(struct timer *due)
{
    loop_close(&loop);
    loop_close(&loop);
}

Test(loop, timers_run_and_the_process_gives_signs_of_life)
{
    uint64_t began = loop_now(&loop), delays = 0;

    timer_init(&timer, on_timer);
    timer_set(&loop.wheel, &timer, began + 250);
    loop_run(&loop);
    cr_assert_geq(metrics_last_sign_of_life(&slot), began + 250);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        delays += slot.histograms[HISTOGRAM_LOOP_DELAY].buckets[i];
    }
    cr_assert_geq(delays, 1);
}
