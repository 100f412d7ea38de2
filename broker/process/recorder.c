#include "broker/process/recorder.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/process/control.h"
#include "broker/process/drop_log.h"
#include "broker/redis/redis_link.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/plain_message.h"
#include "proto/task_key.h"

#define MODULE "recorder"

/* How long giving the lease back may take at the end. */
#define FAREWELL_MS 1000

struct recorder {
    const struct config *config;
    struct metrics_slot *metrics;
    uv_loop_t loop;
    uv_timer_t tick; /* drives the wheel */
    uv_signal_t sigterm, sigint;
    struct control control;
    struct timer_wheel wheel;
    struct timer renewal; /* the next renewal; once it is stopping, the end of its patience */
    struct timer expiry;  /* the end of the lease */
    struct redis_link *link;
    bool is_subscribed;      /* on the link that is up now */
    bool is_subscribing;     /* asked to be */
    bool is_asking;          /* for the lease */
    bool is_paused;          /* too much is under way */
    bool is_stopping;        /* was told to */
    bool is_closing;         /* the handles are being closed */
    uint32_t in_flight;      /* messages on their way to Redis */
    uint64_t asked_ms;       /* when the lease was asked for */
    uint64_t holds_until_ms; /* 0: doesn't hold the lease */
    char lease_key[PREFIX_MAX + sizeof("!recorder")];
    char pattern[PREFIX_MAX + sizeof("*")];
    char holder[33];      /* a random name */
    char last_error[192]; /* said in the log already */
    struct drop_log drop_log;
};

/* A message on its way to Redis: what is needed should it be refused. */
struct pending {
    struct recorder *recorder;
    size_t channel_len;
    char channel[];
};

static uint64_t now_ms(const struct recorder *recorder)
{
    return uv_now(&recorder->loop);
}

/* An error that comes again and again is logged once. */
static void log_error(struct recorder *recorder, const char *what, const redisReply *reply)
{
    const char *why = reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of another kind";
    const bool repeated = strcmp(recorder->last_error, why) == 0;

    log_event(repeated ? LOG_DEBUG : LOG_ERROR, MODULE, what, LOG_TEXT("why", why));
    snprintf(recorder->last_error, sizeof(recorder->last_error), "%s", why);
}

/* ── The lease ───────────────────────────────────────────────────────────────────────────────── */

static bool holds_lease(const struct recorder *recorder)
{
    return now_ms(recorder) < recorder->holds_until_ms;
}

/* `until_ms` 0: without the lease. */
static void set_lease(struct recorder *recorder, uint64_t until_ms)
{
    const bool had = recorder->holds_until_ms > 0, has = until_ms > 0;

    recorder->holds_until_ms = until_ms;
    metric_set(recorder->metrics, METRIC_RECORDER_ACTIVE, has);
    if (has) {
        timer_set(&recorder->wheel, &recorder->expiry, until_ms);
    } else {
        timer_cancel(&recorder->wheel, &recorder->expiry);
    }
    if (had != has) {
        log_event(LOG_INFO, MODULE, has ? "recording" : "no longer recording");
    }
}

static void on_expiry(struct timer *timer)
{
    struct recorder *recorder = CONTAINER_OF(timer, struct recorder, expiry);

    set_lease(recorder, 0);
    if (recorder->in_flight > 0 && redis_link_is_up(recorder->link)) {
        redis_link_fail(recorder->link, "the recorder's lease could not be renewed in time");
    }
}

/* Asks for the lease, or gives it back (0). 0, or a failure as of redis_link_command(). */
static int ask_for_lease(struct recorder *recorder, unsigned for_ms, redis_reply_fn on_reply)
{
    char milliseconds[16];

    snprintf(milliseconds, sizeof(milliseconds), "%u", for_ms);
    return redis_link_command(recorder->link, on_reply, recorder, 6,
                              (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_lease"),
                                              SPAN_OF("1"), SPAN_OF(recorder->lease_key),
                                              SPAN_OF(recorder->holder), SPAN_OF(milliseconds)});
}

static void on_lease_answered(void *context, const redisReply *reply)
{
    struct recorder *recorder = context;

    recorder->is_asking = false;
    if (!reply || recorder->is_stopping) {
        return;
    }
    if (reply->type != REDIS_REPLY_INTEGER) {
        log_error(recorder, "cannot get the lease", reply);
        return;
    }
    recorder->last_error[0] = '\0';
    set_lease(recorder, reply->integer == 1 ? recorder->asked_ms + RECORDER_LEASE_MS : 0);
}

static void renew(struct recorder *recorder)
{
    recorder->asked_ms = now_ms(recorder);
    recorder->is_asking = ask_for_lease(recorder, RECORDER_LEASE_MS, on_lease_answered) == 0;
}

/* ── The subscription ────────────────────────────────────────────────────────────────────────── */

static void on_subscribed(void *context, const redisReply *reply)
{
    struct recorder *recorder = context;

    recorder->is_subscribing = false;
    if (!reply || recorder->is_stopping) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        log_error(recorder, "cannot subscribe to what is published", reply);
        return;
    }
    recorder->is_subscribed = true;
    renew(recorder);
}

