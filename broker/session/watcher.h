/* A client that watches over WebSocket: what it watches, what it may say, when it is closed.
 *
 * Receives   the client's messages and its connection's readiness
 * Hands on   subscriptions to hub_subscribe() (hub.c); what is for this client alone to
 *            ws_connection_send(); frames of tasks, when they are collected (channel.c)
 * Owns       its subscriptions and their tokens
 *
 * What it is told alone (pong, errors, unsubscribed) is queued by the connection. A task's messages
 * are not, nor is `subscribed`: a subscription that has news, or owes an answer, is put in
 * `pending`, and at the turn's end its frames are collected: the answer, and then what comes from
 * where the subscription is, in the order of revs.
 *
 * While a token is checked nothing else is read from the client, and the message waits with it: so
 * what one client says is answered in its order.
 */
#ifndef PROGRESSD_BROKER_SESSION_WATCHER_H
#define PROGRESSD_BROKER_SESSION_WATCHER_H

#include "broker/net/ws_connection.h"
#include "broker/session/allowance.h"
#include "broker/session/front.h"
#include "common/map.h"

struct watcher {
    const struct front *front;
    struct ws_connection *ws;
    struct timer *timer;   /* whose on_due calls watcher_tick() */
    struct list watchings; /* its subscriptions */
    struct list pending;   /* those of them that have news */
    char *url_task_id;     /* NULL: the URL names none */
    struct map by_id;      /* the same, once there are many; else empty */
    struct allowance allowance;
    struct auth_check check;
    struct bytes *checked;         /* the message whose token is being checked; NULL: none */
    struct unfinished *unfinished; /* the message whose answers wait for room; NULL: none */
    uint64_t resume_ms;            /* when it may say more; 0: now */
    uint64_t idle_ms;              /* when the last subscription ended, or the watcher began */
    uint64_t ping_ms;              /* when the next ping is due */
    uint64_t leave_ms; /* when it is too old, or once is_leaving when it is closed; 0: never */
    uint32_t count;    /* of subscriptions */
    bool is_leaving;   /* was told `reconnect` */
};

/* Begins, after http_connection_upgrade(). `url_task_id` (valid) is copied; NULL: the URL named
 * none. `ws` and `timer` must outlive the watcher. 0 or -ENOMEM. */
int watcher_begin(struct watcher *watcher, const struct front *front, struct ws_connection *ws,
                  struct timer *timer, const char *url_task_id) MUST_CHECK;

/* Ends all subscriptions, and frees what the watcher has. */
void watcher_end(struct watcher *watcher);

/* The client's on_message, on_collect and on_taken. */
void watcher_message(struct watcher *watcher, enum ws_opcode opcode, const uint8_t *payload,
                     uint32_t len);
size_t watcher_collect(struct watcher *watcher, struct channel_frame *frames, size_t max);
void watcher_taken(struct watcher *watcher, const struct channel_frame *frame);

/* Tells the client `reconnect`, and closes it (1012) after that time; it is served until then. When
 * it leaves already, the earlier time holds. */
void watcher_leave(struct watcher *watcher, uint32_t after_ms);

/* Does what is due by now, and sets the timer anew: pings; listens again to a client that had to
 * wait; tells of tokens that expire soon, and ends subscriptions whose token ran out; sends away
 * who is older than max-connection-age; closes the connection of a client that is silent (4408) or
 * watches nothing (4401). A client that doesn't read is silent too: what it sends isn't read while
 * it doesn't take its answers, pings among them. */
void watcher_tick(struct watcher *watcher);

#endif
