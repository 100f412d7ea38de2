#include "broker/process/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/process/kept_messages.h"
#include "broker/redis/redis_link.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/plain_message.h"
#include "proto/task_key.h"
#include "proto/task_message.h"

#define MODULE "recorder"

STATE_MACHINE(recorder_machine, MODULE, RECORDER_STATES);

struct recorder {
    struct recorder_settings settings;
    uint8_t state;        /* enum recorder_state */
    struct timer renewal; /* the next renewal; STOPPING: the end of its patience */
    struct timer expiry;  /* the end of what is known of the lease, our own or another's */
    struct redis_link *link;
    struct kept_messages kept;
    uint64_t unknown_since_ms; /* what came before was another recorder's */
    uint32_t crowded_out;      /* messages that were not kept for want of room, the last one… */
    uint64_t crowded_out_ms;   /* …at this time */
    uint32_t in_flight;        /* messages on their way to Redis */
    uint64_t asked_ms;         /* when the lease was asked for; 0: no answer is awaited */
    uint64_t lease_until_ms;   /* our own; 0: we don't hold it. Outlives a link that comes back */
    char lease_key[PREFIX_MAX + sizeof("!recorder")];
    char pattern[PREFIX_MAX + sizeof("*")];
    char holder[33];      /* a random name */
    char last_error[192]; /* said in the log already */
};

/* A message on its way to Redis, or what is taken over of a task. */
struct recorder_message {
    struct recorder *recorder;
    uint64_t number; /* of the message kept, the last one of the task; 0: it could not be kept */
    size_t channel_len;
    char channel[];
};

enum recorder_state recorder_state(const struct recorder *recorder)
{
    return recorder->state;
}

static void recorder_set_state(struct recorder *recorder, enum recorder_state state)
{
    if (recorder->state != state) {
        state_move(&recorder_machine, &recorder->state, state, NULL, 0);
    }
}

static bool recorder_is_running(const struct recorder *recorder)
{
    return recorder->state < RECORDER_STOPPING;
}

static uint64_t recorder_now_ms(const struct recorder *recorder)
{
    return uv_now(recorder->settings.loop);
}

static void recorder_set_timer(struct recorder *recorder, struct timer *timer, uint64_t in_ms)
{
    timer_set(recorder->settings.wheel, timer, recorder_now_ms(recorder) + in_ms);
}

/* An error that comes again and again is logged once. */
static void recorder_log_error(struct recorder *recorder, const char *what,
                               const struct redis_answer *answer)
{
    char why[sizeof(recorder->last_error)];

    snprintf(why, sizeof(why), "%.*s", (int)answer->error.len, answer->error.at);
    log_event(strcmp(recorder->last_error, why) == 0 ? LOG_DEBUG : LOG_ERROR, MODULE, what,
              LOG_TEXT("why", why));
    strcpy(recorder->last_error, why);
}

static void begin_recording(struct recorder *recorder);

static void recorder_close_all(struct recorder *recorder)
{
    recorder_set_state(recorder, RECORDER_CLOSING);
    timer_cancel(recorder->settings.wheel, &recorder->renewal);
    timer_cancel(recorder->settings.wheel, &recorder->expiry);
    redis_link_close(recorder->link);
}

/* ── The lease ───────────────────────────────────────────────────────────────────────────────── */

/* `until_ms` 0: we don't hold it. */
static void recorder_set_lease(struct recorder *recorder, uint64_t until_ms)
{
    const bool had = recorder->lease_until_ms > 0, has = until_ms > 0;

    recorder->lease_until_ms = until_ms;
    metric_set(recorder->settings.metrics, METRIC_RECORDER_ACTIVE, has);
    if (had != has) {
        log_event(LOG_INFO, MODULE, has ? "recording" : "no longer recording");
    }
}

/* Whether a loop that stood still hasn't slept over the lease. */
static bool recorder_holds_lease(const struct recorder *recorder)
{
    return recorder_now_ms(recorder) < recorder->lease_until_ms;
}

/* From here on nobody is known to record. What this recorder left itself counts too. */
static void leave_known(struct recorder *recorder)
{
    if (recorder->state == RECORDER_RECORDING) {
        recorder->unknown_since_ms = 0;
    } else if (recorder->state == RECORDER_STANDING_BY) {
        recorder->unknown_since_ms = recorder_now_ms(recorder);
    }
}

