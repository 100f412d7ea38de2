#include "broker/process/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/config/config_load.h"
#include "broker/loop/signals.h"
#include "broker/net/listen_socket.h"
#include "broker/net/tls_certificates.h"
#include "broker/process/admin.h"
#include "broker/process/embedded_redis.h"
#include "broker/process/generation.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/message_tables.h"

#define MODULE "supervisor"

#define WATCH_MS 500

/* How long new workers may take to be ready, and after that to have their links to Redis. */
#define START_PATIENCE_MS 30000
#define LINK_PATIENCE_MS 5000

/* Slots of the metrics page beyond those of two generations, for reloads with more workers. */
#define SPARE_SLOTS 16

struct supervisor {
    supervisor_load_fn load;
    struct config *config; /* what is in force; a generation's, once there is one */
    bool embeds_redis;
    struct loop loop;
    struct signals signals;
    struct timer watch;            /* each WATCH_MS, at the children */
    struct timer leaving;          /* LEAVING: the end of drain-delay */
    uint64_t watched_ms, awake_ms; /* the last look; since when looks have come in time */
    struct listen_sockets listen;
    struct tls_ticket_secret ticket_secret; /* of all workers */
    char greeting[TLS_TICKET_LINE_SIZE];    /* the same, as they are told it */
    int metrics_fd;                         /* -1: not open */
    struct metrics_page page;
    struct metrics_slot *metrics; /* its own, the page's last */
    struct generation_slots slots;
    struct embedded_redis *redis; /* NULL: another was named, or it has ended */
    struct admin *admin;          /* NULL: off, or it has ended */
    struct generation *current;   /* serves newcomers; NULL: not made yet */
    struct generation *next;      /* is to take over; NULL: no reload is under way */
    uint64_t next_since_ms;       /* when `next` was started, then when it was ready */
    struct list draining;         /* the generations before */
    uint32_t generations;         /* that are not stopped */
    bool reload_again;            /* SIGHUP came during a reload */
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

static void close_listeners(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->listen.count; i++) {
        close_fd(&supervisor->listen.fds[i]);
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

/* Redis ends after the children, which need it up to their end. */
static void stop_redis(struct supervisor *supervisor)
{
    if (supervisor->redis) {
        embedded_redis_stop(supervisor->redis);
    } else {
        close_rest(supervisor);
    }
}

/* What comes before the generations are told. Whether there are any. */
static bool begin_stopping(struct supervisor *supervisor)
{
    supervisor->node.phase = NODE_STOPPING;
    timer_cancel(&supervisor->loop.wheel, &supervisor->leaving);
    /* The workers close theirs: who comes from now on is refused, and tries elsewhere. */
    close_listeners(supervisor);
    if (supervisor->generations == 0) {
        stop_redis(supervisor);
        return false;
    }
    return true;
}

static void stop(struct supervisor *supervisor, enum close_code code)
{
    if (begin_stopping(supervisor)) {
        LIST_EACH (link, &supervisor->draining) {
            generation_stop(CONTAINER_OF(link, struct generation, link), code);
        }
        if (supervisor->next) {
            generation_stop(supervisor->next, code);
        }
        generation_stop(supervisor->current, code);
    }
}

static void drain(struct supervisor *supervisor)
{
    if (begin_stopping(supervisor)) {
        if (supervisor->next) {
            generation_drain(supervisor->next, false);
        }
        generation_drain(supervisor->current, false);
    }
}

static void on_left(struct timer *timer)
{
    drain(CONTAINER_OF(timer, struct supervisor, leaving));
}

/* Load balancers get drain-delay to learn from /readyz that the node leaves, and those that they
 * send meanwhile are served. */
static void leave(struct supervisor *supervisor)
{
    const uint64_t delay_ms = supervisor->config->drain_delay_ms;

    if (delay_ms == 0 || supervisor->node.phase == NODE_STARTING) {
        drain(supervisor);
        return;
    }
    supervisor->node.phase = NODE_LEAVING;
    timer_set(&supervisor->loop.wheel, &supervisor->leaving,
              loop_now(&supervisor->loop) + delay_ms);
}

static void stop_at_once(struct supervisor *supervisor)
{
    log_event(LOG_WARN, MODULE, "told to stop again, killing what still runs");
    supervisor->exit_status = EXIT_FAILURE;
    if (supervisor->node.phase != NODE_STOPPING) {
        stop(supervisor, CLOSE_SERVICE_RESTART);
    }
    if (supervisor->next) {
        generation_kill(supervisor->next);
    }
    if (supervisor->current) {
        generation_kill(supervisor->current);
    }
    LIST_EACH (link, &supervisor->draining) {
        generation_kill(CONTAINER_OF(link, struct generation, link));
    }
    if (supervisor->generations == 0 && supervisor->redis) {
        embedded_redis_stop(supervisor->redis);
    }
}

/* ── Generations ─────────────────────────────────────────────────────────────────────────────── */

static void reload(struct supervisor *supervisor);

static void on_generation_ready(struct generation *generation)
{
    struct supervisor *supervisor = generation->settings.owner;

    supervisor->next_since_ms = loop_now(&supervisor->loop);
    if (generation == supervisor->current && supervisor->node.phase == NODE_STARTING) {
        supervisor->node.phase = NODE_RUNNING;
        log_event(LOG_INFO, MODULE, "ready", LOG_INT("workers", generation->workers));
    }
}

static void on_worker_lost(struct generation *generation)
{
    struct supervisor *supervisor = generation->settings.owner;

    metric_add(supervisor->metrics, METRIC_WORKER_RESTARTS, 1);
}

/* The current one is kept to the end, since the admin port tells of it. */
static void on_generation_stopped(struct generation *generation)
{
    struct supervisor *supervisor = generation->settings.owner;

    supervisor->generations--;
    if (generation == supervisor->next) {
        supervisor->next = NULL;
        generation_free(generation);
    } else if (generation != supervisor->current) {
        list_remove(&generation->link);
        generation_free(generation);
        log_event(LOG_INFO, MODULE, "old workers have ended");
    }
    if (supervisor->node.phase == NODE_STOPPING && supervisor->generations == 0) {
        stop_redis(supervisor);
    }
}

static const struct generation_events generation_events = {
    .on_ready = on_generation_ready,
    .on_worker_lost = on_worker_lost,
    .on_stopped = on_generation_stopped,
};

/* Takes the configuration over. The results of generation_new(). */
static int add_generation(struct supervisor *supervisor, struct config *config,
                          struct generation **ret_generation)
{
    const struct generation_settings settings = {
        .loop = &supervisor->loop,
        .slots = &supervisor->slots,
        .metrics_fd = supervisor->metrics_fd,
        .listen = &supervisor->listen,
        .greeting = supervisor->greeting,
        .events = &generation_events,
        .owner = supervisor,
    };
    int rc = generation_new(&settings, config, ret_generation);

    supervisor->generations += rc == 0;
    return rc;
}

/* ── Reloading ───────────────────────────────────────────────────────────────────────────────── */

static bool same_address(const struct config_address *a, const struct config_address *b)
{
    return a->kind == b->kind && a->port == b->port && strcmp(a->ip, b->ip) == 0;
}

static bool same_listeners(const struct config_listeners *a, const struct config_listeners *b)
{
    bool same = a->count == b->count;

    for (uint32_t i = 0; i < a->count && same; i++) {
        same = a->items[i].tls == b->items[i].tls &&
               same_address(&a->items[i].address, &b->items[i].address);
    }
    return same;
}

/* The option that differs and can't be changed without a restart, or NULL. */
static const char *fixed_option_changed(const struct supervisor *supervisor,
                                        const struct config *config)
{
    const struct config *old = supervisor->config;

    if (!same_listeners(&old->listen, &config->listen)) {
        return "listen";
    }
    if (!same_address(&old->admin_listen, &config->admin_listen)) {
        return "admin-listen";
    }
    if (strcmp(old->state_dir, config->state_dir) != 0) {
        return "state-dir";
    }
    return (config->redis.kind == REDIS_URL_NONE) != supervisor->embeds_redis ? "redis-url" : NULL;
}

static void refuse_reload(const char *why)
{
    log_event(LOG_ERROR, MODULE, "not reloaded, going on as before", LOG_TEXT("why", why));
}

/* Starts the generation that is to take over. Takes the configuration over. */
static void start_next(struct supervisor *supervisor, struct config *config)
{
    struct generation *next;
    int rc = 0;

    if (supervisor->embeds_redis) {
        rc = config_set_redis_socket(config, embedded_redis_socket(supervisor->redis));
    }
    if (rc) {
        config_free(config);
    } else {
        rc = add_generation(supervisor, config, &next);
    }
    if (rc) {
        refuse_reload(rc == GENERATION_NO_SLOTS
                          ? "so many more workers take a restart, or end of the old ones"
                          : "out of memory");
        return;
    }
    supervisor->next = next;
    supervisor->next_since_ms = loop_now(&supervisor->loop);
    rc = generation_start(next);
    if (rc < 0) {
        refuse_reload(strerror(-rc));
        generation_stop(next, CLOSE_SERVICE_RESTART);
    }
}

static void reload(struct supervisor *supervisor)
{
    CLEANUP(text_deinit) struct text message = TEXT_EMPTY;
    struct config *config;

    if (supervisor->node.phase != NODE_RUNNING || supervisor->next) {
        supervisor->reload_again = true;
        return;
    }
    supervisor->reload_again = false;
    log_event(LOG_INFO, MODULE, "reloading");
    int rc = supervisor->load(&config, &message);
    if (rc) {
        log_lines(LOG_ERROR, MODULE, "not reloaded, going on as before",
                  message.data ? message.data : "out of memory");
        return;
    }
    log_lines(LOG_WARN, "config", "warning", message.data);
    const char *option = fixed_option_changed(supervisor, config);
    if (option) {
        log_event(LOG_ERROR, MODULE, "not reloaded, going on as before",
                  LOG_TEXT("why", "this option takes a restart"), LOG_TEXT("option", option));
        config_free(config);
        return;
    }
    start_next(supervisor, config);
}

static void take_over(struct supervisor *supervisor)
{
    struct generation *old = supervisor->current;

    supervisor->current = supervisor->next;
    supervisor->next = NULL;
    supervisor->config = supervisor->current->config;
    supervisor->node.generation = supervisor->current;
    log_configure(supervisor->config->log_level, supervisor->config->log_format, "supervisor");
    log_event(LOG_INFO, MODULE, "reloaded", LOG_INT("workers", supervisor->current->workers));
    list_append(&supervisor->draining, &old->link);
    generation_drain(old, true);
}

/* How far a reload is. */
static void advance_reload(struct supervisor *supervisor)
{
    const uint64_t waited_ms = loop_now(&supervisor->loop) - supervisor->next_since_ms;
    struct generation *next = supervisor->next;

    if (!next) {
        if (supervisor->reload_again) {
            reload(supervisor);
        }
    } else if (next->state == GENERATION_READY) {
        if (generation_is_linked(next) || waited_ms >= LINK_PATIENCE_MS) {
            take_over(supervisor);
        }
    } else if (next->state == GENERATION_STARTING && waited_ms >= START_PATIENCE_MS) {
        refuse_reload("the new workers do not get ready");
        generation_stop(next, CLOSE_SERVICE_RESTART);
    }
}

static void on_signal(struct signals *signals, int number)
{
    struct supervisor *supervisor = CONTAINER_OF(signals, struct supervisor, signals);

    if (number == SIGHUP && supervisor->node.phase >= NODE_LEAVING) {
        log_event(LOG_INFO, MODULE, "SIGHUP ignored while stopping");
    } else if (number == SIGHUP) {
        reload(supervisor);
    } else if (supervisor->node.phase >= NODE_LEAVING) {
        stop_at_once(supervisor);
    } else {
        log_event(LOG_INFO, MODULE, "stopping", LOG_TEXT("signal", strsignal(number)));
        if (number == SIGTERM) {
            leave(supervisor);
        } else {
            stop(supervisor, CLOSE_GOING_AWAY);
        }
    }
}

/* ── Redis ───────────────────────────────────────────────────────────────────────────────────── */

static void give_up(struct supervisor *supervisor)
{
    supervisor->exit_status = EXIT_FAILURE;
    if (supervisor->node.phase != NODE_STOPPING) {
        stop(supervisor, CLOSE_SERVICE_RESTART);
    }
}

/* Everything that the children need is there. */
static void start_children(struct supervisor *supervisor)
{
    int rc = generation_start(supervisor->current);

    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", strerror(-rc)));
        give_up(supervisor);
    }
}

static void on_redis_ready(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->node.phase == NODE_STARTING) {
        start_children(supervisor);
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
    int rc = embedded_redis_open(&supervisor->loop.uv, supervisor->config->state_dir, &redis_events,
                                 supervisor, &supervisor->redis, why);

    if (rc == EMBEDDED_REDIS_INVALID) {
        log_event(LOG_ERROR, MODULE, "no embedded Redis", LOG_TEXT("why", why));
        return -EINVAL;
    }
    return rc == 0 ? config_set_redis_socket(supervisor->config,
                                             embedded_redis_socket(supervisor->redis))
                   : rc;
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
    int fd, rc;

    if (supervisor->config->admin_listen.kind == CONFIG_ADDRESS_OFF) {
        return 0;
    }
    rc = open_socket(&supervisor->config->admin_listen, "admin listening", &fd, &bound);
    return rc < 0 ? rc : admin_open(&supervisor->loop, fd, &supervisor->node, &supervisor->admin);
}

static int open_page(struct supervisor *supervisor)
{
    const uint32_t slots = 2 * (supervisor->config->workers + 1) + SPARE_SLOTS;
    int rc = metrics_page_create(slots + 1, &supervisor->page, &supervisor->metrics_fd);

    if (rc == 0) {
        supervisor->metrics = metrics_slot(&supervisor->page, slots);
        supervisor->slots.page = supervisor->node.page = &supervisor->page;
    }
    return rc;
}

static int open_listeners(struct supervisor *supervisor)
{
    const struct config_listeners *wanted = &supervisor->config->listen;
    int rc = 0;

    supervisor->node.listen = *wanted;
    for (uint32_t i = 0; i < wanted->count && rc == 0; i++) {
        rc = open_socket(&wanted->items[i].address,
                         wanted->items[i].tls ? "listening by TLS" : "listening",
                         &supervisor->listen.fds[i], &supervisor->node.listen.items[i].address);
        supervisor->listen.count += rc == 0;
    }
    return rc;
}

/* Of the configuration that is in force: it was checked when it was loaded. */
static void tell_certificate_expiry(struct supervisor *supervisor)
{
    CLEANUP(text_deinit) struct text message = TEXT_EMPTY;
    int64_t not_after_s;

    if (tls_certificates_check(supervisor->config, time(NULL), &message, &not_after_s) == 0 &&
        not_after_s != INT64_MAX) {
        metric_set(supervisor->metrics, METRIC_TLS_CERTIFICATE_EXPIRES,
                   not_after_s > 0 ? (uint64_t)not_after_s : 0);
    }
}

static int make_ticket_secret(struct supervisor *supervisor)
{
    int rc = tls_ticket_secret_make(&supervisor->ticket_secret, time(NULL));

    if (rc == 0) {
        tls_ticket_secret_write(&supervisor->ticket_secret, supervisor->greeting);
    }
    return rc;
}

/* The first generation, which the node's picture needs; its children are started later. */
static int open_generation(struct supervisor *supervisor)
{
    int rc = add_generation(supervisor, TAKE(supervisor->config), &supervisor->current);

    if (rc == 0) {
        supervisor->config = supervisor->current->config;
        supervisor->node.generation = supervisor->current;
    }
    return rc;
}

/* What the children are to have. */
static int open_shared(struct supervisor *supervisor)
{
    int rc = open_page(supervisor);

    if (rc == 0) {
        rc = make_ticket_secret(supervisor);
    }
    if (rc == 0) {
        tell_certificate_expiry(supervisor);
        rc = open_listeners(supervisor);
    }
    rc = rc < 0 ? rc : open_generation(supervisor);
    rc = rc < 0 ? rc : open_admin(supervisor);
    if (rc == 0 && supervisor->embeds_redis) {
        rc = open_redis(supervisor);
    }
    return rc;
}

/* Ends children that stand still. After a standstill of the supervisor's own, which may have been
 * everybody's (a machine that slept), they get their time anew. */
static void watch_children(struct supervisor *supervisor)
{
    const uint64_t now = loop_now(&supervisor->loop);

    if (now - supervisor->watched_ms > 4 * WATCH_MS) {
        supervisor->awake_ms = now;
    }
    supervisor->watched_ms = now;
    uint32_t killed = generation_watch(supervisor->current, supervisor->awake_ms);
    if (supervisor->next) {
        killed += generation_watch(supervisor->next, supervisor->awake_ms);
    }
    metric_add(supervisor->metrics, METRIC_WATCHDOG_KILLS, killed);
}

static void on_watch(struct timer *timer)
{
    struct supervisor *supervisor = CONTAINER_OF(timer, struct supervisor, watch);

    timer_set(&supervisor->loop.wheel, timer, loop_now(&supervisor->loop) + WATCH_MS);
    watch_children(supervisor);
    if (supervisor->node.phase == NODE_RUNNING) {
        advance_reload(supervisor);
    }
}

static void start(struct supervisor *supervisor)
{
    timer_init(&supervisor->watch, on_watch);
    timer_init(&supervisor->leaving, on_left);
    supervisor->watched_ms = loop_now(&supervisor->loop);
    signals_open(&supervisor->signals, &supervisor->loop, (const int[]){SIGTERM, SIGINT, SIGHUP, 0},
                 on_signal);
    int rc = open_shared(supervisor);
    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", strerror(-rc)));
        give_up(supervisor);
        return;
    }
    on_watch(&supervisor->watch);
    if (!supervisor->redis) {
        start_children(supervisor);
    }
}

static void release(struct supervisor *supervisor)
{
    if (supervisor->current) {
        generation_free(supervisor->current);
    } else {
        config_free(supervisor->config);
    }
    close_listeners(supervisor);
    close_fd(&supervisor->metrics_fd);
    metrics_page_unmap(&supervisor->page);
}

int supervisor_run(struct config *config, supervisor_load_fn load)
{
    struct supervisor supervisor = {
        .load = load,
        .config = config,
        .embeds_redis = config->redis.kind == REDIS_URL_NONE,
        .metrics_fd = -1,
        .node = {.started_at_s = (uint64_t)time(NULL),
                 .redis_embedded = config->redis.kind == REDIS_URL_NONE,
                 .draining = &supervisor.draining},
    };
    int rc = loop_open(&supervisor.loop, NULL);

    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(rc)));
        config_free(config);
        return EXIT_FAILURE;
    }
    list_init(&supervisor.draining);
    start(&supervisor);
    loop_run(&supervisor.loop);
    release(&supervisor);
    log_event(LOG_INFO, MODULE, "stopped");
    return supervisor.exit_status;
}
