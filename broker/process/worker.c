#include "broker/process/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/loop/parent.h"
#include "broker/net/listener.h"
#include "broker/net/tls_certificates.h"
#include "broker/session/front.h"
#include "broker/session/miss_limit.h"
#include "broker/session/sessions.h"
#include "broker/web/web_cache.h"
#include "common/log.h"

#define MODULE "worker"

/* Connections above the average of all workers before a worker defers accepting: an eighth of the
 * average, and SHARE_SLACK, so that few connections need no balance. */
#define SHARE_SLACK 16

struct worker;

/* A listening socket. */
struct door {
    struct listener listener;
    struct worker *worker;
    bool tls;
};

struct worker {
    const struct worker_inherited *inherited;
    struct loop loop;
    struct parent parent;
    struct front front;
    struct sessions *sessions;
    struct door doors[CONFIG_LISTENERS_MAX]; /* one for each address of `listen` */
    uint32_t door_count;                     /* those that are open */
    struct tls_tickets tickets;
    bool stopping;
};

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

static void on_hub_closed(void *owner)
{
    struct worker *worker = owner;

    parent_close(&worker->parent);
    loop_close(&worker->loop);
}

/* The last client has gone. */
static void on_empty(void *owner)
{
    struct worker *worker = owner;

    hub_close(worker->front.hub);
}

static void close_doors(struct worker *worker, bool take_waiting)
{
    for (uint32_t i = 0; i < worker->door_count; i++) {
        listener_close(&worker->doors[i].listener, take_waiting);
    }
}

static void stop(struct worker *worker, enum close_code code)
{
    log_event(LOG_INFO, MODULE, "stopping", LOG_INT("close_code", code));
    worker->stopping = true;
    close_doors(worker, true);
    sessions_close(worker->sessions, code);
}

static void drain(struct worker *worker, unsigned over_ms, bool is_replaced)
{
    if (worker->stopping) {
        return;
    }
    log_event(LOG_INFO, MODULE, "stopping", LOG_INT("close_code", CLOSE_SERVICE_RESTART),
              LOG_INT("over_ms", over_ms));
    worker->stopping = true;
    close_doors(worker, !is_replaced);
    sessions_drain(worker->sessions, over_ms);
}

/* ── The supervisor ──────────────────────────────────────────────────────────────────────────── */

/* All workers share it, those of other generations as well. */
static void take_ticket_secret(struct worker *worker, const struct tls_ticket_secret *secret)
{
    struct tls_tickets tickets;

    if (tls_tickets_init(&tickets, secret, time(NULL)) == 0) {
        worker->tickets = tickets;
    }
}

static void on_order(void *owner, const char *order)
{
    struct tls_ticket_secret secret;
    unsigned number;

    if (tls_ticket_secret_read(order, &secret)) {
        take_ticket_secret(owner, &secret);
    } else if (sscanf(order, "stop %u", &number) == 1) {
        stop(owner, (enum close_code)number);
    } else if (sscanf(order, "drain %u", &number) == 1) {
        drain(owner, number, false);
    } else if (sscanf(order, "replace %u", &number) == 1) {
        drain(owner, number, true);
    } else {
        log_event(LOG_ERROR, MODULE, "unknown order", LOG_TEXT("order", order));
    }
}

static void on_end(void *owner, enum parent_end end)
{
    stop(owner, end == PARENT_GONE ? CLOSE_GOING_AWAY : CLOSE_SERVICE_RESTART);
}

static const struct parent_events parent_events = {
    .on_order = on_order,
    .on_end = on_end,
};

/* ── Accepting ───────────────────────────────────────────────────────────────────────────────── */

static bool is_over_share(void *owner)
{
    const struct door *door = owner;
    const struct worker *worker = door->worker;
    const uint32_t workers = worker->inherited->config->workers;
    uint64_t mine = metric_read(worker->front.metrics, METRIC_CONNECTIONS);
    uint64_t mean = metrics_sum(worker->inherited->page, METRIC_CONNECTIONS) / workers;

    return mine > mean + mean / 8 + SHARE_SLACK;
}