/* Nobody is known to hold the lease any more. */
static void recorder_on_expiry(struct timer *timer)
{
    struct recorder *recorder = CONTAINER_OF(timer, struct recorder, expiry);
    const bool held = recorder->lease_until_ms > 0;

    recorder_set_lease(recorder, 0);
    leave_known(recorder);
    if (recorder->state != RECORDER_RECORDING && recorder->state != RECORDER_STANDING_BY) {
        return;
    }
    recorder_set_state(recorder, RECORDER_ASKING);
    if (held && (recorder->asked_ms > 0 || recorder->in_flight > 0)) {
        redis_link_fail(recorder->link, "the recorder's lease could not be renewed in time");
    }
}

/* Asks for the lease, or gives it back (0). 0, or a failure as of redis_link_command(). */
static int ask_for_lease(struct recorder *recorder, unsigned for_ms, redis_answer_fn on_answer)
{
    char milliseconds[16];

    snprintf(milliseconds, sizeof(milliseconds), "%u", for_ms);
    return redis_link_command(recorder->link, on_answer, recorder, 6,
                              (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_lease"),
                                              SPAN_OF("1"), SPAN_OF(recorder->lease_key),
                                              SPAN_OF(recorder->holder), SPAN_OF(milliseconds)});
}

static void recorder_on_lease_answered(void *context, const struct redis_answer *answer)
{
    struct recorder *recorder = context;
    const uint64_t until_ms = recorder->asked_ms + RECORDER_LEASE_MS;

    recorder->asked_ms = 0;
    if (answer->kind == REDIS_LOST || !recorder_is_running(recorder) ||
        recorder->state == RECORDER_AWAY) {
        return;
    }
    if (answer->kind != REDIS_VALUE) {
        recorder_log_error(recorder, "cannot get the lease", answer);
        return;
    }
    recorder->last_error[0] = '\0';
    if (redis_answer_integer(answer) == 1) {
        recorder_set_lease(recorder, until_ms);
        begin_recording(recorder);
    } else {
        recorder_set_lease(recorder, 0);
        recorder_set_state(recorder, RECORDER_STANDING_BY);
    }
    timer_set(recorder->settings.wheel, &recorder->expiry, until_ms);
}

static void recorder_renew(struct recorder *recorder)
{
    if (recorder->asked_ms == 0 &&
        ask_for_lease(recorder, RECORDER_LEASE_MS, recorder_on_lease_answered) == 0) {
        recorder->asked_ms = recorder_now_ms(recorder);
    }
}

/* ── The subscription ────────────────────────────────────────────────────────────────────────── */

static void recorder_on_subscribed(void *context, const struct redis_answer *answer)
{
    struct recorder *recorder = context;

    if (recorder->state != RECORDER_SUBSCRIBING || answer->kind == REDIS_LOST) {
        return;
    }
    if (answer->kind != REDIS_VALUE) {
        recorder_set_state(recorder, RECORDER_AWAY);
        recorder_log_error(recorder, "cannot subscribe to what is published", answer);
        return;
    }
    if (recorder_holds_lease(recorder)) {
        begin_recording(recorder);
    } else {
        recorder_set_state(recorder, RECORDER_ASKING);
    }
    recorder_renew(recorder);
}

static void recorder_subscribe(struct recorder *recorder)
{
    if (redis_link_subscribe(recorder->link, "PSUBSCRIBE", SPAN_OF(recorder->pattern),
                             recorder_on_subscribed, recorder) == 0) {
        recorder_set_state(recorder, RECORDER_SUBSCRIBING);
    }
}

static void count_lost(struct recorder *recorder, uint32_t count)
{
    if (count > 0) {
        metric_add(recorder->settings.metrics, METRIC_RECORDER_DROPPED_OTHER, count);
        log_event(LOG_WARN, MODULE, "messages lost: no recorder took them up in time",
                  LOG_INT("count", count));
    }
}

