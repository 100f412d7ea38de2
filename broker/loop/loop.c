#include "broker/loop/loop.h"

#include <stdlib.h>

#include "common/log.h"

/* How late the tick is tells how long the loop keeps whoever comes waiting. Measuring each turn
 * instead would cost each turn a system call. */
static void measure_delay(struct loop *loop)
{
    const uint64_t now_us = uv_hrtime() / 1000, due_us = loop->tick_due_ms * 1000;

    metrics_histogram_observe(&loop->metrics->histograms[HISTOGRAM_LOOP_DELAY],
                              now_us > due_us ? now_us - due_us : 0);
}

static void on_tick(uv_timer_t *tick)
{
    struct loop *loop = CONTAINER_OF(tick, struct loop, tick);

    if (loop->metrics) {
        measure_delay(loop);
        metrics_sign_of_life(loop->metrics, loop_now(loop));
    }
    loop->tick_due_ms = loop_now(loop) + TIMER_WHEEL_TICK_MS;
    timer_wheel_advance(&loop->wheel, loop_now(loop));
    log_tick();
}

static void on_awake(uv_idle_t *awake)
{
}

static void on_turn_end(uv_prepare_t *turn_end)
{
    struct loop *loop = CONTAINER_OF(turn_end, struct loop, turn_end);
    struct list *link;

    while ((link = list_first(&loop->next)) != NULL) {
        list_remove(link);
        list_append(&loop->due, link);
    }
    (void)uv_idle_stop(&loop->awake);
    while ((link = list_first(&loop->due)) != NULL) {
        struct loop_due *due = CONTAINER_OF(link, struct loop_due, link);

        list_remove(link);
        due->on_due(due);
    }
}

int loop_open(struct loop *loop, struct metrics_slot *metrics)
{
    int rc = uv_loop_init(&loop->uv);

    if (rc < 0) {
        return rc;
    }
    loop->uv.data = loop;
    loop->metrics = metrics;
    list_init(&loop->due);
    list_init(&loop->next);
    timer_wheel_init(&loop->wheel, loop_now(loop));
    loop->tick_due_ms = loop_now(loop) + TIMER_WHEEL_TICK_MS;
    /* On a fresh loop these can't fail. */
    (void)uv_timer_init(&loop->uv, &loop->tick);
    (void)uv_timer_start(&loop->tick, on_tick, TIMER_WHEEL_TICK_MS, TIMER_WHEEL_TICK_MS);
    (void)uv_prepare_init(&loop->uv, &loop->turn_end);
    (void)uv_prepare_start(&loop->turn_end, on_turn_end);
    (void)uv_idle_init(&loop->uv, &loop->awake);
    return 0;
}

void loop_close(struct loop *loop)
{
    if (!uv_is_closing((uv_handle_t *)&loop->tick)) {
        uv_close((uv_handle_t *)&loop->tick, NULL);
        uv_close((uv_handle_t *)&loop->turn_end, NULL);
        uv_close((uv_handle_t *)&loop->awake, NULL);
    }
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop->uv) < 0) {
        abort(); /* something was left open */
    }
}

void loop_due_init(struct loop_due *due, void (*on_due)(struct loop_due *due))
{
    list_init(&due->link);
    due->on_due = on_due;
}

void loop_at_turn_end(struct loop *loop, struct loop_due *due)
{
    if (!list_is_linked(&due->link)) {
        list_append(&loop->due, &due->link);
    }
}

void loop_next_turn(struct loop *loop, struct loop_due *due)
{
    assert(!list_is_linked(&due->link));
    list_append(&loop->next, &due->link);
    if (!uv_is_closing((uv_handle_t *)&loop->awake)) {
        (void)uv_idle_start(&loop->awake, on_awake);
    }
}

void loop_due_cancel(struct loop_due *due)
{
    list_remove(&due->link);
}
