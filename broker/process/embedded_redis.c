#include "broker/process/embedded_redis.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/process/redis_server.h"
#include "broker/process/respawn.h"
#include "broker/redis/redis_connection.h"
#include "broker/redis/redis_info.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/state_dir.h"

#define MODULE "embedded_redis"
#define TICK_MS 50              /* how often it is asked whether it answers */
#define ANSWER_TIMEOUT_MS 10000 /* it answers also while it loads its data */
#define STOP_TIMEOUT_MS 10000

STATE_MACHINE(embedded_machine, MODULE, EMBEDDED_STATES);

struct embedded_redis {
    uv_loop_t *loop;
    const struct embedded_redis_events *events;
    void *owner;
    uint8_t state;  /* enum embedded_state */
    bool announced; /* on_ready was called */
    int lock_fd;
    char *state_dir;
    struct redis_url server; /* where it answers */
    uv_timer_t timer;        /* LOOKING, STARTING: the next question; PAUSING: the next start;
                                STOPPING: the kill */
    uint64_t since_ms;       /* LOOKING, STARTING: when that began */
    bool timer_exists, process_exists, connection_exists; /* until their handles are closed */
    uv_process_t process;
    struct redis_connection connection; /* asks whether it answers; TAKEN: tells when it ends */
    int taken_pid;
    struct respawn respawn;
};

static void embedded_set_state(struct embedded_redis *redis, enum embedded_state state)
{
    state_move(&embedded_machine, &redis->state, state, NULL, 0);
}

static void embedded_set_timer(struct embedded_redis *redis, uv_timer_cb on_timer, uint64_t in_ms,
                               uint64_t repeat_ms)
{
    /* Fails only for a closing handle. */
    int rc = uv_timer_start(&redis->timer, on_timer, in_ms, repeat_ms);

    assert(rc == 0);
    (void)rc;
}

