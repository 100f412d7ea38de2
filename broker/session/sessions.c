#include "broker/session/sessions.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/map.h"
#include "common/mem.h"

#define MODULE "sessions"

/* How many looks a search for an idle session may take. */
#define LOOKS 8

/* How many connections an address has, and how many of them are served; IPv4 and IPv6 alike. */
struct address {
    uint32_t connections, served;
    uint8_t len;
    uint8_t bytes[16];
};

struct sessions {
    const struct front *front;
    const struct sessions_events *events;
    void *owner;
    struct session_settings settings;
    struct list places[SESSION_PLACES]; /* every session is in one of them, the oldest first */
    uint32_t counts[SESSION_PLACES];
    uint32_t count; /* of all */
    struct map addresses;
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

/* ── Places ──────────────────────────────────────────────────────────────────────────────────── */

static uint32_t count_arriving(const struct sessions *sessions)
{
    return sessions->counts[SESSION_SILENT] + sessions->counts[SESSION_BEGUN];
}

static bool is_served(unsigned place)
{
    return place == SESSION_HTTP || place == SESSION_WATCHING || place == SESSION_ENDING;
}

static uint32_t count_served(const struct sessions *sessions)
{
    return sessions->counts[SESSION_HTTP] + sessions->counts[SESSION_WATCHING] +
           sessions->counts[SESSION_ENDING];
}

static void enter(struct sessions *sessions, struct session *session, enum session_place place)
{
    session->place = (uint8_t)place;
    list_append(&sessions->places[place], &session->link);
    sessions->counts[place]++;
    ((struct address *)session->address)->served += is_served(place);
    metric_set(sessions->front->metrics, METRIC_HANDSHAKES_IN_FLIGHT, count_arriving(sessions));
}

static void sessions_leave(struct sessions *sessions, struct session *session)
{
    list_remove(&session->link);
    sessions->counts[session->place]--;
    ((struct address *)session->address)->served -= is_served(session->place);
    metric_set(sessions->front->metrics, METRIC_HANDSHAKES_IN_FLIGHT, count_arriving(sessions));
}

static void move(struct sessions *sessions, struct session *session, enum session_place place)
{
    sessions_leave(sessions, session);
    enter(sessions, session, place);
}

static struct session *sessions_oldest(const struct sessions *sessions, enum session_place place)
{
    struct list *link = list_first(&sessions->places[place]);

    return link ? CONTAINER_OF(link, struct session, link) : NULL;
}

static void cut_off(struct sessions *sessions, struct session *session)
{
    move(sessions, session, SESSION_GONE);
    session_abort(session);
}

/* Of those whose first request isn't complete, the one that is to go. */
static struct session *arriving_to_go(const struct sessions *sessions)
{
    return sessions_oldest(sessions,
                           sessions->counts[SESSION_SILENT] >= sessions->counts[SESSION_BEGUN]
                               ? SESSION_SILENT
                               : SESSION_BEGUN);
}

/* Of those who are served, one that misses nothing; or NULL. A few looks are enough: who is idle
 * stays near the front, and the others are put behind. */
static struct session *served_to_go(struct sessions *sessions)
{
    struct session *session = sessions_oldest(sessions, SESSION_ENDING);

    for (int i = 0; i < LOOKS && !session && sessions->counts[SESSION_HTTP] > 0; i++) {
        struct session *next = sessions_oldest(sessions, SESSION_HTTP);

        if (session_is_idle(next)) {
            session = next;
        } else {
            move(sessions, next, SESSION_HTTP);
        }
    }
    return session;
}

/* ── A session's events ──────────────────────────────────────────────────────────────────────── */

static struct sessions *sessions_of(struct session *session)
{
    return CONTAINER_OF(session->channel.settings, struct sessions, settings.channel);
}

/* What comes before the first request on a connection of `by_tls`. */
static void begin_tls(struct sessions *sessions, struct session *session)
{
    if (session->by_tls && session_begin_tls(session) < 0) {
        cut_off(sessions, session);
    }
}

/* The connection is this address' from here on. 0 or -ENOMEM. */
static int readdress(struct sessions *sessions, struct session *session,
                     const struct proxy_header *header)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6};

    memcpy(&ip4.sin_addr, header->ip, 4);
    memcpy(&ip6.sin6_addr, header->ip, 16);
    struct address *address = address_enter(
        sessions, header->ip_len == 4 ? (struct sockaddr *)&ip4 : (struct sockaddr *)&ip6);
    if (!address) {
        return -ENOMEM;
    }
    address_leave(sessions, session->address);
    session->address = address;
    return 0;
}

static void sessions_on_proxy_header(struct session *session, const struct proxy_header *header)
{
    struct sessions *sessions = sessions_of(session);

    if (!header) {
        metric_add(sessions->front->metrics, METRIC_REFUSED_PROXY_HEADER, 1);
        log_event(LOG_WARN, MODULE,
                  "a connection of proxy-protocol-from has no PROXY header, and is closed");
        cut_off(sessions, session);
    } else if (header->ip_len > 0 && readdress(sessions, session, header) < 0) {
        cut_off(sessions, session);
    } else {
        begin_tls(sessions, session);
    }
}

static void sessions_on_begun(struct session *session)
{
    move(sessions_of(session), session, SESSION_BEGUN);
}

