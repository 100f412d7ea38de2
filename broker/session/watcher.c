#include "broker/session/watcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "broker/loop/loop.h"
#include "common/mem.h"
#include "proto/message.h"
#include "proto/shared_text.h"

/* From so many subscriptions on they are found by a map. Most clients have one or two, and pay
 * nothing for it. */
#define INDEX_FROM 16

/* Bytes of `subscribed` that are made for one client at once, or one more. */
#define ANSWERS_MAX 16384

/* How long before the claim `exp` a client is told that its token expires. */
#define EXPIRING_US (60 * INT64_C(1000000))

/* One that is too old leaves within so long. */
#define AGE_NOTICE_MS 5000

#define UNAVAILABLE_TEXT "the task's state is out of reach, try again"

/* One subscription. */
struct watching {
    struct subscription subscription;
    struct watcher *watcher;
    struct list link;    /* in watcher->watchings */
    struct list pending; /* in watcher->pending, or alone */
    struct token *token;
    int64_t warn_us;      /* when the client is to be told that it expires; INT64_MAX: not */
    uint32_t answers;     /* requests that `subscribed` and the state are still due for */
    struct rev has;       /* what the client has then: least_of() its requests */
    struct bytes *answer; /* a frame with `subscribed`, from collecting it until it is taken */
};

static uint64_t watcher_now_ms(const struct watcher *watcher)
{
    return uv_now(watcher->front->loop);
}

/* Microseconds since 1970. */
static uint64_t wall_clock_us(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_usec;
}

/* Sees to it that watcher_tick() comes by then. */
static void tick_by(struct watcher *watcher, uint64_t due_ms)
{
    if (watcher->timer->due_ms > due_ms || !timer_is_set(watcher->timer)) {
        timer_set(watcher->front->wheel, watcher->timer, due_ms);
    }
}

/* That time (microseconds since 1970) on the loop's clock; UINT64_MAX: never. */
static uint64_t loop_time_ms(const struct watcher *watcher, int64_t time_us)
{
    const int64_t left_us = time_us - (int64_t)wall_clock_us();

    if (time_us == INT64_MAX) {
        return UINT64_MAX;
    }

    return watcher_now_ms(watcher) + (left_us > 0 ? ((uint64_t)left_us + 999) / 1000 : 0);
}

/* When a subscription's token runs out, or its client is to be warned of that. */
static uint64_t token_due_ms(const struct watching *watching)
{
    const int64_t until_us = watching->token->valid_until_us;

    return loop_time_ms(watching->watcher,
                        watching->warn_us < until_us ? watching->warn_us : until_us);
}

/* Takes a reference to the token. A client that comes with one that expires soon knows it: it would
 * come with the same one again. */
static void watching_set_token(struct watching *watching, struct token *token)
{
    const int64_t warn_us = token->expires_us - EXPIRING_US;

    token_ref(token);
    token_unref(watching->token);
    watching->token = token;
    watching->warn_us = warn_us > (int64_t)wall_clock_us() ? warn_us : INT64_MAX;
    tick_by(watching->watcher, token_due_ms(watching));
}

/* ── Saying something to the client alone ────────────────────────────────────────────────────── */

