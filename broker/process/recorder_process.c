#include "broker/process/recorder_process.h"

#include <stdlib.h>
#include <string.h>

#include "broker/loop/parent.h"
#include "broker/process/recorder.h"
#include "common/log.h"

#define MODULE "recorder"

struct recorder_process {
    struct loop loop;
    struct parent parent;
    struct recorder *recorder; /* NULL: closed, or could not be opened */
};

static void on_closed(void *owner)
{
    struct recorder_process *process = owner;

    process->recorder = NULL;
    parent_close(&process->parent);
    loop_close(&process->loop);
}

static void on_end(void *owner, enum parent_end end)
{
    struct recorder_process *process = owner;

    if (process->recorder) {
        recorder_stop(process->recorder);
    }
}

static void on_order(void *owner, const char *order)
{
    if (strcmp(order, "stop") == 0) {
        on_end(owner, PARENT_TERMINATE);
    }
}

static const struct parent_events parent_events = {
    .on_order = on_order,
    .on_end = on_end,
};

int recorder_run(const struct config *config, struct metrics_slot *metrics, int control_fd)
{
    struct recorder_process process = {.recorder = NULL};
    int rc = loop_open(&process.loop, metrics);

    if (rc < 0) {
        return EXIT_FAILURE;
    }
    rc = parent_open(&process.parent, &process.loop, control_fd, &parent_events, &process);
    if (rc == 0) {
        process.recorder = recorder_open(&(struct recorder_settings){.loop = &process.loop.uv,
                                                                     .wheel = &process.loop.wheel,
                                                                     .config = config,
                                                                     .server = &config->redis,
                                                                     .metrics = metrics,
                                                                     .on_closed = on_closed,
                                                                     .owner = &process});
        rc = process.recorder ? 0 : UV_ENOMEM;
    }
    if (rc == 0) {
        parent_tell(&process.parent, "ready");
    } else {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(rc)));
        on_closed(&process);
    }
    loop_run(&process.loop);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
