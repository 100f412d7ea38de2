#include "broker/process/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/config/config_load.h"
#include "broker/config/config_transfer.h"
#include "broker/loop/signals.h"
#include "broker/net/listen_socket.h"
#include "broker/process/admin.h"
#include "broker/process/child.h"
#include "broker/process/embedded_redis.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/message_tables.h"

#define MODULE "supervisor"

/* Grace period beyond shutdown-timeout before a child is killed. */
#define STOP_MARGIN_MS 1000

#define WATCH_MS 500

struct supervisor {
    struct config *config;
    struct loop loop;
    struct signals signals;
    struct timer watch;                   /* each WATCH_MS, at the children */
    uint64_t watched_ms, awake_ms;        /* the last look; since when looks have come in time */
    int listen_fd, config_fd, metrics_fd; /* -1: not open */
    struct metrics_page page;
    struct metrics_slot *metrics; /* its own, the page's last */
    struct embedded_redis *redis; /* NULL: another was named, or it has ended */
    struct admin *admin;          /* NULL: off, or it has ended */
    struct child_process_settings children_settings;
    struct child_process *children;         /* the workers, then the recorder if it is on */
    uint32_t children_count, children_left; /* left: not stopped */
    struct node node;
    int exit_status;
};

/* ── Stopping ────────────────────────────────────────────────────────────────────────────────── */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void on_admin_closed(void *owner)
{
    struct supervisor *supervisor = owner;

    supervisor->admin = NULL;
}

/* Everything else has ended: with the last handles the loop does. */
static void close_rest(struct supervisor *supervisor)
{
    if (supervisor->admin) {
        admin_close(supervisor->admin, on_admin_closed, supervisor);
    }
    timer_cancel(&supervisor->loop.wheel, &supervisor->watch);
    signals_close(&supervisor->signals);
    loop_close(&supervisor->loop);
}

static void on_redis_stopped(void *owner)
{
    struct supervisor *supervisor = owner;

    supervisor->redis = NULL;
    close_rest(supervisor);
}

static void on_child_stopped(struct child_process *child)
{
    struct supervisor *supervisor = child->settings->owner;

    if (--supervisor->children_left > 0) {
        return;
    }
    if (supervisor->redis) {
        embedded_redis_stop(supervisor->redis);
    } else {
        close_rest(supervisor);
    }
}

static void stop(struct supervisor *supervisor, enum close_code code)
{
    const uint64_t patience_ms = supervisor->config->shutdown_timeout_ms + STOP_MARGIN_MS;

    supervisor->node.phase = NODE_STOPPING;
    /* The workers close theirs: who comes from now on is refused, and tries elsewhere. */
    close_fd(&supervisor->listen_fd);
    for (uint32_t i = 0; i < supervisor->children_count; i++) {
        child_process_stop(&supervisor->children[i], code, patience_ms);
    }
}

static void stop_at_once(struct supervisor *supervisor)
{
    log_event(LOG_WARN, MODULE, "told to stop again, killing what still runs");
    supervisor->exit_status = EXIT_FAILURE;
    for (uint32_t i = 0; i < supervisor->children_count; i++) {
        child_process_kill(&supervisor->children[i]);
    }
    if (supervisor->children_left == 0 && supervisor->redis) {
        embedded_redis_stop(supervisor->redis);
    }
}

static void on_signal(struct signals *signals, int number)
{
    struct supervisor *supervisor = CONTAINER_OF(signals, struct supervisor, signals);

    if (number == SIGHUP) {
        log_event(LOG_WARN, MODULE, "SIGHUP ignored");
    } else if (supervisor->node.phase == NODE_STOPPING) {
        stop_at_once(supervisor);
    } else {
        log_event(LOG_INFO, MODULE, "stopping", LOG_TEXT("signal", strsignal(number)));
        stop(supervisor, number == SIGTERM ? CLOSE_SERVICE_RESTART : CLOSE_GOING_AWAY);
    }
}

/* ── Children ────────────────────────────────────────────────────────────────────────────────── */

static bool is_worker(const struct child_process *child)
{
    return strcmp(child->role, CHILD_ROLE_WORKER) == 0;
}

