/* One connection to a Redis server: commands out, replies in, by RESP2.
 *
 * Receives   the server's address, and commands
 * Hands on   each command's answer to its callback, in order; what is published to on_message
 * Owns       the stream, hiredis' reader, commands not written yet, callbacks not called yet
 *
 * hiredis 0.14's asynchronous interface knows neither TLS nor sharded pub/sub, so only its reader
 * and its command formatting are used, over the same stream that clients have.
 *
 * Commands of one loop turn are written together at its end.
 *
 * Life: redis_connection_open() … on_open … on_failed at most once, after which the owner calls
 * redis_connection_close(); on_closed comes last, once, also when it was closed earlier.
 */
#ifndef PROGRESSD_BROKER_REDIS_REDIS_CONNECTION_H
#define PROGRESSD_BROKER_REDIS_REDIS_CONNECTION_H

#include "broker/config/config.h"
#include "broker/net/stream.h"
#include "broker/redis/redis_answer.h"

#define REDIS_ARGUMENTS_MAX 20

struct redis_connection;

struct redis_connection_events {
    /* Connected, and authenticated if there is a password: commands may be sent. */
    void (*on_open)(struct redis_connection *connection);
    /* Something was published to a channel subscribed here; spans are borrowed. May be NULL when
     * nothing is ever subscribed. */
    void (*on_message)(struct redis_connection *connection, struct span channel,
                       struct span message);
    /* A command was refused; comes after its own callback. May be NULL. */
    void (*on_refused)(struct redis_connection *connection, const struct redis_answer *answer);
    /* Nothing more will come; `why` says it for the log. */
    void (*on_failed)(struct redis_connection *connection, const char *why);
    void (*on_closed)(struct redis_connection *connection);
};

struct redis_connection {
    struct stream stream;
    uv_getaddrinfo_t lookup;
    struct addrinfo *addresses, *next_address; /* of the server's name, and the one to try next */
    uv_prepare_t turn_end;                     /* runs while there is something to write */
    const struct redis_connection_events *events;
    const struct redis_url *server;
    struct redisReader *reader;
    struct text out; /* commands that are still to be written, from out_at on */
    size_t out_at;
    uint64_t sent, answered;       /* commands, since it was opened */
    struct redis_pending *pending; /* a ring of callbacks */
    uint32_t pending_head, pending_count, pending_capacity;
    uint8_t open_handles; /* what on_closed waits for */
    bool subscribes;      /* a command that subscribes was sent: messages may come */
    bool stream_is_open, failed, closing;
};

/* Begins to connect; `server` must outlive the connection. 0: on_open or on_failed will come,
 * the latter perhaps before this returns; or -ENOMEM with nothing opened. */
int redis_connection_open(struct redis_connection *connection, uv_loop_t *loop,
                          const struct redis_url *server,
                          const struct redis_connection_events *events) MUST_CHECK;

/* Queues a command of at most REDIS_ARGUMENTS_MAX arguments, its name included. 0: `on_answer` will
 * be called, from redis_connection_close() at the latest; or -ENOMEM, when it won't. */
int redis_connection_send(struct redis_connection *connection, redis_answer_fn on_answer,
                          void *context, int argc, const struct span *argv) MUST_CHECK;

/* Gives the connection a name, which Redis shows in CLIENT LIST: progressd:<pid>:<role>. Whether
 * Redis takes it doesn't matter. 0 or -ENOMEM. */
int redis_connection_set_name(struct redis_connection *connection, const char *role) MUST_CHECK;

/* Stops reading, or goes on: for who can't take more messages now. */
void redis_connection_pause(struct redis_connection *connection, bool paused);

void redis_connection_close(struct redis_connection *connection);

#endif