/* What was kept for long enough is lost, if nobody is known to have recorded it. */
static void recorder_expire(struct recorder *recorder)
{
    const uint64_t now = recorder_now_ms(recorder);
    const bool known =
        recorder->state == RECORDER_RECORDING || recorder->state == RECORDER_STANDING_BY;

    if (now > RECORDER_KEPT_MS) {
        count_lost(recorder, kept_messages_expire(&recorder->kept, now - RECORDER_KEPT_MS,
                                                  known ? UINT64_MAX : recorder->unknown_since_ms));
    }
}

/* Each second: what the state asks for, and what failed a second ago. */
static void recorder_on_renewal(struct timer *timer)
{
    struct recorder *recorder = CONTAINER_OF(timer, struct recorder, renewal);

    if (recorder->state == RECORDER_STOPPING) {
        recorder_close_all(recorder);
        return;
    }
    recorder_set_timer(recorder, &recorder->renewal, RECORDER_RENEW_MS);
    recorder_expire(recorder);
    if (recorder->state == RECORDER_AWAY) {
        recorder_subscribe(recorder);
    } else if (recorder->state != RECORDER_SUBSCRIBING) {
        recorder_renew(recorder);
    }
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

static void recorder_drop(struct recorder *recorder, enum metric metric, struct span channel,
                          struct span why)
{
    metric_add(recorder->settings.metrics, metric, 1);
    log_event(LOG_WARN, MODULE, "message dropped", LOG_SPAN("channel", channel.at, channel.len),
              LOG_SPAN("why", why.at, why.len));
}

static void recorder_update_pause(struct recorder *recorder)
{
    if (recorder->in_flight >= RECORDER_IN_FLIGHT_MAX) {
        redis_link_pause(recorder->link, true);
    } else if (recorder->in_flight < RECORDER_IN_FLIGHT_MAX / 2) {
        redis_link_pause(recorder->link, false);
    }
}

static struct recorder_message *recorder_message_new(struct recorder *recorder, struct span channel,
                                                     uint64_t number)
{
    struct recorder_message *message = mem_alloc(sizeof(*message) + channel.len);

    if (message) {
        message->recorder = recorder;
        message->number = number;
        message->channel_len = channel.len;
        memcpy(message->channel, channel.at, channel.len);
    }
    return message;
}

/* There is an answer: what was sent need not be kept any more, unless it was lost on the way. */
static void message_is_through(struct recorder_message *message, const struct redis_answer *answer)
{
    struct recorder *recorder = message->recorder;

    recorder->in_flight--;
    if (answer->kind != REDIS_LOST) {
        kept_messages_settle(&recorder->kept, (struct span){message->channel, message->channel_len},
                             message->number);
    }
    mem_free(message);
    recorder_update_pause(recorder);
}

static void recorder_on_recorded(void *context, const struct redis_answer *answer)
{
    struct recorder_message *message = context;
    struct recorder *recorder = message->recorder;
    struct span channel = {message->channel, message->channel_len};

    if (answer->kind == REDIS_VALUE) {
        metric_add(recorder->settings.metrics, METRIC_RECORDER_ACCEPTED, 1);
    } else if (answer->kind != REDIS_LOST) {
        recorder_drop(recorder,
                      answer->kind == REDIS_INVALID ? METRIC_RECORDER_DROPPED_INVALID
                                                    : METRIC_RECORDER_DROPPED_OTHER,
                      channel, answer->error);
    } else if (message->number == 0) {
        recorder_drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel,
                      SPAN_OF("the link to Redis was lost on the way"));
    }
    message_is_through(message, answer);
}

static int recorder_record(struct recorder *recorder, uint64_t number, struct span channel,
                           struct span type, struct span payload)
{
    struct recorder_message *message = recorder_message_new(recorder, channel, number);

    if (!message) {
        return -ENOMEM;
    }
    int rc = redis_link_command(recorder->link, recorder_on_recorded, message, 6,
                                (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_publish"),
                                                SPAN_OF("1"), channel, type, payload});
    if (rc < 0) {
        mem_free(message);
        return rc;
    }
    recorder->in_flight++;
    return 0;
}

/* The number of the message that was kept, or 0. */
static uint64_t recorder_keep(struct recorder *recorder, struct span channel, struct span type_name,
                              struct span payload)
{
    enum task_message_type type;

