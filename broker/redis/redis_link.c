#include "broker/redis/redis_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/state.h"
#include "proto/message_tables.h"

#define MODULE "redis_link"
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 3000

/* What a connection had been sent at the last looks. */
struct reply_watch {
    uint64_t sent[REDIS_LINK_TIMEOUT_LOOKS];
};

struct redis_link {
    struct redis_link_settings settings;
    uint8_t state; /* enum link_state */
    struct redis_connection commands, subscriber;
    bool commands_exist, subscriber_exist; /* between open and on_closed */
    uint8_t opened;                        /* connections that are ready, while OPENING */
    struct redis_handshake handshake;
    struct timer timer; /* DOWN: the next attempt; OPENING: its timeout; UP: the next look */
    uint32_t attempts;  /* since the link last held */
    uint32_t looks;     /* since it came up */
    struct reply_watch commands_watch, subscriber_watch;
    uint32_t quiet_looks; /* without a message */
    uint32_t probe_looks; /* since a probe was sent; 0: none is under way */
    uint64_t checked_ms;
    char probe_channel[PREFIX_MAX + 32];
    /* What the log says once until the link has held. */
    char last_loss[192], last_refusal[192];
    uint32_t ups; /* how often it came up */
};

STATE_MACHINE(link_machine, MODULE, LINK_STATES);

static void link_set_state(struct redis_link *link, enum link_state state)
{
    state_move(&link_machine, &link->state, state, NULL, 0);
    metric_set(link->settings.metrics, METRIC_LINKS_UP, state == LINK_UP);
}

static uint64_t link_now_ms(const struct redis_link *link)
{
    return uv_now(link->settings.loop);
}

static void link_set_timer(struct redis_link *link, uint64_t in_ms)
{
    timer_set(link->settings.wheel, &link->timer, link_now_ms(link) + in_ms);
}

static const char *server_name(const struct redis_link *link, char *buffer, size_t size)
{
    const struct redis_url *server = link->settings.server;

    if (server->kind == REDIS_URL_UNIX) {
        return server->path;
    }
    snprintf(buffer, size, "%s:%u", server->host, (unsigned)server->port);
    return buffer;
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == LINK_UP;
}

/* ── Losing it, and coming back ──────────────────────────────────────────────────────────────── */

static void open_connections(struct redis_link *link);

/* A server that stays away, or a link that is lost as soon as it is up, is complained of once, and
 * not at each attempt. */
static void link_log_failure(struct redis_link *link, bool was_up, const char *why)
{
    char *last = was_up ? link->last_loss : link->last_refusal;
    const bool repeated = strcmp(last, why) == 0;
    char server[300];

    log_event(repeated ? LOG_DEBUG : LOG_WARN, MODULE,
              was_up ? "link to Redis lost" : "no link to Redis, trying again",
              LOG_TEXT("server", server_name(link, server, sizeof(server))), LOG_TEXT("why", why));
    snprintf(last, sizeof(link->last_loss), "%s", why);
}

static void link_free(struct redis_link *link)
{
    link_set_state(link, LINK_CLOSED);
    link->settings.events->on_closed(link->settings.owner, link);
    mem_free(link);
}

static void link_after_closing(struct redis_link *link)
{
    uint64_t ceiling = BACKOFF_FIRST_MS;

    if (link->commands_exist || link->subscriber_exist) {
        return;
    }
    if (link->state == LINK_CLOSING) {
        link_free(link);
        return;
    }
    link_set_state(link, LINK_DOWN);
    for (uint32_t i = 0; i < link->attempts && ceiling < BACKOFF_MAX_MS; i++) {
        ceiling *= 2;
    }
    link->attempts++;
    link_set_timer(link, 1 + arc4random_uniform(
                                 (uint32_t)(ceiling < BACKOFF_MAX_MS ? ceiling : BACKOFF_MAX_MS)));
}

