#include "broker/process/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/net/listener.h"
#include "broker/process/control.h"
#include "broker/session/front.h"
#include "broker/session/miss_limit.h"
#include "broker/session/sessions.h"
#include "broker/web/web_cache.h"
#include "common/log.h"

#define MODULE "worker"

/* What a worker may hold more than the mean of all before it leaves clients to the others: an
 * eighth, and SHARE_SLACK, so that few connections need no balance. */
#define SHARE_SLACK 16

struct worker {
    const struct worker_inherited *inherited;
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct front front;
    struct sessions *sessions;
    struct listener listener;
    uv_timer_t tick;
    uv_prepare_t turn_end;
    uv_signal_t terminate, interrupt;
    struct control control;
    uint64_t tick_due_ms; /* when the next tick should come, by uv_hrtime() */
    bool listening, stopping, has_hub;
};

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

static void on_hub_closed(void *owner)
{
    struct worker *worker = owner;

    worker->has_hub = false;
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->turn_end, NULL);
    uv_close((uv_handle_t *)&worker->terminate, NULL);
    uv_close((uv_handle_t *)&worker->interrupt, NULL);
    control_close(&worker->control);
}

/* The last client has gone. */
static void on_empty(void *owner)
{
    struct worker *worker = owner;

    hub_close(worker->front.hub);
}

static void stop(struct worker *worker, enum close_code code)
{
    if (worker->stopping) {
        return;
    }
    worker->stopping = true;
    log_event(LOG_INFO, MODULE, "stopping", LOG_INT("close_code", code));
    if (worker->listening) {
        listener_close(&worker->listener);
    }
    sessions_close(worker->sessions, code);
}

static void on_terminate(uv_signal_t *signal, int number)
{
    stop(CONTAINER_OF(signal, struct worker, terminate), CLOSE_SERVICE_RESTART);
}

static void on_interrupt(uv_signal_t *signal, int number)
{
}

/* ── The control pipe ────────────────────────────────────────────────────────────────────────── */

static void on_order(struct control *control, const char *order)
{
    struct worker *worker = CONTAINER_OF(control, struct worker, control);
    unsigned code;

    if (sscanf(order, "stop %u", &code) == 1) {
        stop(worker, (enum close_code)code);
    } else {
        log_event(LOG_ERROR, MODULE, "unknown order", LOG_TEXT("order", order));
    }
}

/* The supervisor is gone. */
static void on_control_end(struct control *control)
{
    stop(CONTAINER_OF(control, struct worker, control), CLOSE_GOING_AWAY);
}

static void on_control_closed(struct control *control)
{
}

static const struct control_events control_events = {
    .on_line = on_order,
    .on_end = on_control_end,
    .on_closed = on_control_closed,
};

/* ── Accepting ───────────────────────────────────────────────────────────────────────────────── */

static bool is_over_share(void *owner)
{
    const struct worker *worker = owner;
    const uint32_t workers = worker->inherited->config->workers;
    uint64_t mine = metric_read(worker->front.metrics, METRIC_CONNECTIONS);
    uint64_t mean = metrics_sum(worker->inherited->page, METRIC_CONNECTIONS) / workers;

    return mine > mean + mean / 8 + SHARE_SLACK;
}

static void on_accept(void *owner, int fd, const struct sockaddr *peer)
{
    struct worker *worker = owner;

    sessions_accept(worker->sessions, fd, peer);
}

static void on_listener_closed(void *owner)
{
}

static const struct listener_events listener_events = {
    .is_over_share = is_over_share,
    .on_accept = on_accept,
    .on_closed = on_listener_closed,
};

static void on_room(void *owner)
{
    struct worker *worker = owner;

    if (worker->listening) {
        listener_resume(&worker->listener);
    }
}

static const struct sessions_events sessions_events = {
    .on_room = on_room,
    .on_empty = on_empty,
};

/* ── The loop ────────────────────────────────────────────────────────────────────────────────── */

/* How late the tick is tells how long the loop keeps whoever comes waiting. Measuring each turn
 * instead would cost each turn a system call. */
