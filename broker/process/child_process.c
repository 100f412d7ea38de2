#include "broker/process/child_process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/process/child.h"
#include "common/log.h"

#define MODULE "child_process"

STATE_MACHINE(child_machine, MODULE, CHILD_STATES);

/* The only writer of the state. */
static void set_state(struct child_process *child, enum child_state state)
{
    char subject[32];
    int len = snprintf(subject, sizeof(subject), "%s-%u", child->role, child->slot);

    state_move(&child_machine, &child->state, state, subject, (size_t)len);
}

static bool is_running(const struct child_process *child)
{
    return child->state == CHILD_STARTING || child->state == CHILD_READY ||
           child->state == CHILD_SILENT || child->state == CHILD_STOPPING;
}

static void set_timer(struct child_process *child, uint64_t in_ms, uv_timer_cb on_timer)
{
    /* Fails only for a closing handle. */
    int rc = uv_timer_start(&child->timer, on_timer, in_ms, 0);

    assert(rc == 0);
    (void)rc;
}

/* ── The end of a process, and what follows ──────────────────────────────────────────────────── */

static void on_timer_closed(uv_handle_t *handle)
{
    struct child_process *child = CONTAINER_OF(handle, struct child_process, timer);

    child->settings->events->on_stopped(child);
}

static void finish(struct child_process *child)
{
    set_state(child, CHILD_STOPPED);
    uv_close((uv_handle_t *)&child->timer, on_timer_closed);
}

static void spawn(struct child_process *child);

static void on_pause_over(uv_timer_t *timer)
{
    struct child_process *child = CONTAINER_OF(timer, struct child_process, timer);

    spawn(child);
}

/* Nothing of the last process is open any more. */
static void replace(struct child_process *child)
{
    uint64_t pause;

    if (child->ending) {
        finish(child);
        return;
    }
    child->restarts++;
    pause = respawn_pause(&child->respawn, uv_now(child->settings->loop) - child->spawned_ms);
    if (pause == 0) {
        spawn(child);
        return;
    }
    log_event(LOG_WARN, MODULE, "dies soon after its start, waiting before the next",
              LOG_TEXT("role", child->role), LOG_INT("slot", child->slot),
              LOG_INT("pause_ms", (int64_t)pause));
    set_state(child, CHILD_PAUSING);
    set_timer(child, pause, on_pause_over);
}

static void on_handle_closed(struct child_process *child)
{
    if (--child->open_handles == 0) {
        replace(child);
    }
}

static void on_process_closed(uv_handle_t *handle)
{
    on_handle_closed(CONTAINER_OF(handle, struct child_process, process));
}

static void on_control_closed(struct control *control)
{
    on_handle_closed(CONTAINER_OF(control, struct child_process, control));
}

static void log_exit(const struct child_process *child, int64_t status, int signal)
{
    const bool expected = child->state == CHILD_STOPPING && status == 0 && signal == 0;

    log_event(expected ? LOG_INFO : LOG_ERROR, MODULE, "exited", LOG_TEXT("role", child->role),
              LOG_INT("slot", child->slot), LOG_INT("pid", child->pid),
              signal != 0 ? LOG_TEXT("signal", strsignal(signal)) : LOG_INT("status", status));
}

static void on_exit_of_process(uv_process_t *process, int64_t status, int signal)
{
    struct child_process *child = CONTAINER_OF(process, struct child_process, process);

    log_exit(child, status, signal);
    set_state(child, CHILD_DEAD);
    child->pid = 0;
    uv_timer_stop(&child->timer);
    child->settings->events->on_exited(child);
    uv_close((uv_handle_t *)&child->process, on_process_closed);
    control_close(&child->control);
}

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

static void on_line(struct control *control, const char *line)
{
    struct child_process *child = CONTAINER_OF(control, struct child_process, control);

    if (child->state == CHILD_STARTING && strcmp(line, "ready") == 0) {
        set_state(child, CHILD_READY);
        child->settings->events->on_ready(child);
    }
}

/* The child's end, which shows in its exit as well. */
static void on_end(struct control *control)
{
}

static const struct control_events control_events = {
    .on_line = on_line,
    .on_end = on_end,
    .on_closed = on_control_closed,
};

static bool is_worker(const struct child_process *child)
{
    return strcmp(child->role, CHILD_ROLE_WORKER) == 0;
}

