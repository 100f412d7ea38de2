#include "broker/process/admin.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "broker/net/http_connection.h"
#include "broker/net/listener.h"
#include "common/list.h"
#include "common/mem.h"
#include "proto/http_response.h"

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct admin {
    struct node *node;
    struct loop *loop;
    struct listener listener;
    struct channel_settings settings;
    struct metrics_slot metrics; /* not of the page: what is counted there are clients */
    struct list clients;         /* the one that was silent for longest first */
    uint32_t served, open;       /* in `clients`; and those as well that are closing */
    bool listener_closed;
    void (*on_closed)(void *owner); /* NULL: open */
    void *owner;
};

struct client {
    struct http_connection http;
    struct list link; /* in admin->clients */
    struct timer deadline;
};

static struct admin *admin_of(const struct channel *channel)
{
    return CONTAINER_OF(channel->settings, struct admin, settings);
}

static struct client *client_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct client, http.channel);
}

static void set_deadline(struct client *client, uint64_t in_ms)
{
    struct loop *loop = admin_of(&client->http.channel)->loop;

    timer_set(&loop->wheel, &client->deadline, loop_now(loop) + in_ms);
}

/* The client came, or asked for something: it is now the last to be shed. */
static void touch(struct client *client, uint64_t deadline_in_ms)
{
    list_remove(&client->link);
    list_append(&admin_of(&client->http.channel)->clients, &client->link);
    set_deadline(client, deadline_in_ms);
}

/* ── Answers ─────────────────────────────────────────────────────────────────────────────────── */

static void answer_metrics(struct node *node, struct http_response *response, struct text *body)
{
    response->content_type = METRICS_TYPE;
    node_write_metrics(node, body);
}

static void answer_health(struct node *node, struct http_response *response, struct text *body)
{
    text_puts(body, "ok\n");
}

static void answer_readiness(struct node *node, struct http_response *response, struct text *body)
{
    const char *why;

    if (node_readiness(node, &why) == NODE_NOT_READY) {
        response->status = 503;
    }
    text_printf(body, "%s\n", why);
}

static void answer_status(struct node *node, struct http_response *response, struct text *body)
{
    response->content_type = JSON_TYPE;
    node_write_status(node, body);
}

struct route {
    const char *path;
    void (*answer)(struct node *node, struct http_response *response, struct text *body);
};

static const struct route routes[] = {
    {"/metrics", answer_metrics},
    {"/healthz", answer_health},
    {"/readyz", answer_readiness},
    {"/status", answer_status},
};

