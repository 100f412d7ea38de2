/* One client, from accept to close: first HTTP requests, then perhaps WebSocket.
 *
 * Receives   an accepted socket, from sessions.c; its connection's events
 * Hands on   each request to where its path says: watcher.c (upgrade), poller.c, web_page.c, or an
 *            error
 * Owns       the connection, the watcher or the poll, the client's one timer
 *
 * Paths: /ws/progress and /ws/progress/{taskId} are WebSocket, /api/progress/{taskId} is the HTTP
 * API; all others are files, if web-root is set.
 */
#ifndef PROGRESSD_BROKER_SESSION_SESSION_H
#define PROGRESSD_BROKER_SESSION_SESSION_H

#include "broker/session/front.h"
#include "broker/session/poller.h"
#include "broker/session/watcher.h"

struct session;

/* Why a session that is served no further answers its first request with 503. */
enum session_refusal {
    SESSION_WELCOME,
    SESSION_OVER_LIMIT,         /* the worker has max-connections */
    SESSION_OVER_ADDRESS_LIMIT, /* the address has max-connections-per-address */
};

struct session_events {
    /* The first request is complete, or the session ended before. Comes once. */
    void (*on_handshake_over)(struct session *session);
    /* session_flush() is to be called at the turn's end. */
    void (*on_flush_due)(struct session *session);
    /* The session is over, and its memory may go. */
    void (*on_closed)(struct session *session);
};

/* What all sessions share. Borrowed. */
struct session_settings {
    const struct front *front;
    const struct session_events *events;
    struct connection_settings connection; /* set by session_settings_init() */
};

struct session {
    struct connection connection;
    const struct session_settings *settings;
    struct timer timer;
    struct list link, flush; /* for the owner, who initialises them */
    void *address;           /* for the owner */
    union {
        struct watcher watcher; /* when is_watching */
        struct poll *poll;      /* when not; NULL: none under way */
    };
    uint8_t refusal; /* enum session_refusal */
    bool is_watching, handshake_is_over;
};

void session_settings_init(struct session_settings *settings, const struct front *front,
                           const struct session_events *events);

/* Takes over an accepted socket, also on failure. 0, or a UV_E* when no event will come. */
int session_open(struct session *session, int fd, const struct session_settings *settings,
                 enum session_refusal refusal) MUST_CHECK;

/* Writes what is due; the owner calls it at the end of the turn in which on_flush_due came. */
void session_flush(struct session *session);

/* Begins to close, within shutdown-timeout. */
void session_close(struct session *session, enum close_code code);

#endif
