#include "broker/process/generation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/config/config_transfer.h"
#include "broker/process/child.h"
#include "common/log.h"
#include "common/mem.h"

#define MODULE "generation"

/* Grace period beyond shutdown-timeout before a child is killed. */
#define STOP_MARGIN_MS 1000

#define RECORDER_STOP "stop"

STATE_MACHINE(generation_machine, MODULE, GENERATION_STATES);

static struct generation *generation_of(const struct child_process *child)
{
    return child->settings->owner;
}

static void set_state(struct generation *generation, enum generation_state state)
{
    state_move(&generation_machine, &generation->state, state, NULL, 0);
}

/* ── Slots ───────────────────────────────────────────────────────────────────────────────────── */

/* Takes the lowest slot that is free: its number, or -1. */
static int32_t slots_take(struct generation_slots *slots)
{
    for (uint32_t i = 0; i + 1 < slots->page->slots; i++) {
        if (!slots->taken[i]) {
            slots->taken[i] = 1;
            return (int32_t)i;
        }
    }
    return -1;
}

/* ── What children say ───────────────────────────────────────────────────────────────────────── */

static bool is_worker(const struct child_process *child)
{
    return strcmp(child->role, CHILD_ROLE_WORKER) == 0;
}

static void on_child_ready(struct child_process *child)
{
    struct generation *generation = generation_of(child);
    uint32_t ready = 0;

    log_event(LOG_INFO, MODULE, is_worker(child) ? "worker ready" : "recorder ready",
              LOG_INT("slot", child->slot), LOG_INT("pid", child->pid));
    for (uint32_t i = 0; i < generation->workers; i++) {
        ready += generation->children[i].state == CHILD_READY;
    }
    if (generation->state == GENERATION_STARTING && ready == generation->workers) {
        set_state(generation, GENERATION_READY);
        generation->settings.events->on_ready(generation);
    }
}

static void on_child_exited(struct child_process *child)
{
    struct generation *generation = generation_of(child);

    metrics_slot_reset_gauges(metrics_slot(generation->settings.slots->page, child->slot));
    if (is_worker(child) && generation->state != GENERATION_STOPPING) {
        generation->settings.events->on_worker_lost(generation);
    }
}

static void stop_recorder(struct generation *generation);

static void on_child_stopped(struct child_process *child)
{
    struct generation *generation = generation_of(child);

    if (--generation->left == 0) {
        set_state(generation, GENERATION_STOPPED);
        generation->settings.events->on_stopped(generation);
    } else if (generation->left == 1 && generation->keeps_recorder) {
        stop_recorder(generation);
    }
}

static const struct child_process_events child_events = {
    .on_ready = on_child_ready,
    .on_exited = on_child_exited,
    .on_stopped = on_child_stopped,
};

/* ── Starting and stopping ───────────────────────────────────────────────────────────────────── */

/* GENERATION_NO_SLOTS leaves what it took, for generation_free(). */
static int take_slots(struct generation *generation)
{
    for (uint32_t i = 0; i < generation->count; i++) {
        int32_t slot = slots_take(generation->settings.slots);

        if (slot < 0) {
            generation->count = i;
            return GENERATION_NO_SLOTS;
        }
        generation->children[i].slot = (uint32_t)slot;
    }
    return 0;
}

int generation_new(const struct generation_settings *settings, struct config *config,
                   struct generation **ret_generation)
{
    struct generation *generation = mem_zalloc(1, sizeof(*generation));
    uint32_t count = config->workers + (config->recorder ? 1 : 0);
    struct child_process *children = mem_zalloc(count, sizeof(*children));

    if (!generation || !children) {
        mem_free(generation);
        mem_free(children);
        config_free(config);
        return -ENOMEM;
    }
    list_init(&generation->link);
    generation->settings = *settings;
    generation->config = config;
    generation->children = children;
    generation->workers = config->workers;
    generation->count = generation->left = count;
    generation->children_settings = (struct child_process_settings){
        .loop = &settings->loop->uv,
        .config_fd = -1,
        .metrics_fd = settings->metrics_fd,
        .listen = settings->listen,
        .greeting = settings->greeting,
        .events = &child_events,
        .owner = generation,
    };
    int rc = take_slots(generation);
    if (rc) {
        generation_free(generation);
        return rc;
    }
    *ret_generation = generation;
    return 0;
}

