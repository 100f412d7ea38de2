#include "broker/session/watcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/mem.h"
#include "proto/message.h"

/* Messages over the rate that are answered with an error, or passed over, before the client is
 * closed. */
#define EXCESS_MAX 100

#define UNAVAILABLE_TEXT "the task's state is out of reach, try again"

/* One subscription. */
struct watching {
    struct subscription subscription;
    struct watcher *watcher;
    struct list link;    /* in watcher->watchings */
    struct list pending; /* in watcher->pending, or alone */
    struct token *token;
};

static uint64_t now_ms(const struct watcher *watcher)
{
    return uv_now(watcher->front->loop);
}

/* Milliseconds, and microseconds, since 1970. */
static uint64_t wall_clock_us(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_usec;
}

static int64_t wall_clock_s(void)
{
    return (int64_t)(wall_clock_us() / 1000000);
}

/* Sees to it that watcher_tick() comes by then. */
static void tick_by(struct watcher *watcher, uint64_t due_ms)
{
    if (watcher->timer->due_ms > due_ms || !timer_is_set(watcher->timer)) {
        timer_set(watcher->front->wheel, watcher->timer, due_ms);
    }
}

/* When the token runs out, on the loop's clock. */
static uint64_t expiry_ms(const struct watcher *watcher, const struct token *token)
{
    const int64_t left_s = token->expires_at - wall_clock_s();

    return now_ms(watcher) + (left_s > 0 ? (uint64_t)left_s * 1000 : 0);
}

/* ── Saying something to the client alone ────────────────────────────────────────────────────── */

/* Sends the text and frees it. */
static void say(struct watcher *watcher, struct text *text)
{
    struct bytes *frame = NULL;

    if (!text_failed(text)) {
        frame = ws_frame_new(WS_TEXT, text->data, (uint32_t)text->len);
    }
    connection_send(watcher->connection, frame);
    text_deinit(text);
}

static void say_error(struct watcher *watcher, const char *task_id, enum error_code code,
                      const char *why)
{
    struct text text = TEXT_EMPTY;

    metric_add(watcher->front->metrics, METRIC_REQUEST_ERROR_INVALID_MESSAGE + code, 1);
    message_error(&text, task_id, code, why);
    say(watcher, &text);
}

static void say_unsubscribed(struct watcher *watcher, const char *task_id, const char *reason)
{
    struct text text = TEXT_EMPTY;

    message_unsubscribed(&text, task_id, reason);
    say(watcher, &text);
}

