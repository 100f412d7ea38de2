#include "broker/process/admin.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "broker/net/connection.h"
#include "common/list.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/http_response.h"

#define MODULE "admin"
#define SWEEP_MS 1000
#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct admin {
    struct node *node;
    int fd;
    uv_poll_t poll;     /* a client waits to be accepted */
    uv_prepare_t flush; /* the turn's end, while there is something to write */
    uv_timer_t sweep;   /* looks for clients that take too long */
    uint8_t open_handles;
    struct connection_settings settings;
    struct metrics_slot metrics; /* not of the page: what is counted there are clients */
    struct list clients;         /* the one that was silent for longest first */
    struct list flushing;
    uint32_t count;
    void (*on_closed)(void *owner); /* NULL: open */
    void *owner;
};

struct client {
    struct connection connection;
    struct list link;       /* in admin->clients */
    struct list flush_link; /* in admin->flushing, or alone */
    uint64_t deadline_ms;
};

static struct admin *admin_of(const struct connection *connection)
{
    return CONTAINER_OF(connection->settings, struct admin, settings);
}

static struct client *client_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct client, connection);
}

static void set_deadline(struct client *client, uint64_t in_ms)
{
    client->deadline_ms = uv_now(admin_of(&client->connection)->settings.loop) + in_ms;
}

/* The client came, or asked for something: it is now the last to be shed. */
static void touch(struct client *client, uint64_t deadline_in_ms)
{
    list_remove(&client->link);
    list_append(&admin_of(&client->connection)->clients, &client->link);
    set_deadline(client, deadline_in_ms);
}

/* ── Answers ─────────────────────────────────────────────────────────────────────────────────── */

static void answer_metrics(struct node *node, struct http_response *response, struct text *body)
{
    response->content_type = METRICS_TYPE;
    metrics_write_prometheus(body, node->page, node->config->workers);
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

static void on_begun(struct connection *connection)
{
}

static void on_request(struct connection *connection, const struct http_request *request)
{
    struct http_response response = {.close = !http_request_keeps_alive(request) ||
                                              http_request_upgrades(request)};
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;

    write_answer(admin_of(connection)->node, request, &response, &text);
    touch(client_of(connection), ADMIN_IDLE_TIMEOUT_MS);
    connection_respond(connection, text_to_bytes(&text), response.close);
}

/* ── Clients ─────────────────────────────────────────────────────────────────────────────────── */

static void accept_again(struct admin *admin);
static void after_closing(struct admin *admin);

static void on_flush(uv_prepare_t *prepare)
{
    struct admin *admin = CONTAINER_OF(prepare, struct admin, flush);
    struct list *link;

    while ((link = list_first(&admin->flushing)) != NULL) {
        list_remove(link);
        connection_flush(&CONTAINER_OF(link, struct client, flush_link)->connection);
    }
    uv_prepare_stop(prepare);
}

static void on_flush_due(struct connection *connection)
{
    struct admin *admin = admin_of(connection);

    list_append(&admin->flushing, &client_of(connection)->flush_link);
    uv_prepare_start(&admin->flush, on_flush);
}

static void on_ending(struct connection *connection)
{
    set_deadline(client_of(connection), ADMIN_REQUEST_TIMEOUT_MS);
}

static void on_closed(struct connection *connection)
{
    struct admin *admin = admin_of(connection);
    struct client *client = client_of(connection);

    list_remove(&client->link);
    list_remove(&client->flush_link);
    mem_free(client);
    admin->count--;
    accept_again(admin);
    after_closing(admin);
}

/* Nobody is upgraded to WebSocket, and so the events of one are left out. */
static const struct connection_events connection_events = {
    .on_begun = on_begun,
    .on_request = on_request,
    .on_flush_due = on_flush_due,
    .on_ending = on_ending,
    .on_closed = on_closed,
};

static void on_sweep(uv_timer_t *timer)
{
    struct admin *admin = CONTAINER_OF(timer, struct admin, sweep);
    const uint64_t now = uv_now(admin->settings.loop);

    LIST_EACH (link, &admin->clients) {
        struct client *client = CONTAINER_OF(link, struct client, link);

        if (now >= client->deadline_ms) {
            connection_abort(&client->connection);
        }
    }
    accept_again(admin);
}

static void take_client(struct admin *admin, int fd)
{
    struct client *client = mem_zalloc(1, sizeof(*client));

    if (!client) {
        close(fd);
        return;
    }
    if (connection_open(&client->connection, fd, &admin->settings) < 0) {
        mem_free(client);
        return;
    }
    list_init(&client->link);
    list_init(&client->flush_link);
    admin->count++;
    touch(client, ADMIN_REQUEST_TIMEOUT_MS);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct admin *admin = CONTAINER_OF(poll, struct admin, poll);

    if (admin->count >= ADMIN_MAX_CLIENTS) {
        /* The newcomer is accepted in a later turn, when this one is gone. */
        struct list *oldest = list_first(&admin->clients);
        connection_abort(&CONTAINER_OF(oldest, struct client, link)->connection);
        return;
    }
    const int fd = accept4(admin->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take_client(admin, fd);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        /* No descriptor or no memory is left: the next sweep tries again. */
        log_event(LOG_WARN, MODULE, "cannot accept", LOG_TEXT("why", strerror(errno)));
        uv_poll_stop(&admin->poll);
    }
}

/* Also after a pause for want of descriptors. */
static void accept_again(struct admin *admin)
{
    if (!uv_is_closing((uv_handle_t *)&admin->poll)) {
        uv_poll_start(&admin->poll, UV_READABLE, on_acceptable);
    }
}

/* ── Opening and closing ─────────────────────────────────────────────────────────────────────── */

int admin_open(uv_loop_t *loop, int fd, struct node *node, struct admin **ret_admin)
{
    struct admin *admin = mem_zalloc(1, sizeof(*admin));
    int r = -ENOMEM;

    if (admin) {
        r = uv_poll_init(loop, &admin->poll, fd);
    }
    if (r < 0) {
        mem_free(admin);
        close(fd);
        return r;
    }
    admin->node = node;
    admin->fd = fd;
    admin->settings = (struct connection_settings){
        .loop = loop, .metrics = &admin->metrics, .events = &connection_events};
    list_init(&admin->clients);
    list_init(&admin->flushing);
    uv_prepare_init(loop, &admin->flush);
    uv_timer_init(loop, &admin->sweep);
    uv_timer_start(&admin->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    admin->open_handles = 3;
    accept_again(admin);
    *ret_admin = admin;
    return 0;
}

static void after_closing(struct admin *admin)
{
    if (admin->open_handles == 0 && admin->count == 0) {
        void (*closed)(void *) = admin->on_closed;
        void *owner = admin->owner;

        mem_free(admin);
        closed(owner);
    }
}

static void handle_closed(struct admin *admin)
{
    admin->open_handles--;
    after_closing(admin);
}

static void on_poll_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct admin, poll));
}

static void on_flush_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct admin, flush));
}

static void on_sweep_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct admin, sweep));
}

void admin_close(struct admin *admin, void (*on_admin_closed)(void *owner), void *owner)
{
    assert(!admin->on_closed);
    admin->on_closed = on_admin_closed;
    admin->owner = owner;
    uv_close((uv_handle_t *)&admin->poll, on_poll_closed);
    close(admin->fd);
    uv_close((uv_handle_t *)&admin->flush, on_flush_closed);
    uv_close((uv_handle_t *)&admin->sweep, on_sweep_closed);
    LIST_EACH (link, &admin->clients) {
        connection_abort(&CONTAINER_OF(link, struct client, link)->connection);
    }
}
