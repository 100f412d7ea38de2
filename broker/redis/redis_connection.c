#include "broker/redis/redis_connection.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"

struct redis_pending {
    redis_answer_fn on_answer;
    void *context;
    bool unsubscribes; /* the command's answer is an (s)unsubscribe */
};

static void redis_connection_fail(struct redis_connection *connection, const char *why)
{
    if (!connection->failed && !connection->closing) {
        connection->failed = true;
        connection->events->on_failed(connection, why);
    }
}

static void redis_connection_fail_with(struct redis_connection *connection, const char *what,
                                       int error)
{
    char why[128];

    snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(error));
    redis_connection_fail(connection, why);
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────── */

static void redis_connection_write_out(struct redis_connection *connection)
{
    struct iovec vector = {connection->out.data + connection->out_at,
                           connection->out.len - connection->out_at};
    ssize_t n = stream_writev(&connection->stream, &vector, 1);

    uv_prepare_stop(&connection->turn_end);
    if (n < 0) {
        redis_connection_fail_with(connection, "cannot write", (int)n);
        return;
    }
    connection->out_at += (size_t)n;
    if (connection->out_at < connection->out.len) {
        stream_want_write(&connection->stream);
        return;
    }
    connection->out.len = connection->out_at = 0;
    if (connection->out.capacity > STREAM_READ_MAX) {
        text_deinit(&connection->out);
    }
}

static void redis_connection_on_turn_end(uv_prepare_t *turn_end)
{
    redis_connection_write_out(CONTAINER_OF(turn_end, struct redis_connection, turn_end));
}

static void redis_connection_on_writable(struct stream *stream)
{
    redis_connection_write_out(CONTAINER_OF(stream, struct redis_connection, stream));
}

static int redis_connection_pending_push(struct redis_connection *connection,
                                         struct redis_pending pending)
{
    if (connection->pending_count == connection->pending_capacity) {
        uint32_t capacity = connection->pending_capacity ? connection->pending_capacity * 2 : 16;
        struct redis_pending *ring = mem_alloc(capacity * sizeof(*ring));

        if (!ring) {
            return -ENOMEM;
        }
        for (uint32_t i = 0; i < connection->pending_count; i++) {
            ring[i] =
                connection
                    ->pending[(connection->pending_head + i) & (connection->pending_capacity - 1)];
        }
        mem_free(connection->pending);
        connection->pending = ring;
        connection->pending_capacity = capacity;
        connection->pending_head = 0;
    }
    connection->pending[(connection->pending_head + connection->pending_count) &
                        (connection->pending_capacity - 1)] = pending;
    connection->pending_count++;
    return 0;
}

static struct redis_pending redis_connection_pending_pop(struct redis_connection *connection)
{
    struct redis_pending pending = connection->pending[connection->pending_head];

    assert(connection->pending_count > 0);
    connection->pending_head = (connection->pending_head + 1) & (connection->pending_capacity - 1);
    connection->pending_count--;
    return pending;
}

/* SUNSUBSCRIBE and PUNSUBSCRIBE, SSUBSCRIBE and PSUBSCRIBE. */
static bool is_unsubscribe(struct span command)
{
    return command.len == 12 && memcmp(command.at + 1, "UNSUBSCRIBE", 11) == 0;
}

static bool is_subscribe(struct span command)
{
    return command.len == 10 && memcmp(command.at + 1, "SUBSCRIBE", 9) == 0;
}

int redis_connection_send(struct redis_connection *connection, redis_answer_fn on_answer,
                          void *context, int argc, const struct span *argv)
{
    const char *arguments[REDIS_ARGUMENTS_MAX];
    size_t lengths[REDIS_ARGUMENTS_MAX];
    char *command = NULL;
    int len, rc;

    assert(argc > 0 && argc <= (int)ARRAY_LEN(arguments) && connection->stream_is_open);
    for (int i = 0; i < argc; i++) {
        arguments[i] = argv[i].at;
        lengths[i] = argv[i].len;
    }
    rc = redis_connection_pending_push(
        connection, (struct redis_pending){on_answer, context, is_unsubscribe(argv[0])});
    if (rc < 0) {
        return rc;
    }
    len = redisFormatCommandArgv(&command, argc, arguments, lengths);
    if (len >= 0) {
        text_append(&connection->out, command, (size_t)len);
        redisFreeCommand(command);
    }
    if (len < 0 || text_failed(&connection->out)) {
        connection->out.failed = false;
        connection->pending_count--;
        return -ENOMEM;
    }
    connection->sent++;
    connection->subscribes |= is_subscribe(argv[0]);
    if (!connection->failed && !connection->closing && !connection->stream.wants_write) {
        uv_prepare_start(&connection->turn_end, redis_connection_on_turn_end);
    }
    return 0;
}

static void redis_connection_on_name_set(void *context, const struct redis_answer *answer)
{
}