static enum session_admission sessions_refuse(struct session *session, enum session_admission why)
{
    struct sessions *sessions = sessions_of(session);

    move(sessions, session, SESSION_REFUSED);
    if (sessions->counts[SESSION_REFUSED] > SESSIONS_REFUSED_MAX) {
        cut_off(sessions, sessions_oldest(sessions, SESSION_REFUSED));
    }
    return why;
}

static enum session_admission sessions_on_arrival(struct session *session)
{
    struct sessions *sessions = sessions_of(session);
    const struct config *config = sessions->front->config;
    const struct address *address = session->address;

    if (config->max_connections_per_address > 0 &&
        address->served >= config->max_connections_per_address) {
        return sessions_refuse(session, SESSION_OVER_ADDRESS_LIMIT);
    }
    if (count_served(sessions) >= config->max_connections) {
        struct session *other = served_to_go(sessions);

        if (!other) {
            return sessions_refuse(session, SESSION_OVER_LIMIT);
        }
        cut_off(sessions, other);
    }
    move(sessions, session, SESSION_HTTP);
    return SESSION_WELCOME;
}

/* Behind those that were idle for longer. */
static void sessions_on_request(struct session *session)
{
    if (session->place == SESSION_HTTP) {
        move(sessions_of(session), session, SESSION_HTTP);
    }
}

static void sessions_on_upgrade(struct session *session)
{
    move(sessions_of(session), session, SESSION_WATCHING);
}

static void sessions_on_ending(struct session *session)
{
    if (session->place == SESSION_HTTP || session->place == SESSION_WATCHING) {
        move(sessions_of(session), session, SESSION_ENDING);
    } else if (session->place == SESSION_SILENT || session->place == SESSION_BEGUN) {
        (void)sessions_refuse(session, SESSION_WELCOME);
    }
}

static void sessions_on_closed(struct session *session)
{
    struct sessions *sessions = sessions_of(session);

    sessions_leave(sessions, session);
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
    .on_proxy_header = sessions_on_proxy_header,
    .on_begun = sessions_on_begun,
    .on_arrival = sessions_on_arrival,
    .on_request = sessions_on_request,
    .on_upgrade = sessions_on_upgrade,
    .on_ending = sessions_on_ending,
    .on_closed = sessions_on_closed,
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
    for (size_t i = 0; i < SESSION_PLACES; i++) {
        list_init(&sessions->places[i]);
    }
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

static void count_in(struct sessions *sessions, struct session *session)
{
    sessions->count++;
    metric_add(sessions->front->metrics, METRIC_CONNECTIONS, 1);
    metric_add(sessions->front->metrics, METRIC_CONNECTIONS_ACCEPTED, 1);
    enter(sessions, session, SESSION_SILENT);
    if (count_arriving(sessions) > sessions->front->config->max_handshakes) {
        metric_add(sessions->front->metrics, METRIC_REFUSED_HANDSHAKES, 1);
        cut_off(sessions, arriving_to_go(sessions));
    }
}

void sessions_accept(struct sessions *sessions, int fd, const struct sockaddr *peer, bool tls)
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
    session->address = address;
    r = session_open(session, fd, &sessions->settings);
    if (r < 0) {
        log_event(LOG_ERROR, MODULE, "a client could not be let in",
                  LOG_TEXT("why", uv_strerror(r)));
        address_leave(sessions, address);
        mem_free(session);
        return;
    }
    count_in(sessions, session);
    session->by_tls = tls;
    if (session->place == SESSION_GONE) {
        return;
    }
    if (!networks_have(&sessions->front->config->proxy_protocol_from, peer)) {
        begin_tls(sessions, session);
    } else if (session_begin_proxy(session) < 0) {
        cut_off(sessions, session);
    }
}

/* on_empty comes now, if there is nobody: unless it has come before. */
static void begin_closing(struct sessions *sessions)
{
    const bool began = !sessions->closing;

    sessions->closing = true;
    if (began && sessions->count == 0) {
        sessions->events->on_empty(sessions->owner);
    }
}

void sessions_close(struct sessions *sessions, enum close_code code)
{
    begin_closing(sessions);
    /* From the end, since what is closed moves on: each is told once. */
    for (size_t i = SESSION_GONE; i-- > 0;) {
        LIST_EACH (link, &sessions->places[i]) {
            session_close(CONTAINER_OF(link, struct session, link), code);
        }
    }
}

/* The turn of the one behind `before` others, at random within its part of the time. */
static uint32_t turn_within(uint32_t over_ms, uint32_t before, uint32_t count)
{
    return (uint32_t)((uint64_t)over_ms * before / count) + arc4random_uniform(over_ms / count + 1);
}

void sessions_drain(struct sessions *sessions, uint32_t over_ms)
{
    const uint32_t watching = sessions->counts[SESSION_WATCHING];
    uint32_t told = 0;

    begin_closing(sessions);
    for (size_t i = SESSION_GONE; i-- > 0;) {
        LIST_EACH (link, &sessions->places[i]) {
            struct session *session = CONTAINER_OF(link, struct session, link);
            const bool has_turn = i == SESSION_WATCHING;

            session_leave(session, has_turn ? turn_within(over_ms, told, watching) : 0);
            told += has_turn;
        }
    }
}
