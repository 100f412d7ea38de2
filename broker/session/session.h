/* One client, from accept to close: first HTTP requests, then perhaps WebSocket.
 *
 * Receives   an accepted socket; the events of its channel and of what it speaks
 * Hands on   each request to where its path says: watcher.c (upgrade), poller.c, web_page.c, or an
 *            error
 * Owns       the channel with HTTP or WebSocket on it, the watcher or the poll, the client's
 *            timer
 *
 * Paths: /ws/progress and /ws/progress/{taskId} are WebSocket, /api/progress/{taskId} is the HTTP
 * API; all others are files, if web-root is set.
 */
#ifndef PROGRESSD_BROKER_SESSION_SESSION_H
#define PROGRESSD_BROKER_SESSION_SESSION_H

#include "broker/net/proxy_stream.h"
#include "broker/session/front.h"
#include "broker/session/poller.h"
#include "broker/session/watcher.h"

struct session;

/* Whether a session is served. One that is not answers its first request with 503. */
enum session_admission {
    SESSION_WELCOME,
    SESSION_OVER_LIMIT,         /* the worker has max-connections */
    SESSION_OVER_ADDRESS_LIMIT, /* the address has max-connections-per-address */
};

struct session_events {
    /* After session_begin_proxy(): the header, or NULL when there is none, and the session can only
     * be cut off. */
    void (*on_proxy_header)(struct session *session, const struct proxy_header *header);
    /* The first request begins to come. */
    void (*on_begun)(struct session *session);
    /* The first request is complete: whether the session is served. Comes at most once; the session
     * leaves SESSION_SILENT or SESSION_BEGUN. */
    enum session_admission (*on_arrival)(struct session *session);
    /* A further request is complete. */
    void (*on_request)(struct session *session);
    /* The session is a WebSocket from here on. */
    void (*on_upgrade)(struct session *session);
    /* The session is served no further. It may come twice. */
    void (*on_ending)(struct session *session);
    /* The session is over, and its memory may go. */
    void (*on_closed)(struct session *session);
};

/* How far a session is, as its owner sees it, who keeps a list of each. */
enum session_place {
    SESSION_SILENT,   /* nothing has come */
    SESSION_BEGUN,    /* the first request isn't complete */
    SESSION_REFUSED,  /* it ends without having been served */
    SESSION_HTTP,     /* served */
    SESSION_WATCHING, /* served, as a WebSocket */
    SESSION_ENDING,   /* was served */
    SESSION_GONE,     /* cut off; on_closed is still to come */
    SESSION_PLACES
};

/* What all sessions share. Borrowed. */
struct session_settings {
    const struct front *front;
    const struct session_events *events;
    struct channel_settings channel; /* set by session_settings_init() */
};

struct session {
    union { /* one after the other, on the channel that each begins with */
        struct channel channel;
        struct http_connection http; /* until is_watching */
        struct ws_connection ws;     /* from then on */
    };
    struct timer timer;
    struct list link; /* for the owner, who initialises it */
    void *address;    /* for the owner */
    union {
        struct watcher watcher; /* when is_watching */
        struct poll *poll;      /* when not; NULL: none under way */
    };
    uint8_t place; /* enum session_place; for the owner */
    bool by_tls;   /* came to an address for TLS; for the owner */
    bool is_watching;
};

void session_settings_init(struct session_settings *settings, const struct front *front,
                           const struct session_events *events);

/* Takes over an accepted socket, also on failure. 0, or a UV_E* when no event will come. */
int session_open(struct session *session, int fd,
                 const struct session_settings *settings) MUST_CHECK;

/* Whether an HTTP client has been answered, and asks nothing now. */
bool session_is_idle(const struct session *session);

/* Begins to close, within shutdown-timeout: a WebSocket with that code. A request under way is
 * answered first; who has just come has a second to send one. */
void session_close(struct session *session, enum close_code code);

/* As session_close(), but for a WebSocket, which is told to leave and served until `after_ms` are
 * over, and closed with 1012 then. */
void session_leave(struct session *session, uint32_t after_ms);

/* The first bytes are a load balancer's, see proxy_stream.h; on_proxy_header comes. 0, or
 * -ENOMEM. */
int session_begin_proxy(struct session *session) MUST_CHECK;

/* The client speaks TLS from the first byte on. 0, or -ENOMEM. */
int session_begin_tls(struct session *session) MUST_CHECK;

/* Cuts the session off, without a word. */
void session_abort(struct session *session);

#endif