    if (!task_message_type_of(type_name, &type) || type == TASK_RESET) {
        return 0;
    }
    int gone =
        kept_messages_add(&recorder->kept, recorder_now_ms(recorder), channel, type, payload);
    if (gone < 0) {
        return 0;
    }
    if (gone > 0 && recorder->state == RECORDER_STANDING_BY) {
        recorder->crowded_out += (uint32_t)gone;
        recorder->crowded_out_ms = recorder_now_ms(recorder);
    } else if (recorder->state == RECORDER_ASKING) {
        count_lost(recorder, (uint32_t)gone);
    }
    return recorder->kept.last_number;
}

static void recorder_on_message(void *owner, struct redis_link *link, struct span channel,
                                struct span text)
{
    struct recorder *recorder = owner;
    struct span task_id = task_id_of_key(channel, recorder->settings.config->redis_prefix);
    const bool records = recorder->state == RECORDER_RECORDING && recorder_holds_lease(recorder);
    struct span type, payload;
    char why[128] = "the channel's name must end in a task id: 1 to 128 of A-Z a-z 0-9 . _ ~ : -";

    if (!recorder_is_running(recorder)) {
        return;
    }
    if (!task_id.at || plain_message_parse(text, task_id, &type, &payload, why) != 0) {
        if (records) {
            recorder_drop(recorder, METRIC_RECORDER_DROPPED_INVALID, channel, SPAN_OF(why));
        }
        return;
    }
    const uint64_t number = recorder_keep(recorder, channel, type, payload);
    if (records && recorder_record(recorder, number, channel, type, payload) < 0) {
        kept_messages_settle(&recorder->kept, channel, number);
        recorder_drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel, SPAN_OF("out of memory"));
    }
    recorder_update_pause(recorder);
}

/* ── Taking over ─────────────────────────────────────────────────────────────────────────────── */

static void recorder_on_taken_over(void *context, const struct redis_answer *answer)
{
    struct recorder_message *message = context;
    struct recorder *recorder = message->recorder;
    struct span channel = {message->channel, message->channel_len};
    char counts[32];
    unsigned recorded = 0, refused = 0;

    if (answer->kind == REDIS_VALUE) {
        struct span text = redis_answer_text(answer);

        snprintf(counts, sizeof(counts), "%.*s", (int)text.len, text.at ? text.at : "");
        (void)sscanf(counts, "%u %u", &recorded, &refused);
        metric_add(recorder->settings.metrics, METRIC_RECORDER_ACCEPTED, recorded);
        metric_add(recorder->settings.metrics, METRIC_RECORDER_TAKEN_OVER, recorded);
        for (; refused > 0; refused--) {
            recorder_drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel,
                          SPAN_OF("refused, as left by another recorder"));
        }
    } else if (answer->kind != REDIS_LOST) {
        recorder_drop(recorder, METRIC_RECORDER_DROPPED_OTHER, channel, answer->error);
    }
    message_is_through(message, answer);
}

static int take_over_task(struct recorder *recorder, const struct kept_task *task)
{
    struct span channel = {task->channel, task->channel_len};
    struct recorder_message *pending = recorder_message_new(recorder, channel, 0);
    struct span argv[REDIS_ARGUMENTS_MAX] = {SPAN_OF("FCALL"), SPAN_OF("progress_take_over"),
                                             SPAN_OF("1"), channel};
    char ages[TASK_MESSAGE_TYPES][16];
    int argc = 4, i = 0;

    static_assert(4 + 3 * (TASK_MESSAGE_TYPES - 1) <= REDIS_ARGUMENTS_MAX,
                  "a message of each type but reset");
    if (!pending) {
        return -ENOMEM;
    }
    LIST_EACH (link, &task->messages) {
        const struct kept_message *message = CONTAINER_OF(link, struct kept_message, link);

        snprintf(ages[i], sizeof(ages[i]), "%u",
                 (unsigned)(recorder_now_ms(recorder) - message->at_ms));
        argv[argc++] = SPAN_OF(task_message_type_name(message->type));
        argv[argc++] = SPAN_OF(ages[i]);
        i++;
        argv[argc++] = (struct span){message->payload, message->payload_len};
        pending->number = message->number;
    }
    int rc = redis_link_command(recorder->link, recorder_on_taken_over, pending, argc, argv);
    if (rc < 0) {
        mem_free(pending);
        return rc;
    }
    recorder->in_flight++;
    return 0;
}