static void say_subscribed(struct watching *watching)
{
    const struct task *task = watching->subscription.task;
    struct text text = TEXT_EMPTY;

    message_subscribed(&text, task->id, task->rev.n > 0 ? &task->rev : NULL, task_stages(task),
                       watching->token->expires_at);
    say(watching->watcher, &text);
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

static struct watching *find(const struct watcher *watcher, const char *task_id)
{
    LIST_EACH (link, &watcher->watchings) {
        struct watching *watching = CONTAINER_OF(link, struct watching, link);

        if (strcmp(watching->subscription.task->id, task_id) == 0) {
            return watching;
        }
    }
    return NULL;
}

static void forget(struct watching *watching)
{
    struct watcher *watcher = watching->watcher;

    list_remove(&watching->link);
    list_remove(&watching->pending);
    watcher->count--;
    watcher->idle_ms = now_ms(watcher);
    if (watcher->count == 0) {
        tick_by(watcher, watcher->idle_ms + watcher->front->config->subscribe_timeout_ms);
    }
    metric_sub(watcher->front->metrics, METRIC_SUBSCRIPTIONS, 1);
    token_unref(watching->token);
    mem_free(watching);
}

static void unwatch(struct watching *watching)
{
    hub_unsubscribe(watching->watcher->front->hub, &watching->subscription);
    forget(watching);
}

static void on_news(struct subscription *subscription)
{
    struct watching *watching = CONTAINER_OF(subscription, struct watching, subscription);

    if (!list_is_linked(&watching->pending)) {
        list_append(&watching->watcher->pending, &watching->pending);
    }
    connection_wake(watching->watcher->connection);
}

/* The answer to subscribe and get_state: what there is, and then the state from sent_n on. */
static void answer_with_state(struct watching *watching)
{
    say_subscribed(watching);
    if (watching->subscription.task->rev.n == 0) {
        watching->subscription.sent_n = TASK_NOTHING;
    }
    on_news(&watching->subscription);
}

static void on_ready(struct subscription *subscription)
{
    answer_with_state(CONTAINER_OF(subscription, struct watching, subscription));
}

static void on_failed(struct subscription *subscription)
{
    struct watching *watching = CONTAINER_OF(subscription, struct watching, subscription);

    say_error(watching->watcher, subscription->task->id, ERROR_UNAVAILABLE, UNAVAILABLE_TEXT);
    forget(watching);
}

static const struct subscription_events subscription_events = {
    .on_ready = on_ready,
    .on_news = on_news,
    .on_failed = on_failed,
};

/* The token of a subscribe, checked, with the right to that task; or NULL, and the client knows
 * why. */
static struct token *check_token(struct watcher *watcher, const struct client_message *message)
{
    struct token *token = NULL;
    enum auth_failure why = AUTH_MISSING;
    enum error_code code = ERROR_UNAUTHORIZED;
    int r = message->token.at
                ? auth_verify(watcher->front->auth, message->token, wall_clock_s(), &token, &why)
                : AUTH_REFUSED;

    if (r < 0) {
        connection_send(watcher->connection, NULL);
        return NULL;
    }
    if (r == 0 && token_names(token, message->task_id)) {
        return token;
    }
    if (r == 0) {
        token_unref(token);
        why = AUTH_FORBIDDEN;
        code = ERROR_FORBIDDEN;
    }
    metric_add(watcher->front->metrics, METRIC_AUTH_MISSING + why, 1);
    say_error(watcher, message->task_id, code, auth_failure_text(why));
    return NULL;
}

/* From where the client is sent messages: from its rev on, if that is of this run. A client that
 * has seen more than this worker is left there. */
static uint64_t start_of(const struct client_message *message)
{
    return message->has_rev ? message->rev.n : 0;
}

static void watch(struct watcher *watcher, const struct client_message *message,
                  struct token *token)
{
    struct watching *watching = mem_zalloc(1, sizeof(*watching));
    int r;

    if (!watching) {
        token_unref(token);
        connection_send(watcher->connection, NULL);
        return;
    }
    watching->watcher = watcher;
    watching->token = token;
    watching->subscription.events = &subscription_events;
    watching->subscription.sent_n = start_of(message);
    list_init(&watching->link);
    list_init(&watching->pending);
    list_append(&watcher->watchings, &watching->link);
    watcher->count++;
    metric_add(watcher->front->metrics, METRIC_SUBSCRIPTIONS, 1);
    r = hub_subscribe(watcher->front->hub, &watching->subscription, message->task_id,
                      strlen(message->task_id));
    if (r == HUB_READY) {
        answer_with_state(watching);
    } else if (r != 0) {
        forget(watching);
        if (r == HUB_UNAVAILABLE) {
            say_error(watcher, message->task_id, ERROR_UNAVAILABLE, UNAVAILABLE_TEXT);
        } else {
            connection_send(watcher->connection, NULL);
        }
    }
}

static void subscribe(struct watcher *watcher, const struct client_message *message)
{
    struct watching *watching = find(watcher, message->task_id);
    struct token *token = check_token(watcher, message);

    if (!token) {
        return;
    }
    tick_by(watcher, expiry_ms(watcher, token));
    if (watching) { /* a fresh token renews in place */
        token_unref(watching->token);
        watching->token = token;
        if (watching->subscription.ready) {
            watching->subscription.sent_n = start_of(message);
            answer_with_state(watching);
        }
        return;
    }
    if (watcher->count >= watcher->front->config->max_subscriptions) {
        token_unref(token);
        say_error(watcher, message->task_id, ERROR_TOO_MANY_SUBSCRIPTIONS,
                  "this connection watches as many tasks as it may");
        return;
    }
    watch(watcher, message, token);
}

static void unsubscribe(struct watcher *watcher, const struct client_message *message)
{
    struct watching *watching = find(watcher, message->task_id);

    if (!watching) {
        say_error(watcher, message->task_id, ERROR_NOT_SUBSCRIBED, "not subscribed to this task");
        return;
    }
    say_unsubscribed(watcher, message->task_id, UNSUBSCRIBED_CLIENT_REQUEST);
    unwatch(watching);
}

static void get_state(struct watcher *watcher, const struct client_message *message)
{
    struct watching *watching = find(watcher, message->task_id);

    if (!watching) {
        say_error(watcher, message->task_id, ERROR_NOT_SUBSCRIBED, "not subscribed to this task");
    } else if (watching->subscription.ready) {
        watching->subscription.sent_n = start_of(message);
        answer_with_state(watching);
    } /* else: on_ready is about to say the same */
}

static void ping(struct watcher *watcher, const struct client_message *message)
{
    struct text text = TEXT_EMPTY;

    message_pong(&text, message->timestamp);
    say(watcher, &text);
}

/* ── The client's messages ───────────────────────────────────────────────────────────────────── */

/* Whether the message keeps to the rate (a token bucket); if not, the client is told once, and
 * closed when it goes on. */
static bool is_within_rate(struct watcher *watcher)
{
    const double rate = watcher->front->config->message_rate;
    const uint64_t now = now_ms(watcher);

    watcher->credit += rate * (double)(now - watcher->credit_ms) / 1000;
    watcher->credit_ms = now;
    if (watcher->credit > 2 * rate) {
        watcher->credit = 2 * rate;
    }
    if (watcher->credit >= 1) {
        watcher->credit -= 1;
        if (watcher->credit >= rate) {
            watcher->excess = 0;
        }
        return true;
    }
    watcher->excess++;
    if (watcher->excess == 1) {
        say_error(watcher, watcher->url_task_id ? watcher->url_task_id : "", ERROR_RATE_LIMITED,
                  "too many messages a second");
    } else if (watcher->excess > EXCESS_MAX) {
        connection_close(watcher->connection, CLOSE_TOO_MANY_REQUESTS);
    }
    return false;
}

void watcher_message(struct watcher *watcher, enum ws_opcode opcode, const uint8_t *payload,
                     uint32_t len)
{
    static void (*const handlers[CLIENT_TYPES])(struct watcher *, const struct client_message *) = {
        [CLIENT_SUBSCRIBE] = subscribe,
        [CLIENT_UNSUBSCRIBE] = unsubscribe,
        [CLIENT_GET_STATE] = get_state,
        [CLIENT_PING] = ping,
    };
    struct client_message message;
    struct client_message_error error;

    metric_add(watcher->front->metrics, METRIC_CLIENT_MESSAGES_RECEIVED, 1);
    if (opcode == WS_BINARY) {
        connection_close(watcher->connection, CLOSE_UNSUPPORTED_DATA);
        return;
    }
    if (!is_within_rate(watcher)) {
        return;
    }
    if (client_message_parse((struct span){(const char *)payload, len}, watcher->url_task_id,
                             &message, &error) == 0) {
        handlers[message.type](watcher, &message);
        return;
    }
    say_error(watcher,
              error.task_id[0] != '\0' ? error.task_id
              : watcher->url_task_id   ? watcher->url_task_id
                                       : "",
              error.code, error.text);
}

/* ── The tasks' messages ─────────────────────────────────────────────────────────────────────── */

size_t watcher_collect(struct watcher *watcher, struct connection_frame *frames, size_t max)
{
    size_t count = 0;

    LIST_EACH (link, &watcher->pending) {
        struct watching *watching = CONTAINER_OF(link, struct watching, pending);
        struct task_frame found[CONNECTION_BATCH];
        uint32_t left_out;
        size_t n;

        if (max - count < TASK_MESSAGE_TYPES) {
            break;
        }
        n = task_collect(watching->subscription.task, watching->subscription.sent_n, found,
                         max - count, &left_out);
        metric_add(watcher->front->metrics, METRIC_MESSAGES_SUPERSEDED, left_out);
        if (n == 0) {
            list_remove(&watching->pending);
        }
        for (size_t i = 0; i < n; i++) {
            frames[count++] = (struct connection_frame){found[i].frame, watching, found[i].n};
        }
    }
    return count;
}

void watcher_taken(struct watcher *watcher, const struct connection_frame *frame)
{
    struct watching *watching = frame->context;
    const uint64_t now = wall_clock_us();

    watching->subscription.sent_n = frame->n;
    if (frame->n >= watching->subscription.task->rev.n) {
        list_remove(&watching->pending);
    }
    metric_add(watcher->front->metrics, METRIC_MESSAGES_DELIVERED, 1);
    if (now > frame->n) {
        metrics_histogram_observe(&watcher->front->metrics->histograms[HISTOGRAM_DELIVERY_DELAY],
                                  now - frame->n);
    }
}

/* ── Time ────────────────────────────────────────────────────────────────────────────────────── */

/* Sets the timer for what is due first. */
static void schedule(struct watcher *watcher)
{
    const struct config *config = watcher->front->config;
    uint64_t due = watcher->ping_ms;

    if (due > watcher->connection->heard_ms + config->idle_timeout_ms) {
        due = watcher->connection->heard_ms + config->idle_timeout_ms;
    }
    if (watcher->count == 0 && due > watcher->idle_ms + config->subscribe_timeout_ms) {
        due = watcher->idle_ms + config->subscribe_timeout_ms;
    }
    LIST_EACH (link, &watcher->watchings) {
        const struct watching *watching = CONTAINER_OF(link, struct watching, link);
        const uint64_t expiry = expiry_ms(watcher, watching->token);

        if (due > expiry) {
            due = expiry;
        }
    }
    timer_set(watcher->front->wheel, watcher->timer, due);
}

static void expire_tokens(struct watcher *watcher)
{
    const int64_t now_s = wall_clock_s();

    LIST_EACH (link, &watcher->watchings) {
        struct watching *watching = CONTAINER_OF(link, struct watching, link);

        if (watching->token->expires_at <= now_s) {
            say_unsubscribed(watcher, watching->subscription.task->id, UNSUBSCRIBED_TOKEN_EXPIRED);
            unwatch(watching);
        }
    }
}

/* Spread by a tenth, so that pings of clients that came together don't stay together. */
static uint64_t next_ping(const struct watcher *watcher)
{
    const uint32_t interval = watcher->front->config->ping_interval_ms;

    return now_ms(watcher) + interval - interval / 10 + arc4random_uniform(interval / 5 + 1);
}

void watcher_tick(struct watcher *watcher)
{
    const struct config *config = watcher->front->config;
    const uint64_t now = now_ms(watcher);

    if (now - watcher->connection->heard_ms >= config->idle_timeout_ms) {
        connection_close(watcher->connection, CLOSE_TIMEOUT);
        return;
    }
    expire_tokens(watcher);
    if (watcher->count == 0 && now - watcher->idle_ms >= config->subscribe_timeout_ms) {
        connection_close(watcher->connection, CLOSE_UNAUTHORIZED);
        return;
    }
    if (now >= watcher->ping_ms) {
        connection_send(watcher->connection, ws_frame_new(WS_PING, "", 0));
        watcher->ping_ms = next_ping(watcher);
    }
    schedule(watcher);
}

/* ── Beginning and end ───────────────────────────────────────────────────────────────────────── */

int watcher_begin(struct watcher *watcher, const struct front *front, struct connection *connection,
                  struct timer *timer, const char *url_task_id)
{
    memset(watcher, 0, sizeof(*watcher));
    if (url_task_id) {
        watcher->url_task_id = mem_strndup(url_task_id, strlen(url_task_id));
        if (!watcher->url_task_id) {
            return -ENOMEM;
        }
    }
    watcher->front = front;
    watcher->connection = connection;
    watcher->timer = timer;
    list_init(&watcher->watchings);
    list_init(&watcher->pending);
    watcher->credit = 2 * front->config->message_rate;
    watcher->credit_ms = watcher->idle_ms = now_ms(watcher);
    watcher->ping_ms = next_ping(watcher);
    schedule(watcher);
    return 0;
}

void watcher_end(struct watcher *watcher)
{
    LIST_EACH (link, &watcher->watchings) {
        unwatch(CONTAINER_OF(link, struct watching, link));
    }
    mem_free(TAKE(watcher->url_task_id));
}