/* `state` is FAILING or CLOSING. */
static void link_shut(struct redis_link *link, enum link_state state)
{
    link_set_state(link, state);
    timer_cancel(link->settings.wheel, &link->timer);
    redis_handshake_stop(&link->handshake);
    if (link->commands_exist) {
        redis_connection_close(&link->commands);
    }
    if (link->subscriber_exist) {
        redis_connection_close(&link->subscriber);
    }
}

void redis_link_fail(struct redis_link *link, const char *why)
{
    const bool was_up = link->state == LINK_UP;

    if (!was_up && link->state != LINK_OPENING) {
        return;
    }
    link_log_failure(link, was_up, why);
    link_shut(link, LINK_FAILING);
    if (was_up) {
        metric_add(link->settings.metrics, METRIC_LINK_LOSSES, 1);
        link->settings.events->on_down(link->settings.owner, link);
    }
}

static void link_on_commands_failed(struct redis_connection *connection, const char *why)
{
    redis_link_fail(CONTAINER_OF(connection, struct redis_link, commands), why);
}

static void link_on_subscriber_failed(struct redis_connection *connection, const char *why)
{
    redis_link_fail(CONTAINER_OF(connection, struct redis_link, subscriber), why);
}

static void link_on_commands_closed(struct redis_connection *connection)
{
    struct redis_link *link = CONTAINER_OF(connection, struct redis_link, commands);

    link->commands_exist = false;
    link_after_closing(link);
}

static void link_on_subscriber_closed(struct redis_connection *connection)
{
    struct redis_link *link = CONTAINER_OF(connection, struct redis_link, subscriber);

    link->subscriber_exist = false;
    link_after_closing(link);
}

/* ── Health ──────────────────────────────────────────────────────────────────────────────────── */

static void link_on_probe_counted(void *context, const struct redis_answer *answer)
{
    struct redis_link *link = context;

    if (answer->kind != REDIS_VALUE && answer->kind != REDIS_LOST) {
        char why[192];

        snprintf(why, sizeof(why), "SPUBLISH: %.*s", (int)answer->error.len, answer->error.at);
        redis_link_fail(link, why);
    }
}

static void send_probe(struct redis_link *link)
{
    link->probe_looks = 1;
    metric_add(link->settings.metrics, METRIC_PROBES_SENT, 1);
    if (redis_connection_send(&link->commands, link_on_probe_counted, link, 3,
                              (struct span[]){SPAN_OF("SPUBLISH"), SPAN_OF(link->probe_channel),
                                              SPAN_OF("probe")}) < 0) {
        redis_link_fail(link, "out of memory");
    }
}

static void link_on_probe_arrived(struct redis_link *link)
{
    char server[300];

    link->probe_looks = 0;
    if (link->state != LINK_OPENING) {
        return;
    }
    link_set_state(link, LINK_UP);
    link->looks = 0;
    link->commands_watch = link->subscriber_watch = (struct reply_watch){{0}};
    link->checked_ms = link_now_ms(link);
    link_set_timer(link, REDIS_LINK_LOOK_MS);
    metric_add(link->settings.metrics, METRIC_LINK_CONNECTS, 1);
    link->ups++;
    log_event(link->ups == 1 ? LOG_INFO : LOG_DEBUG, MODULE, "link to Redis up",
              LOG_TEXT("server", server_name(link, server, sizeof(server))));
    link->settings.events->on_up(link->settings.owner, link);
}

/* Whether a command that was sent before the last REDIS_LINK_TIMEOUT_LOOKS looks has no reply. */
static bool is_reply_overdue(const struct redis_link *link, struct reply_watch *watch,
                             const struct redis_connection *connection)
{
    uint64_t *sent = &watch->sent[link->looks % REDIS_LINK_TIMEOUT_LOOKS];
    const bool overdue = connection->answered < *sent;

    *sent = connection->sent;
    return overdue;
}