static void on_child_ready(struct child_process *child)
{
    struct supervisor *supervisor = child->settings->owner;
    uint32_t ready = 0;

    log_event(LOG_INFO, MODULE, is_worker(child) ? "worker ready" : "recorder ready",
              LOG_INT("slot", child->slot), LOG_INT("pid", child->pid));
    for (uint32_t i = 0; i < supervisor->config->workers; i++) {
        ready += supervisor->children[i].state == CHILD_READY;
    }
    if (supervisor->node.phase == NODE_STARTING && ready == supervisor->config->workers) {
        supervisor->node.phase = NODE_RUNNING;
        log_event(LOG_INFO, MODULE, "ready", LOG_INT("workers", ready));
    }
}

static void on_child_exited(struct child_process *child)
{
    struct supervisor *supervisor = child->settings->owner;

    metrics_slot_reset_gauges(metrics_slot(&supervisor->page, child->slot));
    if (is_worker(child) && supervisor->node.phase != NODE_STOPPING) {
        metric_add(supervisor->metrics, METRIC_WORKER_RESTARTS, 1);
    }
}

static const struct child_process_events child_events = {
    .on_ready = on_child_ready,
    .on_exited = on_child_exited,
    .on_stopped = on_child_stopped,
};

static void start_children(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->children_count; i++) {
        child_process_start(&supervisor->children[i]);
    }
}

/* ── Redis ───────────────────────────────────────────────────────────────────────────────────── */

static void on_redis_ready(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->node.phase == NODE_STARTING) {
        start_children(supervisor);
    }
}

static void give_up(struct supervisor *supervisor)
{
    supervisor->exit_status = EXIT_FAILURE;
    if (supervisor->node.phase != NODE_STOPPING) {
        stop(supervisor, CLOSE_SERVICE_RESTART);
    }
}

static void on_redis_failed(void *owner, const char *why)
{
    log_event(LOG_ERROR, MODULE, "no embedded Redis", LOG_TEXT("why", why));
    give_up(owner);
}

static const struct embedded_redis_events redis_events = {
    .on_ready = on_redis_ready,
    .on_failed = on_redis_failed,
    .on_stopped = on_redis_stopped,
};

static int open_redis(struct supervisor *supervisor)
{
    char why[EMBEDDED_REDIS_WHY_SIZE];
    int r = embedded_redis_open(&supervisor->loop.uv, supervisor->config->state_dir, &redis_events,
                                supervisor, &supervisor->redis, why);

    if (r == EMBEDDED_REDIS_INVALID) {
        log_event(LOG_ERROR, MODULE, "no embedded Redis", LOG_TEXT("why", why));
        return -EINVAL;
    }
    return r == 0 ? config_set_redis_socket(supervisor->config,
                                            embedded_redis_socket(supervisor->redis))
                  : r;
}

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

/* Logs under `message` where it listens. */
static int open_socket(const struct config_address *address, const char *message, int *ret_fd,
                       struct config_address *ret_bound)
{
    char text[CONFIG_ADDRESS_SIZE];
    struct config_address bound;
    int fd = listen_socket_open(address, &bound);

    config_address_format(fd < 0 ? address : &bound, text);
    if (fd < 0) {
        log_event(LOG_ERROR, MODULE, fd == -EADDRINUSE ? "the port is in use" : "cannot listen",
                  LOG_TEXT("address", text), LOG_TEXT("why", strerror(-fd)));
        return fd;
    }
    log_event(LOG_INFO, MODULE, message, LOG_TEXT("address", text));
    *ret_fd = fd;
    *ret_bound = bound;
    return 0;
}

static int open_admin(struct supervisor *supervisor)
{
    struct config_address bound;
    int fd, r;

    if (supervisor->config->admin_listen.kind == CONFIG_ADDRESS_OFF) {
        return 0;
    }
    r = open_socket(&supervisor->config->admin_listen, "admin listening", &fd, &bound);
    return r < 0 ? r : admin_open(&supervisor->loop, fd, &supervisor->node, &supervisor->admin);
}

static int open_page(struct supervisor *supervisor)
{
    int r = metrics_page_create(supervisor->children_count + 1, &supervisor->page,
                                &supervisor->metrics_fd);

    if (r == 0) {
        supervisor->metrics = metrics_slot(&supervisor->page, supervisor->children_count);
        supervisor->node.page = &supervisor->page;
    }
    return r;
}