static bool is_process_running(const struct embedded_redis *redis)
{
    return redis->process_exists && !uv_is_closing((const uv_handle_t *)&redis->process);
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

static void embedded_after_closing(struct embedded_redis *redis)
{
    void (*on_stopped)(void *) = redis->events->on_stopped;
    void *owner = redis->owner;

    if (redis->state != EMBEDDED_STOPPED || redis->timer_exists || redis->process_exists ||
        redis->connection_exists) {
        return;
    }
    close(redis->lock_fd);
    mem_free(redis->server.path);
    mem_free(redis->state_dir);
    mem_free(redis);
    on_stopped(owner);
}

static void embedded_on_timer_closed(uv_handle_t *handle)
{
    struct embedded_redis *redis = CONTAINER_OF(handle, struct embedded_redis, timer);

    redis->timer_exists = false;
    embedded_after_closing(redis);
}

static void embedded_finish(struct embedded_redis *redis)
{
    embedded_set_state(redis, EMBEDDED_STOPPED);
    uv_close((uv_handle_t *)&redis->timer, embedded_on_timer_closed);
    if (redis->connection_exists) {
        redis_connection_close(&redis->connection);
    }
}

/* It never answered. */
static void embedded_fail(struct embedded_redis *redis, const char *why)
{
    uv_timer_stop(&redis->timer);
    embedded_set_state(redis, EMBEDDED_FAILED);
    redis->events->on_failed(redis->owner, why);
}

/* ── Its answer ──────────────────────────────────────────────────────────────────────────────── */

static void embedded_look(struct embedded_redis *redis);
static void embedded_start_server(struct embedded_redis *redis);

static void embedded_announce(struct embedded_redis *redis)
{
    if (!redis->announced) {
        redis->announced = true;
        redis->events->on_ready(redis->owner);
    }
}

static void embedded_use(struct embedded_redis *redis, int pid)
{
    const bool ours = redis->state == EMBEDDED_STARTING;

    uv_timer_stop(&redis->timer);
    embedded_set_state(redis, ours ? EMBEDDED_RUNNING : EMBEDDED_TAKEN);
    log_event(ours ? LOG_INFO : LOG_WARN, MODULE,
              ours ? "Redis started" : "took over a Redis that was running",
              LOG_TEXT("socket", redis->server.path), LOG_INT("pid", pid));
    if (ours) {
        redis_connection_close(&redis->connection); /* our own process' end is heard of anyway */
    } else {
        redis->taken_pid = pid;
    }
    embedded_announce(redis);
}

static void embedded_on_info(void *context, const struct redis_answer *answer)
{
    struct embedded_redis *redis = context;
    struct redis_info info;
    char why[256];

    if (answer->kind == REDIS_LOST ||
        (redis->state != EMBEDDED_LOOKING && redis->state != EMBEDDED_STARTING)) {
        return;
    }
    if (answer->kind != REDIS_VALUE) {
        snprintf(why, sizeof(why), "the Redis on %s refuses: %.*s", redis->server.path,
                 (int)answer->error.len, answer->error.at);
    } else {
        redis_info_read(redis_answer_text(answer), &info);
        /* One that loads its data will be ready soon: the workers wait for that. */
        info.is_loading = false;
        const char *objection = redis_info_objection(&info);
        if (!objection) {
            embedded_use(redis, info.process_id);
            return;
        }
        snprintf(why, sizeof(why), "the Redis on %s can't be used: %s", redis->server.path,
                 objection);
    }
    if (redis->announced) {
        log_event(LOG_ERROR, MODULE, "Redis can't be used", LOG_TEXT("why", why));
    } else {
        embedded_fail(redis, why);
    }
}

static void embedded_on_open(struct redis_connection *connection)
{
    struct embedded_redis *redis = CONTAINER_OF(connection, struct embedded_redis, connection);

    if (redis_connection_send(connection, embedded_on_info, redis, 2,
                              (struct span[]){SPAN_OF("INFO"), SPAN_OF("default")}) < 0) {
        redis_connection_close(connection);
    }
}

static void embedded_on_connection_failed(struct redis_connection *connection, const char *why)
{
    log_event(LOG_DEBUG, MODULE, "no answer", LOG_TEXT("why", why));
    redis_connection_close(connection);
}

static void embedded_on_connection_closed(struct redis_connection *connection)
{
    struct embedded_redis *redis = CONTAINER_OF(connection, struct embedded_redis, connection);

    redis->connection_exists = false;
    switch ((enum embedded_state)redis->state) {
    case EMBEDDED_LOOKING: /* nobody is there */
        embedded_start_server(redis);
        break;
    case EMBEDDED_TAKEN:
        log_event(LOG_WARN, MODULE, "the Redis that was taken over is gone",
                  LOG_INT("pid", redis->taken_pid));
        embedded_look(redis);
        break;
    case EMBEDDED_STOPPING:
        if (!redis->process_exists) {
            embedded_finish(redis);
        }
        break;
    case EMBEDDED_STOPPED:
        embedded_after_closing(redis);
        break;
    case EMBEDDED_STARTING: /* the timer asks again */
    case EMBEDDED_RUNNING:
    case EMBEDDED_PAUSING:
    case EMBEDDED_FAILED:
        break;
    }
}

static const struct redis_connection_events connection_events = {
    .on_open = embedded_on_open,
    .on_failed = embedded_on_connection_failed,
    .on_closed = embedded_on_connection_closed,
};

static void embedded_ask(struct embedded_redis *redis)
{
    redis->connection_exists = true;
    if (redis_connection_open(&redis->connection, redis->loop, &redis->server, &connection_events) <
        0) {
        redis->connection_exists = false; /* the timer asks again */
    }
}

static void embedded_on_answer_overdue(struct embedded_redis *redis)
{
    char why[256];

    if (redis->state == EMBEDDED_STARTING) {
        log_event(LOG_ERROR, MODULE, "Redis does not answer, killing it");
        uv_timer_stop(&redis->timer);
        (void)uv_process_kill(&redis->process, SIGKILL);
    } else if (redis->announced) {
        log_event(LOG_ERROR, MODULE, "a process holds the socket, but does not answer",
                  LOG_TEXT("socket", redis->server.path));
        redis->since_ms = uv_now(redis->loop);
    } else {
        snprintf(why, sizeof(why), "a process holds %s, but does not answer", redis->server.path);
        embedded_fail(redis, why);
    }
}

static void embedded_on_tick(uv_timer_t *timer)
{
    struct embedded_redis *redis = CONTAINER_OF(timer, struct embedded_redis, timer);

    if (uv_now(redis->loop) - redis->since_ms >= ANSWER_TIMEOUT_MS) {
        embedded_on_answer_overdue(redis);
    } else if (!redis->connection_exists) {
        embedded_ask(redis);
    }
}

/* Asks, and asks again at each tick until there is an answer or none can come. */
static void embedded_await_answer(struct embedded_redis *redis, enum embedded_state state)
{
    embedded_set_state(redis, state);
    redis->since_ms = uv_now(redis->loop);
    embedded_set_timer(redis, embedded_on_tick, state == EMBEDDED_LOOKING ? 0 : TICK_MS, TICK_MS);
}

static void embedded_look(struct embedded_redis *redis)
{
    embedded_await_answer(redis, EMBEDDED_LOOKING);
}

/* ── A process of our own ────────────────────────────────────────────────────────────────────── */

static void embedded_on_pause_over(uv_timer_t *timer)
{
    embedded_look(CONTAINER_OF(timer, struct embedded_redis, timer));
}

static void embedded_on_process_closed(uv_handle_t *handle)
{
    struct embedded_redis *redis = CONTAINER_OF(handle, struct embedded_redis, process);

    redis->process_exists = false;
    if (redis->state == EMBEDDED_STOPPING) {
        embedded_finish(redis);
    }
    embedded_after_closing(redis);
}

static void embedded_log_exit(const struct embedded_redis *redis, int64_t status, int signal)
{
    const bool expected = redis->state == EMBEDDED_STOPPING && status == 0;

    log_event(expected ? LOG_INFO : LOG_ERROR, MODULE, "Redis exited",
              LOG_INT("pid", redis->process.pid),
              signal != 0 ? LOG_TEXT("signal", strsignal(signal)) : LOG_INT("status", status));
}

static void tell_why_not_started(struct embedded_redis *redis, int64_t status)
{
    char why[REDIS_SERVER_PATH_SIZE + 64];

    if (status == REDIS_SERVER_EXIT_NOT_FOUND) {
        embedded_fail(redis,
                      "redis-server is not installed, or not in PATH; install it, or name a Redis "
                      "with --redis-url");
        return;
    }
    snprintf(why, sizeof(why), "redis-server did not start, see %s/" REDIS_SERVER_LOG,
             redis->state_dir);
    embedded_fail(redis, why);
}

/* Ours is gone, or could not be started. */
static void embedded_come_back(struct embedded_redis *redis)
{
    uint64_t lived = uv_now(redis->loop) - redis->since_ms;

    embedded_set_state(redis, EMBEDDED_PAUSING);
    embedded_set_timer(redis, embedded_on_pause_over, respawn_pause(&redis->respawn, lived), 0);
}

static void embedded_on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct embedded_redis *redis = CONTAINER_OF(process, struct embedded_redis, process);

    embedded_log_exit(redis, status, signal);
    uv_close((uv_handle_t *)process, embedded_on_process_closed);
    if (redis->state != EMBEDDED_STARTING && redis->state != EMBEDDED_RUNNING) {
        return;
    }
    if (redis->announced) {
        embedded_come_back(redis);
    } else {
        tell_why_not_started(redis, status);
    }
}