int redis_connection_set_name(struct redis_connection *connection, const char *role)
{
    char name[64];

    snprintf(name, sizeof(name), "progressd:%d:%s", (int)getpid(), role);
    return redis_connection_send(
        connection, redis_connection_on_name_set, NULL, 3,
        (struct span[]){SPAN_OF("CLIENT"), SPAN_OF("SETNAME"), SPAN_OF(name)});
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

/* The first word of an array: what kind of pub/sub message it is. Only who has subscribed gets one;
 * to anybody else it is a reply that happens to look so, such as a hash with that field. */
static bool is_push(const struct redis_connection *connection, const redisReply *reply,
                    const char *kind)
{
    return connection->subscribes && reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, kind) == 0;
}

/* {"smessage", channel, message} or {"pmessage", pattern, channel, message}. */
static void hand_on_message(struct redis_connection *connection, const redisReply *reply)
{
    const redisReply *channel = reply->element[reply->elements - 2];
    const redisReply *message = reply->element[reply->elements - 1];

    if (channel->type == REDIS_REPLY_STRING && message->type == REDIS_REPLY_STRING) {
        connection->events->on_message(connection,
                                       (struct span){channel->str, (size_t)channel->len},
                                       (struct span){message->str, (size_t)message->len});
    }
}

static void hand_on_answer(struct redis_connection *connection, const redisReply *reply)
{
    struct redis_pending pending = redis_connection_pending_pop(connection);
    struct redis_answer answer;

    connection->answered++;
    redis_answer_init(&answer, reply);
    pending.on_answer(pending.context, &answer);
    if (answer.kind != REDIS_VALUE && !connection->closing && connection->events->on_refused) {
        connection->events->on_refused(connection, &answer);
    }
}

static void redis_connection_take_reply(struct redis_connection *connection,
                                        const redisReply *reply)
{
    if (is_push(connection, reply, "smessage") || is_push(connection, reply, "pmessage")) {
        hand_on_message(connection, reply);
        return;
    }
    /* Redis ends a subscription of its own accord when the channel's slot moves away. */
    if (is_push(connection, reply, "sunsubscribe") &&
        (connection->pending_count == 0 ||
         !connection->pending[connection->pending_head].unsubscribes)) {
        redis_connection_fail(connection, "Redis ended a subscription");
        return;
    }
    if (connection->pending_count == 0) {
        const char *text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_ERROR ||
                                   reply->type == REDIS_REPLY_STATUS
                               ? reply->str
                               : "";
        char why[160];

        snprintf(why, sizeof(why), "Redis said, unasked: %s", text);
        redis_connection_fail(connection, why);
        return;
    }
    hand_on_answer(connection, reply);
}

static void redis_connection_on_readable(struct stream *stream)
{
    struct redis_connection *connection = CONTAINER_OF(stream, struct redis_connection, stream);
    uint8_t *data;
    ssize_t n = stream_read(stream, STREAM_READ_MAX, &data);

    if (n < 0) {
        redis_connection_fail_with(connection, "connection lost", (int)n);
        return;
    }
    if (n > 0 && redisReaderFeed(connection->reader, (char *)data, (size_t)n) != REDIS_OK) {
        redis_connection_fail(connection, "out of memory");
        return;
    }
    while (!connection->failed && !connection->closing) {
        void *reply = NULL;

        if (redisReaderGetReply(connection->reader, &reply) != REDIS_OK) {
            redis_connection_fail(connection, connection->reader->errstr);
            return;
        }
        if (!reply) {
            return;
        }
        redis_connection_take_reply(connection, reply);
        freeReplyObject(reply);
    }
}