/* What speaks against the link, or NULL. */
static const char *find_silence(struct redis_link *link)
{
    const bool commands_overdue = is_reply_overdue(link, &link->commands_watch, &link->commands);
    const bool subscriber_overdue =
        is_reply_overdue(link, &link->subscriber_watch, &link->subscriber);

    if (commands_overdue || subscriber_overdue) {
        metric_add(link->settings.metrics, METRIC_REPLIES_OVERDUE, 1);
        return commands_overdue ? "Redis does not answer a command"
                                : "Redis does not answer a subscription";
    }
    if (link->probe_looks > REDIS_LINK_TIMEOUT_LOOKS) {
        metric_add(link->settings.metrics, METRIC_PROBES_FAILED, 1);
        return "a probe published did not arrive";
    }
    return NULL;
}

/* The link has held: what comes next is a trouble of its own. */
static void link_on_steady(struct redis_link *link)
{
    if (link->ups > 1) {
        log_event(LOG_INFO, MODULE, "link to Redis holds", LOG_INT("attempts", link->ups));
    }
    link->attempts = link->ups = 0;
    link->last_loss[0] = link->last_refusal[0] = '\0';
}

static void look_after(struct redis_link *link)
{
    const char *silence = find_silence(link);
    const bool quiet = link->quiet_looks >= REDIS_LINK_PROBE_LOOKS;
    const uint64_t now = link_now_ms(link);

    if (silence) {
        redis_link_fail(link, silence);
        return;
    }
    if (++link->looks == REDIS_LINK_STEADY_LOOKS) {
        link_on_steady(link);
    }
    link->quiet_looks++;
    link->probe_looks += link->probe_looks > 0;
    link_set_timer(link, REDIS_LINK_LOOK_MS);
    if (quiet && link->probe_looks == 0) {
        send_probe(link);
    }
    if (link->state == LINK_UP && link->handshake.done &&
        (quiet || now - link->checked_ms >= link->settings.config->resync_interval_ms)) {
        link->checked_ms = now;
        redis_handshake_check_again(&link->handshake);
    }
}

static void link_on_timer(struct timer *timer)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, timer);

    switch (link->state) {
    case LINK_DOWN:
        open_connections(link);
        break;
    case LINK_OPENING:
        redis_link_fail(link, "Redis does not answer");
        break;
    case LINK_UP:
        look_after(link);
        break;
    case LINK_FAILING:
    case LINK_CLOSING:
    case LINK_CLOSED:
        assert(false);
    }
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

static void link_on_handshake_done(struct redis_handshake *handshake, const char *why)
{
    struct redis_link *link = CONTAINER_OF(handshake, struct redis_link, handshake);

    if (why) {
        redis_link_fail(link, why);
    } else if (link->state == LINK_OPENING) {
        send_probe(link);
    }
}

static void link_on_one_open(struct redis_link *link)
{
    if (++link->opened < 2) {
        return;
    }
    link->handshake.commands = &link->commands;
    link->handshake.subscriber = &link->subscriber;
    link->handshake.config = link->settings.config;
    link->handshake.metrics = link->settings.metrics;
    link->handshake.probe_channel = link->probe_channel;
    link->handshake.on_done = link_on_handshake_done;
    redis_handshake_start(&link->handshake);
}

static void link_on_commands_open(struct redis_connection *connection)
{
    link_on_one_open(CONTAINER_OF(connection, struct redis_link, commands));
}

static void link_on_subscriber_open(struct redis_connection *connection)
{
    link_on_one_open(CONTAINER_OF(connection, struct redis_link, subscriber));
}

static void link_on_message(struct redis_connection *connection, struct span channel,
                            struct span message)
{
    struct redis_link *link = CONTAINER_OF(connection, struct redis_link, subscriber);

    link->quiet_looks = 0;
    if (span_is(channel, link->probe_channel)) {
        link_on_probe_arrived(link);
    } else if (link->state == LINK_UP) {
        link->settings.events->on_message(link->settings.owner, link, channel, message);
    }
}

static void link_on_refused(struct redis_link *link, const struct redis_answer *answer)
{
    char why[192];

    if (link->state != LINK_UP) {
        return; /* the handshake says what is wrong */
    }
    if (answer->kind == REDIS_NO_FUNCTION && link->handshake.done) {
        redis_handshake_check_again(&link->handshake);
    } else if (redis_answer_is_of_server(answer->kind)) {
        snprintf(why, sizeof(why), "%.*s", (int)answer->error.len, answer->error.at);
        redis_link_fail(link, why);
    }
}