static const struct route *find_route(struct span path)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (path.len == strlen(routes[i].path) && memcmp(path.at, routes[i].path, path.len) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

static void write_answer(struct node *node, const struct http_request *request,
                         struct http_response *response, struct text *text)
{
    const enum http_method method = http_request_method(request);
    const struct route *route = find_route(http_request_path(request));
    CLEANUP(text_deinit) struct text body = TEXT_EMPTY;

    response->head_only = method == HTTP_METHOD_HEAD;
    if (!route) {
        response->status = 404;
        http_response_write_error(text, response, "NOT_FOUND", "there is nothing at this address");
        return;
    }
    if (method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD) {
        response->status = 405;
        response->headers = "Allow: GET, HEAD\r\n";
        http_response_write_error(text, response, "METHOD_NOT_ALLOWED", "only GET and HEAD are");
        return;
    }
    response->status = 200;
    response->content_type = TEXT_TYPE;
    response->headers = "Cache-Control: no-store\r\n";
    route->answer(node, response, &body);
    response->body = (struct span){body.data, body.len};
    text->failed = text->failed || text_failed(&body);
    http_response_write(text, response);
}

static void admin_on_begun(struct http_connection *http)
{
}

static void admin_on_request(struct http_connection *http, const struct http_request *request)
{
    struct http_response response = {.close = !http_request_keeps_alive(request) ||
                                              http_request_upgrades(request)};
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;

    write_answer(admin_of(&http->channel)->node, request, &response, &text);
    touch(client_of(&http->channel), ADMIN_IDLE_TIMEOUT_MS);
    http_connection_respond(http, text_to_bytes(&text), response.close);
}

/* ── Clients ─────────────────────────────────────────────────────────────────────────────────── */

static void after_closing(struct admin *admin);

static void on_deadline(struct timer *timer)
{
    channel_abort(&CONTAINER_OF(timer, struct client, deadline)->http.channel);
}

static void admin_on_ending(struct channel *channel)
{
    set_deadline(client_of(channel), ADMIN_REQUEST_TIMEOUT_MS);
}

/* The client takes no place any more. */
static void admin_leave(struct admin *admin, struct client *client)
{
    admin->served -= list_is_linked(&client->link);
    list_remove(&client->link);
}

static void admin_on_closed(struct channel *channel)
{
    struct admin *admin = admin_of(channel);
    struct client *client = client_of(channel);

    admin_leave(admin, client);
    timer_cancel(&admin->loop->wheel, &client->deadline);
    mem_free(client);
    admin->open--;
    listener_resume(&admin->listener);
    after_closing(admin);
}

static const struct http_connection_events http_events = {
    .on_begun = admin_on_begun,
    .on_request = admin_on_request,
};

/* Nobody is upgraded to WebSocket, so nothing is collected. */
static const struct channel_events channel_events = {
    .on_ending = admin_on_ending,
    .on_closed = admin_on_closed,
};

static void admin_on_accept(void *owner, int fd, const struct sockaddr *peer)
{
    struct admin *admin = owner;

    if (admin->served == ADMIN_MAX_CLIENTS) {
        struct client *oldest = CONTAINER_OF(list_first(&admin->clients), struct client, link);
        admin_leave(admin, oldest);
        channel_abort(&oldest->http.channel);
    }
    struct client *client = mem_zalloc(1, sizeof(*client));
    if (!client) {
        close(fd);
        return;
    }
    if (http_connection_open(&client->http, fd, &admin->settings) < 0) {
        mem_free(client);
        return;
    }
    list_init(&client->link);
    timer_init(&client->deadline, on_deadline);
    admin->served++;
    admin->open++;
    touch(client, ADMIN_REQUEST_TIMEOUT_MS);
}

static bool admin_is_over_share(void *owner)
{
    return false;
}

static void admin_on_listener_closed(void *owner)
{
    struct admin *admin = owner;

    admin->listener_closed = true;
    after_closing(admin);
}

static const struct listener_events listener_events = {
    .is_over_share = admin_is_over_share,
    .on_accept = admin_on_accept,
    .on_closed = admin_on_listener_closed,
};

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

int admin_open(struct loop *loop, int fd, struct node *node, struct admin **ret_admin)
{
    struct admin *admin = mem_zalloc(1, sizeof(*admin));

    if (!admin) {
        close(fd);
        return -ENOMEM;
    }
    admin->node = node;
    admin->loop = loop;
    admin->settings = (struct channel_settings){
        .loop = loop,
        .metrics = &admin->metrics,
        .events = &channel_events,
        .http_events = &http_events,
    };
    list_init(&admin->clients);
    int rc = listener_open(&admin->listener, &loop->uv, fd, &loop->wheel, &admin->metrics,
                           &listener_events, admin);
    if (rc < 0) {
        mem_free(admin);
        return rc;
    }
    *ret_admin = admin;
    return 0;
}

static void after_closing(struct admin *admin)
{
    if (admin->listener_closed && admin->open == 0) {
        void (*closed)(void *) = admin->on_closed;
        void *owner = admin->owner;

        mem_free(admin);
        closed(owner);
    }
}

void admin_close(struct admin *admin, void (*on_admin_closed)(void *owner), void *owner)
{
    assert(!admin->on_closed);
    admin->on_closed = on_admin_closed;
    admin->owner = owner;
    listener_close(&admin->listener, true);
    LIST_EACH (link, &admin->clients) {
        channel_abort(&CONTAINER_OF(link, struct client, link)->http.channel);
    }
}