static void subscribe(struct recorder *recorder)
{
    recorder->is_subscribing =
        redis_link_subscribe(recorder->link, "PSUBSCRIBE", SPAN_OF(recorder->pattern),
                             on_subscribed, recorder) == 0;
}

static void close_all(struct recorder *recorder);

/* Each second: what the link's state asks for, and what failed a second ago. */
static void on_renewal(struct timer *timer)
{
    struct recorder *recorder = CONTAINER_OF(timer, struct recorder, renewal);

    if (recorder->is_stopping) {
        close_all(recorder);
        return;
    }
    timer_set(&recorder->wheel, &recorder->renewal, now_ms(recorder) + RECORDER_RENEW_MS);
    drop_log_tick(&recorder->drop_log, now_ms(recorder));
    if (!redis_link_is_up(recorder->link)) {
        return;
    }
    if (!recorder->is_subscribed && !recorder->is_subscribing) {
        subscribe(recorder);
    } else if (recorder->is_subscribed && !recorder->is_asking) {
        renew(recorder);
    }
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

static void drop(struct recorder *recorder, enum metric metric, struct span channel,
                 const char *why)
{
    metric_add(recorder->metrics, metric, 1);
    drop_log_add(&recorder->drop_log, now_ms(recorder), channel, why);
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static void update_pause(struct recorder *recorder)
{
    const uint32_t resume_below = RECORDER_IN_FLIGHT_MAX / 2;

    if (!recorder->is_paused && recorder->in_flight >= RECORDER_IN_FLIGHT_MAX) {
        recorder->is_paused = true;
        redis_link_pause(recorder->link, true);
    } else if (recorder->is_paused && recorder->in_flight < resume_below) {
        recorder->is_paused = false;
        redis_link_pause(recorder->link, false);
    }
}

static void take_answer(struct recorder *recorder, struct span channel, const redisReply *reply)
{
    if (!reply) {
        drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel,
             "the link to Redis was lost on the way");
    } else if (reply->type != REDIS_REPLY_ERROR) {
        metric_add(recorder->metrics, METRIC_RECORDER_ACCEPTED, 1);
    } else if (begins_with(reply->str, "PROGRESS_INVALID")) {
        drop(recorder, METRIC_RECORDER_DROPPED_INVALID, channel, reply->str);
    } else {
        drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel, reply->str);
        if (begins_with(reply->str, "READONLY")) {
            redis_link_fail(recorder->link, reply->str);
        }
    }
}

static void on_recorded(void *context, const redisReply *reply)
{
    struct pending *pending = context;
    struct recorder *recorder = pending->recorder;

    recorder->in_flight--;
    take_answer(recorder, (struct span){pending->channel, pending->channel_len}, reply);
    mem_free(pending);
    update_pause(recorder);
}

static int record(struct recorder *recorder, struct span channel, struct span type,
                  struct span payload)
{
    struct pending *pending = mem_alloc(sizeof(*pending) + channel.len);
    int r;

    if (!pending) {
        return -ENOMEM;
    }
    pending->recorder = recorder;
    pending->channel_len = channel.len;
    memcpy(pending->channel, channel.at, channel.len);
    r = redis_link_command(recorder->link, on_recorded, pending, 6,
                           (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_publish"),
                                           SPAN_OF("1"), channel, type, payload});
    if (r < 0) {
        mem_free(pending);
        return r;
    }
    recorder->in_flight++;
    return 0;
}

static void on_message(void *owner, struct span channel, struct span message)
{
    struct recorder *recorder = owner;
    struct span task_id = task_id_of_key(channel, recorder->config->redis_prefix);
    struct span type, payload;
    char why[128];

    if (!task_id.at || !holds_lease(recorder)) {
        return; /* no task's channel; or another records */
    }
    if (plain_message_parse(message, task_id, &type, &payload, why) != 0) {
        drop(recorder, METRIC_RECORDER_DROPPED_INVALID, channel, why);
    } else if (record(recorder, channel, type, payload) < 0) {
        drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel, "out of memory");
    }
    update_pause(recorder);
}

/* ── The link ────────────────────────────────────────────────────────────────────────────────── */

static void on_up(void *owner)
{
    subscribe(owner);
}

/* The lease is kept: it is renewed if the link comes back in time. */
static void on_down(void *owner)
{
    struct recorder *recorder = owner;

    recorder->is_subscribed = recorder->is_paused = false;
}

static void on_link_closed(void *owner)
{
    struct recorder *recorder = owner;

    recorder->link = NULL;
}

static const struct redis_link_events link_events = {
    .on_up = on_up,
    .on_down = on_down,
    .on_message = on_message,
    .on_closed = on_link_closed,
};

/* ── Stopping ────────────────────────────────────────────────────────────────────────────────── */

static void on_control_closed(struct control *control)
{
}

