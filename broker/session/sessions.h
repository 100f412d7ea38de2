/* All clients of a worker: who is let in, and what happens to all of them at once.
 *
 * Receives   accepted sockets
 * Hands on   each to session_open()
 * Owns       the sessions, and the count of connections of each address
 *
 * Limits. Each kind of session has descriptors of its own, so that none can take another's:
 *   max-handshakes   whose first request isn't complete. One more, and the oldest that has said
 *                    nothing is cut off: newcomers are served, whoever else comes and says nothing.
 *                    While more have begun a request than are silent, the oldest of those goes.
 *   max-connections  who is served. One more, and the oldest that is about to end, or has been
 *                    answered and asks nothing, is cut off. Without one the newcomer is told 503
 *                    with a Retry-After; likewise over max-connections-per-address.
 *   SESSIONS_REFUSED_MAX  who was refused, until the refusal is taken. One more, and the oldest is
 *                    cut off.
 */
#ifndef PROGRESSD_BROKER_SESSION_SESSIONS_H
#define PROGRESSD_BROKER_SESSION_SESSIONS_H

#include <sys/socket.h>

#include "broker/session/session.h"

struct sessions;

#define SESSIONS_REFUSED_MAX CONFIG_REFUSED_MAX

struct sessions_events {
    /* A descriptor has become free. */
    void (*on_room)(void *owner);
    /* The last session has ended, after sessions_close() or sessions_drain(). */
    void (*on_empty)(void *owner);
};

/* NULL when out of memory. */
struct sessions *sessions_new(const struct front *front, const struct sessions_events *events,
                              void *owner) MUST_CHECK;

/* There must be none left. Accepts NULL. */
void sessions_free(struct sessions *sessions);

/* Takes over an accepted socket of `peer`, who speaks TLS first if `tls`. What goes wrong closes
 * it, and nothing else. */
void sessions_accept(struct sessions *sessions, int fd, const struct sockaddr *peer, bool tls);

/* Sends everybody away, after the requests under way are answered. on_empty comes once, perhaps
 * before this returns. May follow sessions_drain(). */
void sessions_close(struct sessions *sessions, enum close_code code);

/* The same, but WebSockets go one after the other, evenly over `over_ms`: each is told at once when
 * (`reconnect`), and closed with 1012 then. */
void sessions_drain(struct sessions *sessions, uint32_t over_ms);

#endif
