#include "broker/session/sessions.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/map.h"
#include "common/mem.h"

#define MODULE "sessions"

/* How many connections an address has; IPv4 and IPv6 alike. */
struct address {
    uint32_t connections;
    uint8_t len;
    uint8_t bytes[16];
};

struct sessions {
    const struct front *front;
    const struct sessions_events *events;
    void *owner;
    struct session_settings settings;
    struct list all;
    struct list flush; /* those with something to write */
    struct map addresses;
    uint32_t count, handshakes;
    bool closing;
};

/* ── Addresses ───────────────────────────────────────────────────────────────────────────────── */

/* A client with a /64 of IPv6 addresses is one client; and an IPv4 address may come mapped. */
static struct address address_of(const struct sockaddr *peer)
{
    struct address address = {.connections = 0};

    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *ip4 = (const struct sockaddr_in *)(const void *)peer;

        address.len = 4;
        memcpy(address.bytes, &ip4->sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        const struct in6_addr *ip6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        const bool mapped = IN6_IS_ADDR_V4MAPPED(ip6);

        address.len = mapped ? 4 : 8;
        memcpy(address.bytes, ip6->s6_addr + (mapped ? 12 : 0), address.len);
    }
    return address;
}

/* One more connection of the peer's address; NULL when out of memory. */
static struct address *address_enter(struct sessions *sessions, const struct sockaddr *peer)
{
    struct address key = address_of(peer);
    struct address *address = map_get(&sessions->addresses, key.bytes, key.len);

    if (!address) {
        address = mem_alloc(sizeof(*address));
        if (!address) {
            return NULL;
        }
        *address = key;
        if (map_add(&sessions->addresses, address->bytes, address->len, address) < 0) {
            mem_free(address);
            return NULL;
        }
    }
    address->connections++;
    return address;
}

static void address_leave(struct sessions *sessions, struct address *address)
{
    if (--address->connections == 0) {
        map_remove(&sessions->addresses, address->bytes, address->len);
        mem_free(address);
    }
}

/* ── A session's events ──────────────────────────────────────────────────────────────────────── */

static struct sessions *sessions_of(struct session *session)
{
    return CONTAINER_OF(session->settings, struct sessions, settings);
}

static void on_handshake_over(struct session *session)
{
    struct sessions *sessions = sessions_of(session);

    metric_sub(sessions->front->metrics, METRIC_HANDSHAKES_IN_FLIGHT, 1);
    if (sessions->handshakes-- == sessions->front->config->max_handshakes) {
        sessions->events->on_room(sessions->owner);
    }
}

static void on_flush_due(struct session *session)
{
    list_append(&sessions_of(session)->flush, &session->flush);
}

static void on_closed(struct session *session)
{
    struct sessions *sessions = sessions_of(session);

    list_remove(&session->link);
    list_remove(&session->flush);
    address_leave(sessions, session->address);
    mem_free(session);
    sessions->count--;
    metric_sub(sessions->front->metrics, METRIC_CONNECTIONS, 1);
    sessions->events->on_room(sessions->owner);
    if (sessions->closing && sessions->count == 0) {
        sessions->events->on_empty(sessions->owner);
    }
}

static const struct session_events session_events = {
    .on_handshake_over = on_handshake_over,
    .on_flush_due = on_flush_due,
    .on_closed = on_closed,
};

/* ── All of them ─────────────────────────────────────────────────────────────────────────────── */

struct sessions *sessions_new(const struct front *front, const struct sessions_events *events,
                              void *owner)
{
    struct sessions *sessions = mem_zalloc(1, sizeof(*sessions));

    if (!sessions) {
        return NULL;
    }
    sessions->front = front;
    sessions->events = events;
    sessions->owner = owner;
    session_settings_init(&sessions->settings, front, &session_events);
    list_init(&sessions->all);
    list_init(&sessions->flush);
    map_init(&sessions->addresses);
    return sessions;
}

void sessions_free(struct sessions *sessions)
{
    if (sessions) {
        assert(sessions->count == 0);
        map_deinit(&sessions->addresses);
        mem_free(sessions);
    }
}

bool sessions_have_room(const struct sessions *sessions)
{
    return sessions->handshakes < sessions->front->config->max_handshakes;
}

static enum session_refusal refusal_of(const struct sessions *sessions,
                                       const struct address *address)
{
    const struct config *config = sessions->front->config;

    if (sessions->count >= config->max_connections) {
        return SESSION_OVER_LIMIT;
    }
    if (config->max_connections_per_address > 0 &&
        address->connections > config->max_connections_per_address) {
        return SESSION_OVER_ADDRESS_LIMIT;
    }
    return SESSION_WELCOME;
}

static void count_in(struct sessions *sessions, struct session *session)
{
    list_append(&sessions->all, &session->link);
    sessions->count++;
    sessions->handshakes++;
    metric_add(sessions->front->metrics, METRIC_CONNECTIONS, 1);
    metric_add(sessions->front->metrics, METRIC_CONNECTIONS_ACCEPTED, 1);
    metric_add(sessions->front->metrics, METRIC_HANDSHAKES_IN_FLIGHT, 1);
}

void sessions_accept(struct sessions *sessions, int fd, const struct sockaddr *peer)
{
    struct session *session = mem_alloc(sizeof(*session));
    struct address *address = session ? address_enter(sessions, peer) : NULL;
    int r;

    if (!address) {
        log_event(LOG_ERROR, MODULE, "out of memory, a client was turned away");
        mem_free(session);
        close(fd);
        return;
    }
    list_init(&session->link);
    list_init(&session->flush);
    session->address = address;
    r = session_open(session, fd, &sessions->settings, refusal_of(sessions, address));
    if (r < 0) {
        log_event(LOG_ERROR, MODULE, "a client could not be let in",
                  LOG_TEXT("why", uv_strerror(r)));
        address_leave(sessions, address);
        mem_free(session);
        return;
    }
    count_in(sessions, session);
}

void sessions_flush(struct sessions *sessions)
{
    /* A flush may make its session due again, when it goes on with what waited for room. That ends,
     * since nothing is read meanwhile. */
    while (!list_is_empty(&sessions->flush)) {
        struct session *session = CONTAINER_OF(list_first(&sessions->flush), struct session, flush);

        list_remove(&session->flush);
        session_flush(session);
    }
}

void sessions_close(struct sessions *sessions, enum close_code code)
{
    sessions->closing = true;
    LIST_EACH (link, &sessions->all) {
        session_close(CONTAINER_OF(link, struct session, link), code);
    }
    if (sessions->count == 0) {
        sessions->events->on_empty(sessions->owner);
    }
}