static void embedded_start_server(struct embedded_redis *redis)
{
    int rc = redis_server_spawn(redis->loop, &redis->process, redis->state_dir,
                                embedded_on_process_exit);

    redis->process_exists = true;
    embedded_await_answer(redis, EMBEDDED_STARTING);
    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "cannot start a process", LOG_TEXT("why", uv_strerror(rc)));
        uv_close((uv_handle_t *)&redis->process, embedded_on_process_closed);
        embedded_come_back(redis);
    }
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

static char *embedded_join(const char *directory, const char *name)
{
    struct text path = TEXT_EMPTY;
    char *copy;

    text_printf(&path, "%s/%s", directory, name);
    copy = text_failed(&path) ? NULL : mem_strndup(path.data, path.len);
    text_deinit(&path);
    return copy;
}

/* What needs memory, before anything is opened. NULL when there is none. */
static struct embedded_redis *embedded_allocate(const char *state_dir)
{
    struct embedded_redis *redis = mem_zalloc(1, sizeof(*redis));
    char *copy = mem_strndup(state_dir, strlen(state_dir));
    char *path = embedded_join(state_dir, STATE_DIR_REDIS_SOCKET);

    if (!redis || !copy || !path) {
        mem_free(redis);
        mem_free(copy);
        mem_free(path);
        return NULL;
    }
    redis->state_dir = copy;
    redis->server = (struct redis_url){.kind = REDIS_URL_UNIX, .path = path};
    return redis;
}