/* What the children are to have; the configuration last, since it names Redis' socket. */
static int open_shared(struct supervisor *supervisor)
{
    int r = open_page(supervisor);

    if (r == 0) {
        r = open_socket(&supervisor->config->listen, "listening", &supervisor->listen_fd,
                        &supervisor->node.listen);
    }
    if (r == 0) {
        r = open_admin(supervisor);
    }
    if (r == 0 && supervisor->config->redis.kind == REDIS_URL_NONE) {
        r = open_redis(supervisor);
    }
    if (r == 0) {
        supervisor->config_fd = config_to_fd(supervisor->config);
        r = supervisor->config_fd < 0 ? supervisor->config_fd : 0;
    }
    supervisor->children_settings.config_fd = supervisor->config_fd;
    supervisor->children_settings.metrics_fd = supervisor->metrics_fd;
    supervisor->children_settings.listen_fd = supervisor->listen_fd;
    return r;
}

/* Ends children that stand still. After a standstill of the supervisor's own, which may have been
 * everybody's (a machine that slept), they get their time anew. */
static void watch_children(struct supervisor *supervisor)
{
    const uint64_t limit_ms = supervisor->config->worker_watchdog_ms;
    const uint64_t now = loop_now(&supervisor->loop);

    if (now - supervisor->watched_ms > 4 * WATCH_MS) {
        supervisor->awake_ms = now;
    }
    supervisor->watched_ms = now;
    for (uint32_t i = 0; limit_ms > 0 && i < supervisor->children_count; i++) {
        struct child_process *child = &supervisor->children[i];
        uint64_t alive_ms = metrics_last_sign_of_life(metrics_slot(&supervisor->page, child->slot));

        alive_ms = alive_ms > supervisor->awake_ms ? alive_ms : supervisor->awake_ms;
        if (child_process_watch(child, alive_ms, limit_ms)) {
            metric_add(supervisor->metrics, METRIC_WATCHDOG_KILLS, 1);
        }
    }
}

static void on_watch(struct timer *timer)
{
    struct supervisor *supervisor = CONTAINER_OF(timer, struct supervisor, watch);

    watch_children(supervisor);
    timer_set(&supervisor->loop.wheel, timer, loop_now(&supervisor->loop) + WATCH_MS);
}

static void prepare_children(struct supervisor *supervisor)
{
    const uint32_t workers = supervisor->config->workers;

    supervisor->children_settings.loop = &supervisor->loop.uv;
    supervisor->children_settings.events = &child_events;
    supervisor->children_settings.owner = supervisor;
    supervisor->children_left = supervisor->children_count;
    for (uint32_t i = 0; i < supervisor->children_count; i++) {
        child_process_init(&supervisor->children[i], &supervisor->children_settings,
                           i < workers ? CHILD_ROLE_WORKER : CHILD_ROLE_RECORDER, i);
    }
    supervisor->node.workers = supervisor->children;
    supervisor->node.recorder =
        supervisor->config->recorder ? &supervisor->children[workers] : NULL;
}

static void start(struct supervisor *supervisor)
{
    int r;

    supervisor->node.redis_embedded = supervisor->config->redis.kind == REDIS_URL_NONE;
    signals_open(&supervisor->signals, &supervisor->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0},
                 on_signal);
    timer_init(&supervisor->watch, on_watch);
    supervisor->watched_ms = loop_now(&supervisor->loop);
    prepare_children(supervisor);
    r = open_shared(supervisor);
    if (r < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", strerror(-r)));
        give_up(supervisor);
    } else {
        on_watch(&supervisor->watch);
        if (!supervisor->redis) {
            start_children(supervisor);
        }
    }
}

static void release(struct supervisor *supervisor)
{
    close_fd(&supervisor->listen_fd);
    close_fd(&supervisor->config_fd);
    close_fd(&supervisor->metrics_fd);
    metrics_page_unmap(&supervisor->page);
    mem_free(supervisor->children);
}

int supervisor_run(struct config *config)
{
    struct supervisor supervisor = {
        .config = config,
        .listen_fd = -1,
        .config_fd = -1,
        .metrics_fd = -1,
        .children_count = config->workers + (config->recorder ? 1 : 0),
        .node = {.config = config, .started_at_s = (uint64_t)time(NULL)},
    };
    int r;

    supervisor.children = mem_zalloc(supervisor.children_count, sizeof(*supervisor.children));
    r = supervisor.children ? loop_open(&supervisor.loop, NULL) : -ENOMEM;
    if (r < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(r)));
        mem_free(supervisor.children);
        return EXIT_FAILURE;
    }
    start(&supervisor);
    loop_run(&supervisor.loop);
    release(&supervisor);
    log_event(LOG_INFO, MODULE, "stopped");
    return supervisor.exit_status;
}