static void on_accept(void *owner, int fd, const struct sockaddr *peer)
{
    struct door *door = owner;

    sessions_accept(door->worker->sessions, fd, peer, door->tls);
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

    for (uint32_t i = 0; i < worker->door_count; i++) {
        listener_resume(&worker->doors[i].listener);
    }
}

static const struct sessions_events sessions_events = {
    .on_room = on_room,
    .on_empty = on_empty,
};

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

/* Makes front.tls. The supervisor has seen that the files are good; they may have changed since. */
static int open_tls(struct worker *worker)
{
    const struct config *config = worker->inherited->config;
    struct tls_ticket_secret secret;
    char why[TLS_WHY_SIZE];

    if (!config_listens_by_tls(config)) {
        return 0;
    }
    /* Until the supervisor's secret comes: see on_order(). */
    if (tls_ticket_secret_make(&secret, time(NULL)) < 0 ||
        tls_tickets_init(&worker->tickets, &secret, time(NULL)) < 0) {
        return UV_EIO;
    }
    worker->front.tls_room.metrics = worker->front.metrics;
    int rc =
        tls_certificates_load(&config->tls_certificates, &worker->tickets, &worker->front.tls, why);
    if (rc > 0) {
        log_event(LOG_ERROR, MODULE, "no TLS", LOG_TEXT("why", why));
        return UV_EINVAL;
    }
    return rc;
}

static int open_doors(struct worker *worker)
{
    const struct config_listeners *listen = &worker->inherited->config->listen;
    int rc = 0;

    for (uint32_t i = 0; i < listen->count && rc == 0; i++) {
        struct door *door = &worker->doors[i];

        door->worker = worker;
        door->tls = listen->items[i].tls;
        rc = listener_open(&door->listener, &worker->loop.uv, worker->inherited->listen_fd + (int)i,
                           &worker->loop.wheel, worker->front.metrics, &listener_events, door);
        worker->door_count += rc == 0;
    }
    return rc;
}

/* Everything but the control pipe. 0 or a negative error, after which the process ends. */
static int open_front(struct worker *worker)
{
    const struct config *config = worker->inherited->config;
    struct front *front = &worker->front;

    *front = (struct front){
        .loop = &worker->loop.uv,
        .wheel = &worker->loop.wheel,
        .config = config,
        .metrics = metrics_slot(worker->inherited->page, worker->inherited->slot),
        .auth = auth_new(config, &worker->loop),
        .misses = miss_limit_new(),
        .web_cache = config->web_root ? web_cache_new() : NULL,
    };
    worker->sessions = sessions_new(front, &sessions_events, worker);
    front->hub = hub_open(&(struct hub_settings){
        .loop = &worker->loop.uv,
        .wheel = &worker->loop.wheel,
        .config = config,
        .metrics = front->metrics,
        .on_closed = on_hub_closed,
        .owner = worker,
    });
    if (!front->auth || !worker->sessions || !front->hub || !front->misses ||
        (config->web_root && !front->web_cache)) {
        return UV_ENOMEM;
    }
    int rc = open_tls(worker);
    return rc < 0 ? rc : open_doors(worker);
}

int worker_run(const struct worker_inherited *inherited)
{
    static struct worker worker; /* one a process; too large for a stack */

    worker.inherited = inherited;
    int rc = loop_open(&worker.loop, metrics_slot(inherited->page, inherited->slot));
    if (rc == 0) {
        rc = parent_open(&worker.parent, &worker.loop, inherited->control_fd, &parent_events,
                         &worker);
    }
    rc = rc < 0 ? rc : open_front(&worker);
    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(rc)));
        return EXIT_FAILURE;
    }
    parent_tell(&worker.parent, "ready");
    loop_run(&worker.loop);

    sessions_free(worker.sessions);
    auth_free(worker.front.auth);
    tls_context_free(worker.front.tls);
    tls_tickets_deinit(&worker.tickets);
    miss_limit_free(worker.front.misses);
    web_cache_free(worker.front.web_cache);
    log_event(LOG_INFO, MODULE, "stopped");
    return EXIT_SUCCESS;
}