static void close_all(struct recorder *recorder)
{
    if (recorder->is_closing) {
        return;
    }
    recorder->is_closing = true;
    drop_log_tick(&recorder->drop_log, UINT64_MAX);
    timer_cancel(&recorder->wheel, &recorder->renewal);
    timer_cancel(&recorder->wheel, &recorder->expiry);
    if (recorder->link) {
        redis_link_close(recorder->link);
    }
    control_close(&recorder->control);
    uv_close((uv_handle_t *)&recorder->tick, NULL);
    uv_close((uv_handle_t *)&recorder->sigterm, NULL);
    uv_close((uv_handle_t *)&recorder->sigint, NULL);
}

static void on_given_back(void *context, const redisReply *reply)
{
    close_all(context);
}

/* Gives the lease back, behind all that is under way, so that another need not wait for its end. */
static void stop(struct recorder *recorder)
{
    const bool holds = holds_lease(recorder);

    if (recorder->is_stopping) {
        return;
    }
    recorder->is_stopping = true;
    set_lease(recorder, 0);
    if (holds && ask_for_lease(recorder, 0, on_given_back) == 0) {
        timer_set(&recorder->wheel, &recorder->renewal, now_ms(recorder) + FAREWELL_MS);
    } else {
        close_all(recorder);
    }
}

static void on_line(struct control *control, const char *line)
{
    if (begins_with(line, "stop")) {
        stop(CONTAINER_OF(control, struct recorder, control));
    }
}

static void on_end(struct control *control)
{
    stop(CONTAINER_OF(control, struct recorder, control));
}

static const struct control_events control_events = {
    .on_line = on_line,
    .on_end = on_end,
    .on_closed = on_control_closed,
};

static void on_sigterm(uv_signal_t *handle, int number)
{
    stop(CONTAINER_OF(handle, struct recorder, sigterm));
}

/* A terminal sends SIGINT to every process; the supervisor decides what follows from it. */
static void on_sigint(uv_signal_t *handle, int number)
{
}

/* ── Starting ────────────────────────────────────────────────────────────────────────────────── */

static void on_tick(uv_timer_t *timer)
{
    struct recorder *recorder = CONTAINER_OF(timer, struct recorder, tick);

    timer_wheel_advance(&recorder->wheel, now_ms(recorder));
    metrics_sign_of_life(recorder->metrics, now_ms(recorder));
    log_tick();
}

static void name_things(struct recorder *recorder)
{
    const char *prefix = recorder->config->redis_prefix;

    snprintf(recorder->lease_key, sizeof(recorder->lease_key), "%s!recorder", prefix);
    snprintf(recorder->pattern, sizeof(recorder->pattern), "%s*", prefix);
    snprintf(recorder->holder, sizeof(recorder->holder), "%08x%08x%08x%08x", arc4random(),
             arc4random(), arc4random(), arc4random());
}

static void open_handles(struct recorder *recorder)
{
    uv_timer_init(&recorder->loop, &recorder->tick);
    uv_timer_start(&recorder->tick, on_tick, TIMER_WHEEL_TICK_MS, TIMER_WHEEL_TICK_MS);
    uv_signal_init(&recorder->loop, &recorder->sigterm);
    uv_signal_start(&recorder->sigterm, on_sigterm, SIGTERM);
    uv_signal_init(&recorder->loop, &recorder->sigint);
    uv_signal_start(&recorder->sigint, on_sigint, SIGINT);
    timer_wheel_init(&recorder->wheel, now_ms(recorder));
    timer_init(&recorder->renewal, on_renewal);
    timer_init(&recorder->expiry, on_expiry);
    timer_set(&recorder->wheel, &recorder->renewal, now_ms(recorder) + RECORDER_RENEW_MS);
    control_init(&recorder->control, &recorder->loop, &control_events);
}

static int open_link(struct recorder *recorder)
{
    recorder->link = redis_link_open(&(struct redis_link_settings){.loop = &recorder->loop,
                                                                   .wheel = &recorder->wheel,
                                                                   .config = recorder->config,
                                                                   .metrics = recorder->metrics,
                                                                   .events = &link_events,
                                                                   .owner = recorder});
    return recorder->link ? 0 : -ENOMEM;
}

static int open_control(struct recorder *recorder, int fd)
{
    int r = control_open(&recorder->control, fd);

    return r < 0 ? r : control_start(&recorder->control);
}

int recorder_run(const struct config *config, struct metrics_slot *metrics, int control_fd)
{
    struct recorder recorder = {.config = config, .metrics = metrics};
    int r = uv_loop_init(&recorder.loop);

    if (r < 0) {
        return EXIT_FAILURE;
    }
    name_things(&recorder);
    open_handles(&recorder);
    r = open_link(&recorder);
    if (r == 0) {
        r = open_control(&recorder, control_fd);
    }
    if (r == 0) {
        control_send(&recorder.control, "ready");
    } else {
        log_event(LOG_ERROR, MODULE, "cannot start", LOG_TEXT("why", uv_strerror(r)));
        close_all(&recorder);
    }
    uv_run(&recorder.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&recorder.loop) < 0) {
        abort(); /* something was left open */
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