int generation_start(struct generation *generation)
{
    int fd = config_to_fd(generation->config);

    if (fd < 0) {
        return fd;
    }
    generation->children_settings.config_fd = fd;
    set_state(generation, GENERATION_STARTING);
    for (uint32_t i = 0; i < generation->count; i++) {
        struct child_process *child = &generation->children[i];
        const char *role = i < generation->workers ? CHILD_ROLE_WORKER : CHILD_ROLE_RECORDER;

        child_process_init(child, &generation->children_settings, role, child->slot);
        child_process_start(child);
    }
    return 0;
}

/* Whether there is something to stop. on_stopped may have come. */
static bool begin_stopping(struct generation *generation)
{
    const enum generation_state before = generation->state;

    if (before == GENERATION_STOPPED) {
        return false;
    }
    if (before != GENERATION_STOPPING) {
        set_state(generation, GENERATION_STOPPING);
    }
    if (before == GENERATION_NEW) {
        set_state(generation, GENERATION_STOPPED);
        generation->settings.events->on_stopped(generation);
    }
    return before != GENERATION_NEW;
}

static uint64_t patience_ms(const struct generation *generation)
{
    return generation->config->shutdown_timeout_ms + STOP_MARGIN_MS;
}

static void stop_recorder(struct generation *generation)
{
    generation->keeps_recorder = false;
    child_process_stop(&generation->children[generation->workers], RECORDER_STOP,
                       patience_ms(generation));
}

/* With the last child on_stopped may come, and free the generation. */
static void stop_children(struct generation *generation, const char *order, uint64_t patience)
{
    const bool stops_recorder = generation->config->recorder && !generation->keeps_recorder;

    for (uint32_t i = 0, workers = generation->workers; i < workers; i++) {
        child_process_stop(&generation->children[i], order, patience);
    }
    if (stops_recorder) {
        stop_recorder(generation);
    }
}

void generation_stop(struct generation *generation, unsigned close_code)
{
    char order[CONTROL_LINE_MAX];

    if (begin_stopping(generation)) {
        snprintf(order, sizeof(order), "stop %u", close_code);
        generation->keeps_recorder = false;
        stop_children(generation, order, patience_ms(generation));
    }
}

void generation_drain(struct generation *generation, bool is_replaced)
{
    const uint32_t over_ms = generation->config->drain_timeout_ms;
    char order[CONTROL_LINE_MAX];

    if (generation->state != GENERATION_STOPPING && begin_stopping(generation)) {
        snprintf(order, sizeof(order), "%s %u", is_replaced ? "replace" : "drain", over_ms);
        generation->keeps_recorder = generation->config->recorder && !is_replaced;
        stop_children(generation, order, over_ms + patience_ms(generation));
    }
}

void generation_kill(struct generation *generation)
{
    for (uint32_t i = 0; generation->state != GENERATION_NEW && i < generation->count; i++) {
        child_process_kill(&generation->children[i]);
    }
}

uint32_t generation_watch(struct generation *generation, uint64_t since_ms)
{
    const uint64_t limit_ms = generation->config->worker_watchdog_ms;
    uint32_t killed = 0;

    if (limit_ms == 0 || generation->state == GENERATION_NEW) {
        return 0;
    }
    for (uint32_t i = 0; i < generation->count; i++) {
        struct child_process *child = &generation->children[i];
        uint64_t alive_ms =
            metrics_last_sign_of_life(metrics_slot(generation->settings.slots->page, child->slot));

        killed += child_process_watch(child, alive_ms > since_ms ? alive_ms : since_ms, limit_ms);
    }
    return killed;
}

bool generation_is_linked(const struct generation *generation)
{
    for (uint32_t i = 0; i < generation->workers; i++) {
        const struct metrics_slot *slot =
            metrics_slot(generation->settings.slots->page, generation->children[i].slot);

        if (metric_read(slot, METRIC_LINKS_UP) == 0) {
            return false;
        }
    }
    return true;
}

const struct child_process *generation_recorder(const struct generation *generation)
{
    return generation->config->recorder ? &generation->children[generation->workers] : NULL;
}

void generation_free(struct generation *generation)
{
    if (!generation) {
        return;
    }
    assert(generation->state == GENERATION_NEW || generation->state == GENERATION_STOPPED);
    for (uint32_t i = 0; i < generation->count; i++) {
        generation->settings.slots->taken[generation->children[i].slot] = 0;
    }
    if (generation->children_settings.config_fd >= 0) {
        close(generation->children_settings.config_fd);
    }
    config_free(generation->config);
    mem_free(generation->children);
    mem_free(generation);
}