static void link_on_commands_refused(struct redis_connection *connection,
                                     const struct redis_answer *answer)
{
    link_on_refused(CONTAINER_OF(connection, struct redis_link, commands), answer);
}

static void link_on_subscriber_refused(struct redis_connection *connection,
                                       const struct redis_answer *answer)
{
    link_on_refused(CONTAINER_OF(connection, struct redis_link, subscriber), answer);
}

static const struct redis_connection_events commands_events = {
    .on_open = link_on_commands_open,
    .on_refused = link_on_commands_refused,
    .on_failed = link_on_commands_failed,
    .on_closed = link_on_commands_closed,
};

static const struct redis_connection_events subscriber_events = {
    .on_open = link_on_subscriber_open,
    .on_message = link_on_message,
    .on_refused = link_on_subscriber_refused,
    .on_failed = link_on_subscriber_failed,
    .on_closed = link_on_subscriber_closed,
};

static bool link_open_one(struct redis_link *link, struct redis_connection *connection,
                          bool *exists, const struct redis_connection_events *events)
{
    *exists = true; /* on_failed may come before this returns */
    if (redis_connection_open(connection, link->settings.loop, link->settings.server, events) < 0) {
        *exists = false;
        redis_link_fail(link, "out of memory");
    }
    return link->state == LINK_OPENING;
}

static void open_connections(struct redis_link *link)
{
    link_set_state(link, LINK_OPENING);
    link->opened = 0;
    link->probe_looks = link->quiet_looks = 0;
    link_set_timer(link, REDIS_LINK_OPEN_TIMEOUT_MS);
    if (link_open_one(link, &link->commands, &link->commands_exist, &commands_events)) {
        link_open_one(link, &link->subscriber, &link->subscriber_exist, &subscriber_events);
    }
    if (link->state == LINK_FAILING) {
        link_after_closing(link); /* when not even one connection could be begun */
    }
}

struct redis_link *redis_link_open(const struct redis_link_settings *settings)
{
    struct redis_link *link = mem_zalloc(1, sizeof(*link));

    if (!link) {
        return NULL;
    }
    link->settings = *settings;
    link->handshake.done = true;
    timer_init(&link->timer, link_on_timer);
    /* `!` is in no task id, so this channel is never a task's. */
    snprintf(link->probe_channel, sizeof(link->probe_channel), "%s!probe:%08x%08x",
             settings->config->redis_prefix, arc4random(), arc4random());
    link_set_timer(link, 0); /* state DOWN: the first attempt is at the next tick */
    return link;
}

void redis_link_close(struct redis_link *link)
{
    switch (link->state) {
    case LINK_DOWN:
        timer_cancel(link->settings.wheel, &link->timer);
        link_free(link);
        break;
    case LINK_OPENING:
    case LINK_UP:
        link_shut(link, LINK_CLOSING);
        break;
    case LINK_FAILING:
        link_set_state(link, LINK_CLOSING);
        break;
    case LINK_CLOSING:
    case LINK_CLOSED:
        break;
    }
}

/* ── Use ─────────────────────────────────────────────────────────────────────────────────────── */

int redis_link_subscribe(struct redis_link *link, const char *command, struct span channel,
                         redis_answer_fn on_answer, void *context)
{
    if (link->state != LINK_UP) {
        return -ENOTCONN;
    }
    return redis_connection_send(&link->subscriber, on_answer, context, 2,
                                 (struct span[]){SPAN_OF(command), channel});
}

int redis_link_command(struct redis_link *link, redis_answer_fn on_answer, void *context, int argc,
                       const struct span *argv)
{
    if (link->state != LINK_UP) {
        return -ENOTCONN;
    }
    return redis_connection_send(&link->commands, on_answer, context, argc, argv);
}

void redis_link_pause(struct redis_link *link, bool paused)
{
    if (link->state == LINK_UP) {
        redis_connection_pause(&link->subscriber, paused);
    }
}