/* Sends the text and frees it. */
static void say(struct watcher *watcher, struct text *text)
{
    struct bytes *frame = NULL;

    if (!text_failed(text)) {
        frame = ws_frame_new(WS_TEXT, text->data, (uint32_t)text->len);
    }
    ws_connection_send(watcher->ws, frame);
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

static void say_token_expiring(struct watching *watching)
{
    struct text text = TEXT_EMPTY;

    message_token_expiring(&text, watching->subscription.task->id);
    say(watching->watcher, &text);
}

static void write_subscribed(struct text *text, const struct watching *watching)
{
    const struct task *task = watching->subscription.task;

    message_subscribed(text, task->id, task->rev.n > 0 ? &task->rev : NULL, task_stages(task),
                       watching->token->expires_us / 1000);
}

/* ── Subscriptions ───────────────────────────────────────────────────────────────────────────── */

static bool is_indexed(const struct watcher *watcher)
{
    return watcher->by_id.count > 0;
}

static struct watching *watching_find(const struct watcher *watcher, const char *task_id)
{
    if (is_indexed(watcher)) {
        return map_get(&watcher->by_id, task_id, strlen(task_id));
    }
    LIST_EACH (link, &watcher->watchings) {
        struct watching *watching = CONTAINER_OF(link, struct watching, link);

        if (strcmp(watching->subscription.task->id, task_id) == 0) {
            return watching;
        }
    }
    return NULL;
}

static int index_add(struct watcher *watcher, struct watching *watching)
{
    const struct task *task = watching->subscription.task;

    return map_add(&watcher->by_id, task->id, task->id_len, watching);
}

/* A subscription has been added: puts it in the map, with all others when there is none yet. 0 or
 * -ENOMEM. */
static int index_update(struct watcher *watcher, struct watching *added)
{
    if (is_indexed(watcher)) {
        return index_add(watcher, added);
    }
    if (watcher->count < INDEX_FROM) {
        return 0;
    }
    LIST_EACH (link, &watcher->watchings) {
        int rc = index_add(watcher, CONTAINER_OF(link, struct watching, link));

        if (rc < 0) {
            map_deinit(&watcher->by_id);
            return rc;
        }
    }
    return 0;
}

static void watcher_forget(struct watching *watching)
{
    struct watcher *watcher = watching->watcher;

    list_remove(&watching->link);
    list_remove(&watching->pending);
    watcher->count--;
    watcher->idle_ms = watcher_now_ms(watcher);
    if (watcher->count == 0) {
        tick_by(watcher, watcher->idle_ms + watcher->front->config->subscribe_timeout_ms);
    }
    metric_sub(watcher->front->metrics, METRIC_SUBSCRIPTIONS, 1);
    token_unref(watching->token);
    bytes_unref(watching->answer);
    mem_free(watching);
}

static void index_remove(struct watching *watching)
{
    const struct task *task = watching->subscription.task;

    map_remove(&watching->watcher->by_id, task->id, task->id_len);
}

static void watcher_unwatch(struct watching *watching)
{
    index_remove(watching);
    hub_unsubscribe(watching->watcher->front->hub, &watching->subscription);
    watcher_forget(watching);
}

static void watcher_on_news(struct subscription *subscription)
{
    struct watching *watching = CONTAINER_OF(subscription, struct watching, subscription);

    if (!list_is_linked(&watching->pending)) {
        list_append(&watching->watcher->pending, &watching->pending);
    }
    channel_wake(&watching->watcher->ws->channel);
}

/* What is certain of a client whose requests name `a` and `b`: it has the smaller n of that run, or
 * of no run ("-" names none) if they name two. n is 0: it may have nothing, or something of the
 * run. */
static struct rev least_of(const struct rev *a, const struct rev *b)
{
    struct rev least = a->run_len > 0 ? *a : *b;

    if (a->run_len > 0 && b->run_len > 0 && !rev_same_run(a, b)) {
        least.run[0] = '-';
        least.run_len = 1;
    }
    least.n = a->n < b->n ? a->n : b->n;
    return least;
}

/* A subscribe or get_state is to be answered: with `subscribed` and then the state. Both are made
 * when they can be written, so that a client that asks for much and doesn't read holds nothing. */
static void owe_answer(struct watching *watching, const struct client_task *wanted)
{
    const struct rev has = wanted->has_rev ? wanted->rev : (struct rev){.n = 0};

    watching->has = watching->answers == 0 ? has : least_of(&watching->has, &has);
    watching->answers++;
    if (watching->subscription.ready) {
        watcher_on_news(&watching->subscription);
    } /* else: when it is */
}

static void watcher_on_failed(struct subscription *subscription)
{
    struct watching *watching = CONTAINER_OF(subscription, struct watching, subscription);

    for (; watching->answers > 0; watching->answers--) {
        say_error(watching->watcher, subscription->task->id, ERROR_UNAVAILABLE, UNAVAILABLE_TEXT);
    }
    index_remove(watching);
    watcher_forget(watching);
}

static const struct subscription_events subscription_events = {
    .on_ready = watcher_on_news,
    .on_news = watcher_on_news,
    .on_failed = watcher_on_failed,
};

static void say_hub_refused(struct watcher *watcher, const char *task_id, int rc)
{
    if (rc == HUB_UNAVAILABLE) {
        say_error(watcher, task_id, ERROR_UNAVAILABLE, UNAVAILABLE_TEXT);
    } else {
        ws_connection_send(watcher->ws, NULL);
    }
}

/* Takes a reference to the token. */
static void watcher_watch(struct watcher *watcher, const struct client_task *wanted,
                          struct token *token)
{
    struct watching *watching = mem_zalloc(1, sizeof(*watching));
    int rc;

    if (!watching) {
        ws_connection_send(watcher->ws, NULL);
        return;
    }
    watching->watcher = watcher;
    watching_set_token(watching, token);
    watching->subscription.events = &subscription_events;
    list_init(&watching->link);
    list_init(&watching->pending);
    list_append(&watcher->watchings, &watching->link);
    watcher->count++;
    metric_add(watcher->front->metrics, METRIC_SUBSCRIPTIONS, 1);
    rc = hub_subscribe(watcher->front->hub, &watching->subscription, wanted->task_id,
                       strlen(wanted->task_id));
    if (rc != 0 && rc != HUB_READY) {
        watcher_forget(watching);
        say_hub_refused(watcher, wanted->task_id, rc);
        return;
    }
    if (index_update(watcher, watching) < 0) {
        watcher_unwatch(watching);
        ws_connection_send(watcher->ws, NULL);
        return;
    }
    owe_answer(watching, wanted);
}

static void watcher_renew(struct watching *watching, const struct client_task *wanted,
                          struct token *token)
{
    watching_set_token(watching, token);
    owe_answer(watching, wanted);
}

/* The client is told, after the answers that it is owed. */
static void end_subscription(struct watching *watching, const char *reason)
{
    struct watcher *watcher = watching->watcher;

    for (; watching->subscription.ready && watching->answers > 0; watching->answers--) {
        struct text text = TEXT_EMPTY;

        write_subscribed(&text, watching);
        say(watcher, &text);
    }
    say_unsubscribed(watcher, watching->subscription.task->id, reason);
    watcher_unwatch(watching);
}

/* ── The client's requests ───────────────────────────────────────────────────────────────────── */

/* What a message asks for, of each of its tasks. */
struct request {
    struct watcher *watcher;
    struct token *token;   /* of a subscribe; NULL: refused, see `why` */
    enum auth_failure why; /* a subscribe has no token */
    bool is_busy;          /* its token can't be checked now */
};

/* A subscribe's token has been checked: `request` says how then. 0, or -ENOMEM. */
static int request_take_verdict(struct request *request, int rc, struct token *token,
                                enum auth_failure why)
{
    struct watcher *watcher = request->watcher;

    request->token = rc == 0 ? token : NULL;
    request->why = why;
    if (rc == AUTH_REFUSED) {
        metric_add(watcher->front->metrics, METRIC_AUTH_MISSING + why, 1);
        rc = 0;
    }
    return rc;
}

static void watcher_subscribe(struct request *request, const struct client_task *wanted)
{
    struct watcher *watcher = request->watcher;
    struct watching *watching = watching_find(watcher, wanted->task_id);

    if (request->is_busy) {
        say_error(watcher, wanted->task_id, ERROR_UNAVAILABLE, "too many tokens wait, try again");
    } else if (!request->token) {
        say_error(watcher, wanted->task_id, ERROR_UNAUTHORIZED, auth_failure_text(request->why));
    } else if (!token_names(request->token, wanted->task_id)) {
        metric_add(watcher->front->metrics, METRIC_AUTH_MISSING + AUTH_FORBIDDEN, 1);
        say_error(watcher, wanted->task_id, ERROR_FORBIDDEN, auth_failure_text(AUTH_FORBIDDEN));
    } else if (watching) { /* a fresh token renews in place */
        watcher_renew(watching, wanted, request->token);
    } else if (watcher->count >= watcher->front->config->max_subscriptions) {
        say_error(watcher, wanted->task_id, ERROR_TOO_MANY_SUBSCRIPTIONS,
                  "this connection watches as many tasks as it may");
    } else {
        watcher_watch(watcher, wanted, request->token);
    }
}

static void say_not_subscribed(struct watcher *watcher, const char *task_id)
{
    say_error(watcher, task_id, ERROR_NOT_SUBSCRIBED, "not subscribed to this task");
}

static void watcher_unsubscribe(struct request *request, const struct client_task *wanted)
{
    struct watching *watching = watching_find(request->watcher, wanted->task_id);

    if (!watching) {
        say_not_subscribed(request->watcher, wanted->task_id);
        return;
    }
    end_subscription(watching, UNSUBSCRIBED_CLIENT_REQUEST);
}

static void watcher_get_state(struct request *request, const struct client_task *wanted)
{
    struct watching *watching = watching_find(request->watcher, wanted->task_id);

    if (!watching) {
        say_not_subscribed(request->watcher, wanted->task_id);
    } else {
        owe_answer(watching, wanted);
    }
}

static void watcher_ping(struct watcher *watcher, const struct client_message *message)
{
    struct text text = TEXT_EMPTY;

    message_pong(&text, message->timestamp);
    say(watcher, &text);
}

/* Whether it is the client's own doing when nothing is heard from it. */
static bool is_listening(const struct watcher *watcher)
{
    return watcher->resume_ms == 0 && !watcher->checked && !watcher->unfinished;
}

/* ── The client's messages ───────────────────────────────────────────────────────────────────── */

static void say_invalid(struct watcher *watcher, const struct client_message_error *error)
{
    const char *task_id = error->task_id[0] != '\0' ? error->task_id
                          : watcher->url_task_id    ? watcher->url_task_id
                                                    : "";

    say_error(watcher, task_id, error->code, error->text);
}

/* Does what the message asks for, task by task: each is answered as if it had been asked for
 * alone. Whether all of it is done; if not, so many answers wait that the client has to take them
 * first, and the walk goes on from where it is. */
static bool take_tasks(struct request *request, const struct client_message *message,
                       struct client_task_walk *walk)
{
    static void (*const handlers[CLIENT_TYPES])(struct request *, const struct client_task *) = {
        [CLIENT_SUBSCRIBE] = watcher_subscribe,
        [CLIENT_UNSUBSCRIBE] = watcher_unsubscribe,
        [CLIENT_GET_STATE] = watcher_get_state,
    };
    struct client_task task;
    struct client_message_error error;

    while (!outbox_is_full(&request->watcher->ws->channel.outbox)) {
        int rc = client_message_next_task(message, walk, &task, &error);

        if (rc == MESSAGE_END) {
            return true;
        }
        if (rc == 0) {
            handlers[message->type](request, &task);
        } else {
            say_invalid(request->watcher, &error);
        }
    }
    return false;
}

/* A message with many tasks, of which some are not answered yet: the client isn't read from until
 * they are. So what it makes the worker hold is the message and a queue just over its bound. */
struct unfinished {
    struct loop_due due; /* to go on, behind what is being written */
    struct request request;
    struct bytes *payload;
    struct client_task_walk walk;
};

static void unfinished_free(struct unfinished *unfinished)
{
    if (unfinished) {
        loop_due_cancel(&unfinished->due);
        token_unref(unfinished->request.token);
        bytes_unref(unfinished->payload);
        mem_free(unfinished);
    }
}

static bool watcher_is_open(const struct watcher *watcher)
{
    return watcher->ws->channel.state == CHANNEL_OPEN && watcher->ws->state == WS_CONNECTION_OPEN;
}

/* Listens to the client again, unless there is a reason not to. The last thing to be done: what it
 * has said already may pause or close it. */
static void watcher_resume(struct watcher *watcher)
{
    if (watcher_is_open(watcher) && is_listening(watcher)) {
        channel_resume(&watcher->ws->channel);
    }
}

static void unfinished_on_due(struct loop_due *due)
{
    struct unfinished *unfinished = CONTAINER_OF(due, struct unfinished, due);
    struct watcher *watcher = unfinished->request.watcher;
    const struct span payload = {(const char *)unfinished->payload->data, unfinished->payload->len};
    struct client_message message;
    struct client_message_error error;

    /* It was parsed before. */
    if (watcher_is_open(watcher) &&
        client_message_parse(payload, watcher->url_task_id, &message, &error) == 0 &&
        take_tasks(&unfinished->request, &message, &unfinished->walk)) {
        unfinished_free(TAKE(watcher->unfinished));
        watcher_resume(watcher);
    }
}

static void take_message(struct request *request, struct span payload,
                         const struct client_message *message)
{
    struct watcher *watcher = request->watcher;
    struct client_task_walk walk = {0};

    if (take_tasks(request, message, &walk)) {
        return;
    }
    struct unfinished *unfinished = mem_zalloc(1, sizeof(*unfinished));
    struct bytes *copy = bytes_copy(payload.at, (uint32_t)payload.len);
    if (!unfinished || !copy) {
        mem_free(unfinished);
        bytes_unref(copy);
        ws_connection_send(watcher->ws, NULL);
        return;
    }
    loop_due_init(&unfinished->due, unfinished_on_due);
    unfinished->request = *request;
    unfinished->request.token = request->token ? token_ref(request->token) : NULL;
    unfinished->payload = copy;
    unfinished->walk = walk;
    watcher->unfinished = unfinished;
    channel_pause(&watcher->ws->channel);
}

/* Accounts for a message that was answered: a client that asks for more than it may isn't listened
 * to for a while. */
static void charge(struct watcher *watcher, uint32_t units)
{
    const uint64_t now = watcher_now_ms(watcher);
    const uint64_t more_ms =
        allowance_take(&watcher->allowance, watcher->front->config, now, units);

    if (more_ms == now) {
        return;
    }
    if (allowance_is_abused(&watcher->allowance, now)) {
        ws_connection_close(watcher->ws, CLOSE_TOO_MANY_REQUESTS);
        return;
    }
    watcher->resume_ms = more_ms;
    channel_pause(&watcher->ws->channel);
    tick_by(watcher, more_ms);
}

/* Answers a subscribe whose token has been checked, once for all of its tasks. */
static void take_checked(struct watcher *watcher, struct span payload,
                         const struct client_message *message, int rc, struct token *token,
                         enum auth_failure why)
{
    struct request request = {.watcher = watcher, .is_busy = rc == AUTH_BUSY};

    if (request_take_verdict(&request, rc, token, why) < 0) {
        ws_connection_send(watcher->ws, NULL);
    } else {
        take_message(&request, payload, message);
    }
}

/* The token's check takes time: the message waits for it, and nothing else is read meanwhile. */
static void watcher_wait(struct watcher *watcher, struct span payload, struct span token)
{
    watcher->checked = bytes_copy(payload.at, payload.len);
    if (!watcher->checked) {
        auth_cancel(watcher->front->auth, &watcher->check);
        ws_connection_send(watcher->ws, NULL);
        return;
    }
    watcher->check.text.at = (const char *)watcher->checked->data + (token.at - payload.at);
    channel_pause(&watcher->ws->channel);
}

static void take_subscribe(struct watcher *watcher, struct span payload,
                           const struct client_message *message)
{
    CLEANUP(token_unref_at) struct token *token = NULL;
    enum auth_failure why = AUTH_MISSING;
    int rc = AUTH_REFUSED;

    if (message->token.at) {
        rc = auth_verify(watcher->front->auth, message->token, (int64_t)wall_clock_us(),
                         &watcher->check, &token, &why);
    }
    if (rc == AUTH_LATER) {
        watcher_wait(watcher, payload, message->token);
    } else {
        take_checked(watcher, payload, message, rc, token, why);
    }
}

/* Answers the message that waited for its token's check. */
static void take_waiting(struct watcher *watcher, struct span payload,
                         const struct auth_verdict *verdict)
{
    struct client_message message = {.task_count = 0};
    struct client_message_error error;

    if (client_message_parse(payload, watcher->url_task_id, &message, &error) == 0) {
        take_checked(watcher, payload, &message, verdict->rc, verdict->token, verdict->why);
        charge(watcher, message.task_count);
    }
}

static void watcher_on_checked(struct auth_check *check, const struct auth_verdict *verdict)
{
    struct watcher *watcher = CONTAINER_OF(check, struct watcher, check);
    struct bytes *payload = TAKE(watcher->checked);

    if (watcher_is_open(watcher)) {
        take_waiting(watcher, (struct span){(const char *)payload->data, payload->len}, verdict);
    }
    bytes_unref(payload);
    watcher_resume(watcher);
}

void watcher_message(struct watcher *watcher, enum ws_opcode opcode, const uint8_t *payload,
                     uint32_t len)
{
    const struct span text = {(const char *)payload, len};
    struct client_message message = {.task_count = 0};
    struct client_message_error error;

    metric_add(watcher->front->metrics, METRIC_CLIENT_MESSAGES_RECEIVED, 1);
    if (opcode == WS_BINARY) {
        ws_connection_close(watcher->ws, CLOSE_UNSUPPORTED_DATA);
        return;
    }
    if (client_message_parse(text, watcher->url_task_id, &message, &error) != 0) {
        say_invalid(watcher, &error);
    } else if (message.type == CLIENT_PING) {
        watcher_ping(watcher, &message);
    } else if (message.type == CLIENT_SUBSCRIBE) {
        take_subscribe(watcher, text, &message);
    } else {
        take_message(&(struct request){.watcher = watcher}, text, &message);
    }
    if (!watcher->checked) { /* else once it is answered */
        charge(watcher, message.task_count > 0 ? message.task_count : 1);
    }
}

/* ── The tasks' messages ─────────────────────────────────────────────────────────────────────── */

/* Makes the frame of the `subscribed` that is due. How long it is; 0 when out of memory: then it is
 * tried again soon. */
static uint32_t make_answer(struct watching *watching)
{
    struct text text = TEXT_EMPTY;

    bytes_unref(TAKE(watching->answer));
    write_subscribed(&text, watching);
    if (!text_failed(&text)) {
        watching->answer = ws_frame_new(WS_TEXT, text.data, (uint32_t)text.len);
    }
    text_deinit(&text);
    if (!watching->answer) {
        tick_by(watching->watcher, watcher_now_ms(watching->watcher));
        return 0;
    }
    return watching->answer->len;
}

/* From where the state is due behind the answer. */
static uint64_t position_of_answer(const struct watching *watching)
{
    const struct task *task = watching->subscription.task;
    struct rev has = watching->has;

    if (has.n == 0 && has.run_len > 0 && (task->rev.n == 0 || !rev_same_run(&has, &task->rev))) {
        has.n = 1; /* it may have something of another run, and must be told to forget it */
    }
    return task_position(task, &has);
}

/* The frames that follow in the task. How many. */
static size_t collect_task(struct watching *watching, struct channel_frame *frames, size_t max)
{
    const uint64_t position =
        watching->answers > 0 ? position_of_answer(watching) : watching->subscription.position;
    struct task_item found[CHANNEL_BATCH];
    uint32_t left_out;
    const size_t count = task_collect(watching->subscription.task, position, found, max, &left_out);

    metric_add(watching->watcher->front->metrics, METRIC_MESSAGES_SUPERSEDED, left_out);
    for (size_t i = 0; i < count; i++) {
        frames[i] =
            (struct channel_frame){shared_text_frame(found[i].text), watching, found[i].position};
    }
    return count;
}

size_t watcher_collect(struct watcher *watcher, struct channel_frame *frames, size_t max)
{
    size_t count = 0, made = 0;

    if (watcher->unfinished) { /* the queue is being written */
        loop_at_turn_end(loop_of(watcher->front->loop), &watcher->unfinished->due);
    }
    LIST_EACH (link, &watcher->pending) {
        struct watching *watching = CONTAINER_OF(link, struct watching, pending);
        const size_t before = count;

        if (max - count < TASK_MESSAGE_TYPES + 1 || made >= ANSWERS_MAX) {
            break;
        }
        if (watching->answers > 0) {
            const uint32_t len = make_answer(watching);

            if (len == 0) {
                continue;
            }
            made += len;
            frames[count++] = (struct channel_frame){watching->answer, watching, 0};
        }
        count += collect_task(watching, frames + count, max - count);
        if (count == before) {
            list_remove(&watching->pending);
        }
    }
    return count;
}

static void taken_answer(struct watching *watching)
{
    watching->subscription.position = position_of_answer(watching);
    watching->answers--;
    bytes_unref(TAKE(watching->answer));
}

static void count_delivery(struct watcher *watcher, uint64_t published_us)
{
    const uint64_t now = wall_clock_us();

    metric_add(watcher->front->metrics, METRIC_MESSAGES_DELIVERED, 1);
    if (now > published_us) {
        metrics_histogram_observe(&watcher->front->metrics->histograms[HISTOGRAM_DELIVERY_DELAY],
                                  now - published_us);
    }
}

void watcher_taken(struct watcher *watcher, const struct channel_frame *frame)
{
    struct watching *watching = frame->context;

    if (frame->frame == watching->answer) {
        taken_answer(watching);
    } else {
        watching->subscription.position = frame->n;
        count_delivery(watcher, task_published_us(watching->subscription.task, frame->n));
    }
    if (watching->answers == 0 &&
        watching->subscription.position >= watching->subscription.task->position) {
        list_remove(&watching->pending);
    }
}

/* ── Time ────────────────────────────────────────────────────────────────────────────────────── */

void watcher_leave(struct watcher *watcher, uint32_t after_ms)
{
    const uint64_t leave_ms = watcher_now_ms(watcher) + after_ms;
    struct text text = TEXT_EMPTY;

    if (watcher->is_leaving && watcher->leave_ms <= leave_ms) {
        return;
    }
    watcher->is_leaving = true;
    watcher->leave_ms = leave_ms;
    tick_by(watcher, leave_ms);
    message_reconnect(&text, after_ms);
    say(watcher, &text);
}

/* Spread by a fifth, so that clients that came together don't go together. 0: never. */
static uint64_t end_of_age(const struct watcher *watcher)
{
    const uint32_t age = watcher->front->config->max_connection_age_ms;

    return age == 0 ? 0
                    : watcher_now_ms(watcher) + age - age / 5 + arc4random_uniform(age / 5 * 2 + 1);
}

/* Whether it has been closed. */
static bool take_leave(struct watcher *watcher)
{
    if (watcher->leave_ms == 0 || watcher_now_ms(watcher) < watcher->leave_ms) {
        return false;
    }
    if (watcher->is_leaving) {
        ws_connection_close(watcher->ws, CLOSE_SERVICE_RESTART);
        return true;
    }
    watcher_leave(watcher, arc4random_uniform(AGE_NOTICE_MS + 1));
    return !watcher_is_open(watcher);
}

/* Sets the timer for what is due first. */
static void watcher_schedule(struct watcher *watcher)
{
    const struct config *config = watcher->front->config;
    uint64_t due = watcher->ping_ms;

    if (watcher->resume_ms > 0 && due > watcher->resume_ms) {
        due = watcher->resume_ms;
    }
    if (watcher->leave_ms > 0 && due > watcher->leave_ms) {
        due = watcher->leave_ms;
    }
    if (due > watcher->ws->channel.heard_ms + config->idle_timeout_ms) {
        due = watcher->ws->channel.heard_ms + config->idle_timeout_ms;
    }
    if (watcher->count == 0 && due > watcher->idle_ms + config->subscribe_timeout_ms) {
        due = watcher->idle_ms + config->subscribe_timeout_ms;
    }
    LIST_EACH (link, &watcher->watchings) {
        const struct watching *watching = CONTAINER_OF(link, struct watching, link);
        const uint64_t token_due = token_due_ms(watching);

        if (due > token_due) {
            due = token_due;
        }
    }
    timer_set(watcher->front->wheel, watcher->timer, due);
}

/* Warns of tokens that expire soon, and ends subscriptions whose token has run out. */
static void expire_tokens(struct watcher *watcher)
{
    const int64_t now_us = (int64_t)wall_clock_us();

    LIST_EACH (link, &watcher->watchings) {
        struct watching *watching = CONTAINER_OF(link, struct watching, link);

        if (watching->token->valid_until_us <= now_us) {
            end_subscription(watching, UNSUBSCRIBED_TOKEN_EXPIRED);
        } else if (watching->warn_us <= now_us) {
            watching->warn_us = INT64_MAX;
            say_token_expiring(watching);
        }
    }
}

/* Spread by a tenth, so that pings of clients that came together don't stay together. */
static uint64_t next_ping(const struct watcher *watcher)
{
    const uint32_t interval = watcher->front->config->ping_interval_ms;

    return watcher_now_ms(watcher) + interval - interval / 10 +
           arc4random_uniform(interval / 5 + 1);
}

void watcher_tick(struct watcher *watcher)
{
    const struct config *config = watcher->front->config;
    const uint64_t now = watcher_now_ms(watcher);

    if (is_listening(watcher) && now - watcher->ws->channel.heard_ms >= config->idle_timeout_ms) {
        ws_connection_close(watcher->ws, CLOSE_TIMEOUT);
        return;
    }
    if (take_leave(watcher)) {
        return;
    }
    expire_tokens(watcher);
    if (watcher->count == 0 && !watcher->checked &&
        now - watcher->idle_ms >= config->subscribe_timeout_ms) {
        ws_connection_close(watcher->ws, CLOSE_UNAUTHORIZED);
        return;
    }
    if (now >= watcher->ping_ms) {
        ws_connection_send(watcher->ws, ws_frame_new(WS_PING, "", 0));
        watcher->ping_ms = next_ping(watcher);
    }
    if (!list_is_empty(&watcher->pending)) {
        channel_wake(&watcher->ws->channel); /* memory may have run out before */
    }
    if (watcher->resume_ms > 0 && now >= watcher->resume_ms) {
        watcher->resume_ms = 0;
        watcher_schedule(watcher);
        watcher_resume(watcher);
    } else {
        watcher_schedule(watcher);
    }
}

/* ── Beginning and end ───────────────────────────────────────────────────────────────────────── */

int watcher_begin(struct watcher *watcher, const struct front *front, struct ws_connection *ws,
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
    watcher->ws = ws;
    watcher->timer = timer;
    list_init(&watcher->watchings);
    list_init(&watcher->pending);
    map_init(&watcher->by_id);
    auth_check_init(&watcher->check, watcher_on_checked);
    watcher->idle_ms = watcher_now_ms(watcher);
    allowance_init(&watcher->allowance, front->config, watcher->idle_ms);
    watcher->ping_ms = next_ping(watcher);
    watcher->leave_ms = end_of_age(watcher);
    watcher_schedule(watcher);
    return 0;
}

void watcher_end(struct watcher *watcher)
{
    LIST_EACH (link, &watcher->watchings) {
        watcher_unwatch(CONTAINER_OF(link, struct watching, link));
    }
    auth_cancel(watcher->front->auth, &watcher->check);
    bytes_unref(TAKE(watcher->checked));
    unfinished_free(TAKE(watcher->unfinished));
    map_deinit(&watcher->by_id);
    mem_free(TAKE(watcher->url_task_id));
}