static void measure_delay(struct worker *worker)
{
    const uint64_t now_us = uv_hrtime() / 1000, due_us = worker->tick_due_ms * 1000;

    metrics_histogram_observe(&worker->front.metrics->histograms[HISTOGRAM_LOOP_DELAY],
                              now_us > due_us ? now_us - due_us : 0);
    worker->tick_due_ms = uv_now(&worker->loop) + TIMER_WHEEL_TICK_MS;
}

static void on_tick(uv_timer_t *tick)
{
    struct worker *worker = CONTAINER_OF(tick, struct worker, tick);

    measure_delay(worker);
    timer_wheel_advance(&worker->wheel, uv_now(&worker->loop));
    metrics_sign_of_life(worker->front.metrics, uv_now(&worker->loop));
    log_tick();
}

/* Before the loop waits again: all that the turn produced is written. */
static void on_turn_end(uv_prepare_t *turn_end)
{
    struct worker *worker = CONTAINER_OF(turn_end, struct worker, turn_end);

    sessions_flush(worker->sessions);
}

/* Everything but the control pipe. 0 or a negative error, after which the process ends. */
static int open_front(struct worker *worker)
{
    const struct config *config = worker->inherited->config;
    struct front *front = &worker->front;

    *front = (struct front){
        .loop = &worker->loop,
        .wheel = &worker->wheel,
        .config = config,
        .metrics = metrics_slot(worker->inherited->page, worker->inherited->slot),
        .auth = auth_new(config),
        .misses = miss_limit_new(),
        .web_cache = config->web_root ? web_cache_new() : NULL,
    };
    worker->sessions = sessions_new(front, &sessions_events, worker);
    front->hub = hub_open(&(struct hub_settings){
        .loop = &worker->loop,
        .wheel = &worker->wheel,
        .config = config,
        .metrics = front->metrics,
        .on_closed = on_hub_closed,
        .owner = worker,
    });
    if (!front->auth || !worker->sessions || !front->hub || !front->misses ||
        (config->web_root && !front->web_cache)) {
        return UV_ENOMEM;
    }
    worker->has_hub = true;
    return listener_open(&worker->listener, &worker->loop, worker->inherited->listen_fd,
                         &worker->wheel, front->metrics, &listener_events, worker);
}

static int open_handles(struct worker *worker)
{
    int r;

    /* On a fresh loop these can't fail. */
    (void)uv_timer_init(&worker->loop, &worker->tick);
    (void)uv_timer_start(&worker->tick, on_tick, TIMER_WHEEL_TICK_MS, TIMER_WHEEL_TICK_MS);
    (void)uv_prepare_init(&worker->loop, &worker->turn_end);
    (void)uv_prepare_start(&worker->turn_end, on_turn_end);
    (void)uv_signal_init(&worker->loop, &worker->terminate);
    (void)uv_signal_init(&worker->loop, &worker->interrupt);
    control_init(&worker->control, &worker->loop, &control_events);

    r = uv_signal_start(&worker->terminate, on_terminate, SIGTERM);
    r = r < 0 ? r : uv_signal_start(&worker->interrupt, on_interrupt, SIGINT);
    r = r < 0 ? r : control_open(&worker->control, worker->inherited->control_fd);
    r = r < 0 ? r : control_start(&worker->control);
    return r;
}

int worker_run(const struct worker_inherited *inherited)
{
    static struct worker worker; /* one a process; too large for a stack */
    int r;

    worker.inherited = inherited;
    r = uv_loop_init(&worker.loop);
    if (r == 0) {
        timer_wheel_init(&worker.wheel, uv_now(&worker.loop));
        worker.tick_due_ms = uv_now(&worker.loop) + TIMER_WHEEL_TICK_MS;
        r = open_handles(&worker);
    }
    r = r < 0 ? r : open_front(&worker);
    if (r < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(r)));
        return EXIT_FAILURE;
    }
    worker.listening = true;
    control_send(&worker.control, "ready");
    uv_run(&worker.loop, UV_RUN_DEFAULT);

    sessions_free(worker.sessions);
    auth_free(worker.front.auth);
    miss_limit_free(worker.front.misses);
    web_cache_free(worker.front.web_cache);
    r = uv_loop_close(&worker.loop);
    assert(r == 0);
    log_event(LOG_INFO, MODULE, "stopped");
    return EXIT_SUCCESS;
}