int embedded_redis_open(uv_loop_t *loop, const char *state_dir,
                        const struct embedded_redis_events *events, void *owner,
                        struct embedded_redis **ret_redis, char why[EMBEDDED_REDIS_WHY_SIZE])
{
    struct embedded_redis *redis;
    int fd;

    static_assert(EMBEDDED_REDIS_WHY_SIZE >= REDIS_SERVER_WHY_SIZE, "the reason must fit");
    if (redis_server_claim(state_dir, &fd, why) != 0) {
        return EMBEDDED_REDIS_INVALID;
    }
    redis = embedded_allocate(state_dir);
    if (!redis) {
        close(fd);
        return -ENOMEM;
    }
    redis->loop = loop;
    redis->events = events;
    redis->owner = owner;
    redis->lock_fd = fd;
    redis->timer_exists = true;
    uv_timer_init(loop, &redis->timer);
    embedded_look(redis);
    *ret_redis = redis;
    return 0;
}

const char *embedded_redis_socket(const struct embedded_redis *redis)
{
    return redis->server.path;
}

/* ── Stopping ────────────────────────────────────────────────────────────────────────────────── */

static void embedded_kill_now(struct embedded_redis *redis)
{
    if (is_process_running(redis)) {
        (void)uv_process_kill(&redis->process, SIGKILL);
    } else if (redis->connection_exists && redis->taken_pid > 0) {
        (void)kill(redis->taken_pid, SIGKILL);
    }
}

static void embedded_on_stop_overdue(uv_timer_t *timer)
{
    log_event(LOG_ERROR, MODULE, "Redis does not stop, killing it");
    embedded_kill_now(CONTAINER_OF(timer, struct embedded_redis, timer));
}

static void embedded_on_shutdown_refused(void *context, const struct redis_answer *answer)
{
    if (answer->kind != REDIS_VALUE && answer->kind != REDIS_LOST) {
        log_event(LOG_ERROR, MODULE, "Redis refuses to stop",
                  LOG_SPAN("why", answer->error.at, answer->error.len));
    }
}

static void shut_down_taken(struct embedded_redis *redis)
{
    if (redis_connection_send(&redis->connection, embedded_on_shutdown_refused, redis, 1,
                              (struct span[]){SPAN_OF("SHUTDOWN")}) < 0 &&
        redis->taken_pid > 0) {
        (void)kill(redis->taken_pid, SIGTERM);
    }
}

void embedded_redis_stop(struct embedded_redis *redis)
{
    const enum embedded_state state = redis->state;

    if (state == EMBEDDED_STOPPING) {
        embedded_kill_now(redis);
        return;
    }
    if (state == EMBEDDED_STOPPED) {
        return;
    }
    embedded_set_state(redis, EMBEDDED_STOPPING);
    embedded_set_timer(redis, embedded_on_stop_overdue, STOP_TIMEOUT_MS, 0);
    if (is_process_running(redis)) {
        (void)uv_process_kill(&redis->process, SIGTERM); /* the same to it as SHUTDOWN */
    } else if (state == EMBEDDED_TAKEN) {
        shut_down_taken(redis);
    } else if (!redis->process_exists) {
        embedded_finish(redis);
    }
}
