#include "broker/process/recorder_process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/process/control.h"
#include "broker/process/recorder.h"
#include "common/log.h"

#define MODULE "recorder"

struct recorder_process {
    uv_loop_t loop;
    uv_timer_t tick; /* drives the wheel */
    uv_signal_t sigterm, sigint;
    struct control control;
    struct timer_wheel wheel;
    struct metrics_slot *metrics;
    struct recorder *recorder; /* NULL: closed, or could not be opened */
};

static void on_control_closed(struct control *control)
{
}

static void on_closed(void *owner)
{
    struct recorder_process *process = owner;

    process->recorder = NULL;
    control_close(&process->control);
    uv_close((uv_handle_t *)&process->tick, NULL);
    uv_close((uv_handle_t *)&process->sigterm, NULL);
    uv_close((uv_handle_t *)&process->sigint, NULL);
}

static void stop(struct recorder_process *process)
{
    if (process->recorder) {
        recorder_stop(process->recorder);
    }
}

static void on_line(struct control *control, const char *line)
{
    if (strncmp(line, "stop", strlen("stop")) == 0) {
        stop(CONTAINER_OF(control, struct recorder_process, control));
    }
}

static void on_end(struct control *control)
{
    stop(CONTAINER_OF(control, struct recorder_process, control));
}

static const struct control_events control_events = {
    .on_line = on_line,
    .on_end = on_end,
    .on_closed = on_control_closed,
};

static void on_sigterm(uv_signal_t *handle, int number)
{
    stop(CONTAINER_OF(handle, struct recorder_process, sigterm));
}

/* A terminal sends SIGINT to every process; the supervisor decides what follows from it. */
static void on_sigint(uv_signal_t *handle, int number)
{
}

static void on_tick(uv_timer_t *timer)
{
    struct recorder_process *process = CONTAINER_OF(timer, struct recorder_process, tick);

    timer_wheel_advance(&process->wheel, uv_now(&process->loop));
    metrics_sign_of_life(process->metrics, uv_now(&process->loop));
    log_tick();
}

static void open_handles(struct recorder_process *process)
{
    uv_timer_init(&process->loop, &process->tick);
    uv_timer_start(&process->tick, on_tick, TIMER_WHEEL_TICK_MS, TIMER_WHEEL_TICK_MS);
    uv_signal_init(&process->loop, &process->sigterm);
    uv_signal_start(&process->sigterm, on_sigterm, SIGTERM);
    uv_signal_init(&process->loop, &process->sigint);
    uv_signal_start(&process->sigint, on_sigint, SIGINT);
    timer_wheel_init(&process->wheel, uv_now(&process->loop));
    control_init(&process->control, &process->loop, &control_events);
}

static int open_control(struct recorder_process *process, int fd)
{
    int rc = control_open(&process->control, fd);

    return rc < 0 ? rc : control_start(&process->control);
}

int recorder_run(const struct config *config, struct metrics_slot *metrics, int control_fd)
{
    struct recorder_process process = {.metrics = metrics};
    int rc = uv_loop_init(&process.loop);

    if (rc < 0) {
        return EXIT_FAILURE;
    }
    open_handles(&process);
    rc = open_control(&process, control_fd);
    if (rc == 0) {
        process.recorder = recorder_open(&(struct recorder_settings){.loop = &process.loop,
                                                                     .wheel = &process.wheel,
                                                                     .config = config,
                                                                     .server = &config->redis,
                                                                     .metrics = metrics,
                                                                     .on_closed = on_closed,
                                                                     .owner = &process});
        rc = process.recorder ? 0 : UV_ENOMEM;
    }
    if (rc == 0) {
        control_send(&process.control, "ready");
    } else {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(rc)));
        on_closed(&process);
    }
    uv_run(&process.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&process.loop) < 0) {
        abort(); /* something was left open */
    }
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