/* Before anything that comes from now on. */
static void recorder_take_over(struct recorder *recorder)
{
    if (recorder_now_ms(recorder) - recorder->crowded_out_ms < RECORDER_KEPT_MS) {
        count_lost(recorder, recorder->crowded_out);
    }
    recorder->crowded_out = 0;
    LIST_EACH (link, &recorder->kept.tasks) {
        if (take_over_task(recorder, CONTAINER_OF(link, struct kept_task, link)) < 0) {
            return; /* what stays is tried with the next lease, or counted */
        }
    }
}

static void begin_recording(struct recorder *recorder)
{
    const bool begins = recorder->state != RECORDER_RECORDING;

    recorder_set_state(recorder, RECORDER_RECORDING);
    if (begins) {
        recorder_take_over(recorder);
        recorder_update_pause(recorder);
    }
}

/* ── The link ────────────────────────────────────────────────────────────────────────────────── */

static void recorder_on_up(void *owner, struct redis_link *link)
{
    struct recorder *recorder = owner;

    if (recorder->state == RECORDER_AWAY) {
        recorder_subscribe(recorder);
    }
}

/* The lease is kept: it is renewed if the link comes back in time. */
static void recorder_on_down(void *owner, struct redis_link *link)
{
    struct recorder *recorder = owner;

    if (recorder_is_running(recorder)) {
        leave_known(recorder);
        recorder_set_state(recorder, RECORDER_AWAY);
    }
}

static void recorder_on_link_closed(void *owner, struct redis_link *link)
{
    struct recorder *recorder = owner;

    recorder->settings.on_closed(recorder->settings.owner);
    kept_messages_deinit(&recorder->kept);
    mem_free(recorder);
}

static const struct redis_link_events link_events = {
    .on_up = recorder_on_up,
    .on_down = recorder_on_down,
    .on_message = recorder_on_message,
    .on_closed = recorder_on_link_closed,
};

/* ── Opening and stopping ────────────────────────────────────────────────────────────────────── */

struct recorder *recorder_open(const struct recorder_settings *settings)
{
    const char *prefix = settings->config->redis_prefix;
    struct recorder *recorder = mem_zalloc(1, sizeof(*recorder));

    if (!recorder) {
        return NULL;
    }
    recorder->settings = *settings;
    snprintf(recorder->lease_key, sizeof(recorder->lease_key), "%s!recorder", prefix);
    snprintf(recorder->pattern, sizeof(recorder->pattern), "%s*", prefix);
    snprintf(recorder->holder, sizeof(recorder->holder), "%08x%08x%08x%08x", arc4random(),
             arc4random(), arc4random(), arc4random());
    kept_messages_init(&recorder->kept);
    timer_init(&recorder->renewal, recorder_on_renewal);
    timer_init(&recorder->expiry, recorder_on_expiry);
    recorder->link = redis_link_open(&(struct redis_link_settings){.loop = settings->loop,
                                                                   .wheel = settings->wheel,
                                                                   .config = settings->config,
                                                                   .server = settings->server,
                                                                   .metrics = settings->metrics,
                                                                   .events = &link_events,
                                                                   .owner = recorder});
    if (!recorder->link) {
        mem_free(recorder);
        return NULL;
    }
    recorder_set_timer(recorder, &recorder->renewal, RECORDER_RENEW_MS);
    return recorder;
}

static void recorder_on_given_back(void *context, const struct redis_answer *answer)
{
    struct recorder *recorder = context;

    if (recorder->state == RECORDER_STOPPING) {
        recorder_close_all(recorder);
    }
}

void recorder_stop(struct recorder *recorder)
{
    const bool holds = recorder_holds_lease(recorder);

    if (!recorder_is_running(recorder)) {
        return;
    }
    recorder_set_lease(recorder, 0);
    if (holds && ask_for_lease(recorder, 0, recorder_on_given_back) == 0) {
        recorder_set_state(recorder, RECORDER_STOPPING);
        recorder_set_timer(recorder, &recorder->renewal, RECORDER_FAREWELL_MS);
    } else {
        recorder_close_all(recorder);
    }
}