static int spawn_process(struct child_process *child)
{
    const struct child_process_settings *settings = child->settings;
    char slot[16];
    char *const argv[] = {"progressd", (char *)child->role, slot, NULL};
    uv_stdio_container_t stdio[CHILD_LISTEN_FD + CONFIG_LISTENERS_MAX] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        [CHILD_CONTROL_FD] = {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
                              .data.stream = (uv_stream_t *)&child->control.pipe},
        [CHILD_CONFIG_FD] = {.flags = UV_INHERIT_FD, .data.fd = settings->config_fd},
        [CHILD_METRICS_FD] = {.flags = UV_INHERIT_FD, .data.fd = settings->metrics_fd},
    };
    const uint32_t listening = is_worker(child) ? settings->listen->count : 0;
    const uv_process_options_t options = {
        .exit_cb = on_exit_of_process,
        .file = "/proc/self/exe",
        .args = (char **)argv,
        .stdio = stdio,
        .stdio_count = CHILD_LISTEN_FD + (int)listening,
    };

    for (uint32_t i = 0; i < listening; i++) {
        stdio[CHILD_LISTEN_FD + i] =
            (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = settings->listen->fds[i]};
    }
    snprintf(slot, sizeof(slot), "%u", child->slot);
    control_init(&child->control, settings->loop, &control_events);
    child->open_handles = 2;
    return uv_spawn(settings->loop, &child->process, &options);
}

static void spawn(struct child_process *child)
{
    int rc = spawn_process(child);

    child->spawned_ms = uv_now(child->settings->loop);
    child->started_at_s = (uint64_t)time(NULL);
    set_state(child, CHILD_STARTING);
    if (rc == 0) {
        child->pid = child->process.pid;
        rc = control_start(&child->control); /* fails only for a closing pipe */
        assert(rc == 0);
        if (child->settings->greeting && is_worker(child)) {
            control_send(&child->control, child->settings->greeting);
        }
        return;
    }
    log_event(LOG_ERROR, MODULE, "cannot start a process", LOG_TEXT("role", child->role),
              LOG_INT("slot", child->slot), LOG_TEXT("why", uv_strerror(rc)));
    set_state(child, CHILD_DEAD);
    uv_close((uv_handle_t *)&child->process, on_process_closed);
    control_close(&child->control);
}

void child_process_init(struct child_process *child, const struct child_process_settings *settings,
                        const char *role, uint32_t slot)
{
    *child = (struct child_process){.settings = settings, .role = role, .slot = slot};
    uv_timer_init(settings->loop, &child->timer);
}

void child_process_start(struct child_process *child)
{
    spawn(child);
}

/* ── Stopping ────────────────────────────────────────────────────────────────────────────────── */

void child_process_kill(struct child_process *child)
{
    if (is_running(child)) {
        (void)uv_process_kill(&child->process, SIGKILL);
    }
}

static void on_patience_over(uv_timer_t *timer)
{
    struct child_process *child = CONTAINER_OF(timer, struct child_process, timer);

    log_event(LOG_ERROR, MODULE, "does not stop, killing it", LOG_TEXT("role", child->role),
              LOG_INT("slot", child->slot), LOG_INT("pid", child->pid));
    child_process_kill(child);
}

void child_process_stop(struct child_process *child, const char *order, uint64_t patience_ms)
{
    child->ending = true;
    if (is_running(child)) {
        control_send(&child->control, order);
        set_state(child, CHILD_STOPPING);
        set_timer(child, patience_ms, on_patience_over);
    } else if (child->state == CHILD_IDLE || child->state == CHILD_PAUSING) {
        finish(child);
    }
}

/* ── Signs of life ───────────────────────────────────────────────────────────────────────────── */

bool child_process_watch(struct child_process *child, uint64_t alive_ms, uint64_t limit_ms)
{
    uint64_t now = uv_now(child->settings->loop);
    uint64_t last = alive_ms > child->spawned_ms ? alive_ms : child->spawned_ms;
    uint64_t silence = now > last ? now - last : 0;

    if (child->state == CHILD_SILENT && silence <= limit_ms / 2) {
        set_state(child, CHILD_READY);
    }
    if (child->state == CHILD_READY && silence > limit_ms / 2) {
        log_event(LOG_WARN, MODULE, "stands still", LOG_TEXT("role", child->role),
                  LOG_INT("slot", child->slot), LOG_INT("pid", child->pid),
                  LOG_INT("silent_ms", (int64_t)silence));
        set_state(child, CHILD_SILENT);
    }
    if ((child->state != CHILD_SILENT && child->state != CHILD_STARTING) || silence <= limit_ms) {
        return false;
    }
    log_event(LOG_ERROR, MODULE, "stands still for too long, killing it",
              LOG_TEXT("role", child->role), LOG_INT("slot", child->slot),
              LOG_INT("pid", child->pid), LOG_INT("silent_ms", (int64_t)silence));
    set_state(child, CHILD_STOPPING);
    child_process_kill(child);
    return true;
}
