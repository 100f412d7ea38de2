/* All clients of a worker: who is let in, and what happens to all of them at once.
 *
 * Receives   accepted sockets, from listener.c; the turn's end, from worker.c
 * Hands on   each to session_open(); those with something to write to session_flush()
 * Owns       the sessions, and the count of connections of each address
 *
 * Limits. Over max-connections, and over an address' share of them, a client is let in only to be
 * told 503 with a Retry-After. While max-handshakes clients have not finished their first request
 * nobody is accepted, so that the loop serves those who are in.
 */
#ifndef PROGRESSD_BROKER_SESSION_SESSIONS_H
#define PROGRESSD_BROKER_SESSION_SESSIONS_H

#include <sys/socket.h>

#include "broker/session/session.h"

struct sessions;

struct sessions_events {
    /* There is room for handshakes again, after sessions_have_room() was false; or a descriptor
     * has become free. */
    void (*on_room)(void *owner);
    /* The last session has ended, after sessions_close(). */
    void (*on_empty)(void *owner);
};

/* NULL when out of memory. */
struct sessions *sessions_new(const struct front *front, const struct sessions_events *events,
                              void *owner) MUST_CHECK;

/* There must be none left. Accepts NULL. */
void sessions_free(struct sessions *sessions);

bool sessions_have_room(const struct sessions *sessions);

/* Takes over an accepted socket of `peer`. What goes wrong closes it, and nothing else. */
void sessions_accept(struct sessions *sessions, int fd, const struct sockaddr *peer);

/* Writes what this loop turn produced. */
void sessions_flush(struct sessions *sessions);

/* Sends everybody away. on_empty comes once, perhaps before this returns. */
void sessions_close(struct sessions *sessions, enum close_code code);

#endif
