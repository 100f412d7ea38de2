/* The client protocol: what a client says, and what is said to it alone.
 *
 * Receives   a client's text message
 * Hands on   its checked members, or an error code with the member at fault; the texts of
 *            subscribed, token_expiring, unsubscribed, reconnect, error and pong
 * Owns       nothing; names and codes come from messages.json by way of message_tables.h
 *
 * Messages of a task are not made here but in Redis (progress.lua), and passed on untouched:
 * see task_message.h.
 */
#ifndef PROGRESSD_PROTO_MESSAGE_H
#define PROGRESSD_PROTO_MESSAGE_H

#include "common/text.h"
#include "proto/json.h"
#include "proto/message_tables.h" /* generated: enum client_type, enum error_code, close codes */
#include "proto/rev.h"
#include "proto/task_key.h"

/* A task that a client's message is about. */
struct client_task {
    char task_id[TASK_ID_MAX + 1]; /* decoded, valid; "" in a ping */
    bool has_rev;
    struct rev rev; /* what the client has of the task */
};

/* A client's message. Which members are set depends on its type. It points into the text. */
struct client_message {
    enum client_type type;            /* CLIENT_SUBSCRIBE, _UNSUBSCRIBE, _GET_STATE, _PING */
    struct client_task task;          /* when the message has no taskIds */
    struct json_value task_ids, revs; /* arrays of one length; raw.at is NULL when absent */
    uint32_t task_count;              /* tasks that the message names; 0 in a ping */
    struct span token;                /* the JSON string without its quotes, and without white space
                                         at its end; other escapes, which a JWT doesn't need, are
                                         refused; {NULL, 0} when absent */
    struct span timestamp;            /* of a ping: the raw number; {NULL, 0} when absent */
};

/* What is wrong with a client's message. */
struct client_message_error {
    enum error_code code;          /* ERROR_INVALID_MESSAGE or ERROR_INVALID_TASK_ID */
    char task_id[TASK_ID_MAX + 1]; /* the one the message names, "" if it isn't valid; the default
                                      when it names none */
    char text[128];                /* names the member at fault; no member's value is repeated */
};

/* Longest timestamp, in bytes of the message. */
#define PING_TIMESTAMP_MAX 32

enum message_outcome { MESSAGE_INVALID = 1, MESSAGE_END };

/* Reads a client's message (valid UTF-8). A `subscribe` and the like without `taskId` and `taskIds`
 * take `default_task_id` (that of the URL; NULL: none). Members not in the protocol are ignored;
 * members of it that come twice are refused. 0, or MESSAGE_INVALID with *ret_error. */
int client_message_parse(struct span text, const char *default_task_id,
                         struct client_message *ret_message,
                         struct client_message_error *ret_error) MUST_CHECK;

/* Where a walk over a message's tasks is. All zeros is its beginning. */
struct client_task_walk {
    size_t id_position, rev_position;
    uint32_t count; /* tasks passed */
};

/* The next task that the message names. 0; MESSAGE_END; or MESSAGE_INVALID with *ret_error, about
 * this task alone: the walk goes on behind it. */
int client_message_next_task(const struct client_message *message, struct client_task_walk *walk,
                             struct client_task *ret_task,
                             struct client_message_error *ret_error) MUST_CHECK;

/* {"type":"subscribed","taskId":…,"payload":{"rev":…,"stages":[…],"expiresAt":…}}
 * `rev` NULL: the task has no state yet. `stages`: a JSON array. `expires_at_ms`:
 * milliseconds since 1970 (from 0), written as ISO 8601. */
void message_subscribed(struct text *text, const char *task_id, const struct rev *rev,
                        struct span stages, int64_t expires_at_ms);

/* {"type":"token_expiring","taskId":…,"payload":{}} */
void message_token_expiring(struct text *text, const char *task_id);

/* {"type":"unsubscribed","taskId":…,"payload":{"reason":…}} */
void message_unsubscribed(struct text *text, const char *task_id, const char *reason);

/* {"type":"reconnect","payload":{"afterMs":…}}: it is about the connection, and names no task. */
void message_reconnect(struct text *text, uint32_t after_ms);

/* {"type":"error","taskId":…,"payload":{"code","message","retryable","scope":"request"}} */
void message_error(struct text *text, const char *task_id, enum error_code code,
                   const char *message);

/* {"type":"pong","timestamp":…}; without the member when the ping had none. */
void message_pong(struct text *text, struct span timestamp);

#endif