void redis_connection_pause(struct redis_connection *connection, bool paused)
{
    if (connection->stream_is_open && !connection->closing) {
        stream_want_read(&connection->stream, !paused);
    }
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

static void redis_connection_on_authenticated(void *context, const struct redis_answer *answer)
{
    struct redis_connection *connection = context;
    char why[160];

    if (answer->kind == REDIS_VALUE) {
        connection->events->on_open(connection);
    } else if (answer->kind != REDIS_LOST) {
        snprintf(why, sizeof(why), "%.*s", (int)answer->error.len, answer->error.at);
        redis_connection_fail(connection, why);
    }
}

static void redis_connection_on_connected(struct stream *stream, int status)
{
    struct redis_connection *connection = CONTAINER_OF(stream, struct redis_connection, stream);
    const struct redis_url *server = connection->server;
    struct span argv[3] = {SPAN_OF("AUTH")};
    int argc = 1;

    if (status < 0 && connection->next_address) {
        stream_close(stream); /* redis_connection_on_stream_closed() goes on to the next address */
        return;
    }
    if (status < 0) {
        redis_connection_fail_with(connection, "cannot connect", status);
        return;
    }
    connection->next_address = NULL;
    stream_want_read(stream, true);
    if (!server->password) {
        connection->events->on_open(connection);
        return;
    }
    if (server->user) {
        argv[argc++] = SPAN_OF(server->user);
    }
    argv[argc++] = SPAN_OF(server->password);
    if (redis_connection_send(connection, redis_connection_on_authenticated, connection, argc,
                              argv) < 0) {
        redis_connection_fail(connection, "out of memory");
    }
}

static void redis_connection_handle_closed(struct redis_connection *connection)
{
    assert(connection->open_handles > 0);
    if (--connection->open_handles > 0) {
        return;
    }
    uv_freeaddrinfo(connection->addresses);
    redisReaderFree(connection->reader);
    text_deinit(&connection->out);
    mem_free(connection->pending);
    connection->events->on_closed(connection);
}

static void redis_connection_connect_to_next(struct redis_connection *connection);

static void redis_connection_on_stream_closed(struct stream *stream)
{
    struct redis_connection *connection = CONTAINER_OF(stream, struct redis_connection, stream);

    connection->stream_is_open = false;
    if (!connection->closing && connection->next_address) {
        redis_connection_connect_to_next(connection);
    }
    redis_connection_handle_closed(connection);
}

static const struct stream_events stream_events = {
    .on_connected = redis_connection_on_connected,
    .on_readable = redis_connection_on_readable,
    .on_writable = redis_connection_on_writable,
    .on_closed = redis_connection_on_stream_closed,
};

static int redis_connection_connect_to(struct redis_connection *connection,
                                       const struct sockaddr *address, socklen_t len)
{
    int rc = stream_connect(&connection->stream, connection->turn_end.loop, address, len,
                            &stream_events);

    if (rc == 0) {
        connection->stream_is_open = true;
        connection->open_handles++;
    }
    return rc;
}

/* A name may stand for several addresses, and the server listen on one of them. */
static void redis_connection_connect_to_next(struct redis_connection *connection)
{
    int rc = UV_EAI_NONAME;

    while (connection->next_address) {
        const struct addrinfo *address = connection->next_address;

        connection->next_address = address->ai_next;
        rc = redis_connection_connect_to(connection, address->ai_addr, address->ai_addrlen);
        if (rc == 0) {
            return;
        }
    }
    redis_connection_fail_with(connection, "cannot connect", rc);
}

static void redis_connection_on_looked_up(uv_getaddrinfo_t *lookup, int status,
                                          struct addrinfo *addresses)
{
    struct redis_connection *connection = CONTAINER_OF(lookup, struct redis_connection, lookup);

    connection->addresses = connection->next_address = addresses;
    if (status < 0) {
        redis_connection_fail_with(connection, "cannot look up the server's address", status);
    } else if (!connection->closing) {
        redis_connection_connect_to_next(connection);
    }
    redis_connection_handle_closed(connection);
}

static int redis_connection_connect_by_name(struct redis_connection *connection)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[8];
    int rc;

    snprintf(port, sizeof(port), "%u", (unsigned)connection->server->port);
    rc = uv_getaddrinfo(connection->turn_end.loop, &connection->lookup,
                        redis_connection_on_looked_up, connection->server->host, port, &hints);
    if (rc == 0) {
        connection->open_handles++;
    }
    return rc;
}

static int redis_connection_connect_by_path(struct redis_connection *connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(connection->server->path) >= sizeof(address.sun_path)) {
        return UV_ENAMETOOLONG;
    }
    strcpy(address.sun_path, connection->server->path);
    return redis_connection_connect_to(connection, (struct sockaddr *)&address, sizeof(address));
}

static void redis_connection_on_turn_end_closed(uv_handle_t *handle)
{
    redis_connection_handle_closed(CONTAINER_OF(handle, struct redis_connection, turn_end));
}

int redis_connection_open(struct redis_connection *connection, uv_loop_t *loop,
                          const struct redis_url *server,
                          const struct redis_connection_events *events)
{
    int rc;

    assert(server->kind != REDIS_URL_NONE);
    memset(connection, 0, sizeof(*connection));
    connection->reader = redisReaderCreate();
    if (!connection->reader) {
        return -ENOMEM;
    }
    connection->events = events;
    connection->server = server;
    (void)uv_prepare_init(loop, &connection->turn_end); /* cannot fail */
    connection->open_handles = 1;
    rc = server->kind == REDIS_URL_UNIX ? redis_connection_connect_by_path(connection)
                                        : redis_connection_connect_by_name(connection);
    if (rc < 0) {
        redis_connection_fail_with(connection, "cannot connect", rc);
    }
    return 0;
}

void redis_connection_close(struct redis_connection *connection)
{
    if (connection->closing) {
        return;
    }
    connection->closing = true;
    uv_close((uv_handle_t *)&connection->turn_end, redis_connection_on_turn_end_closed);
    if (connection->stream_is_open) {
        stream_close(&connection->stream);
    } else {
        (void)uv_cancel((uv_req_t *)&connection->lookup);
    }
    while (connection->pending_count > 0) {
        struct redis_pending pending = redis_connection_pending_pop(connection);
        struct redis_answer lost;

        redis_answer_init(&lost, NULL);
        pending.on_answer(pending.context, &lost);
    }
}
