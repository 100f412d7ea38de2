/* The link to one Redis server: a pair of connections, one subscribed, one for commands.
 *
 * Receives   channels to subscribe to, and commands
 * Hands on   on_message for what is published; each command's reply to its callback
 * Owns       both connections, their health and their coming back
 *
 * Health. Pub/sub tells nothing when it stops working, so the link looks every REDIS_LINK_LOOK_MS:
 *   1. Both connections are to the same server, a master (redis_handshake.h); that is compared at
 *      connecting, with each probe, and each resync-interval. If one connection fails both are
 *      closed.
 *   2. Every command has a deadline: one that was sent REDIS_LINK_TIMEOUT_LOOKS looks ago, on
 *      either connection, must have its reply.
 *   3. After REDIS_LINK_PROBE_LOOKS looks without a message the link publishes a probe to a channel
 *      of its own, which must arrive within REDIS_LINK_TIMEOUT_LOOKS looks.
 *   4. A lost link comes back by itself, after 50 ms at first, doubling to 3 s, with full jitter.
 *      The pause starts at 50 ms again only after a link that held REDIS_LINK_STEADY_LOOKS looks.
 * Deadlines are counted in looks, not in time: a process that stood still for a minute then reads
 * what has come meanwhile, and blames nobody.
 *
 * States
 *   DOWN     waits for its next attempt; the timer is that pause
 *   OPENING  connects, then the handshake, then the first probe: REDIS_LINK_OPEN_TIMEOUT_MS at the
 *            most
 *   UP       can be used; the timer is the next look
 *   FAILING  both connections are closing, and DOWN follows
 *   CLOSING  both connections are closing, for good
 *   CLOSED   about to be freed
 */
#ifndef PROGRESSD_BROKER_REDIS_REDIS_LINK_H
#define PROGRESSD_BROKER_REDIS_REDIS_LINK_H

#include "broker/redis/redis_handshake.h"
#include "common/metrics.h"
#include "common/state.h"
#include "common/timer_wheel.h"

#define REDIS_LINK_OPEN_TIMEOUT_MS 10000
#define REDIS_LINK_LOOK_MS 1000
#define REDIS_LINK_PROBE_LOOKS 5
#define REDIS_LINK_TIMEOUT_LOOKS 5
#define REDIS_LINK_STEADY_LOOKS 10

#define LINK_STATES(X)                                                       \
    X(LINK_DOWN, "down", STATE_TO(LINK_OPENING) | STATE_TO(LINK_CLOSED))     \
    X(LINK_OPENING, "opening",                                               \
      STATE_TO(LINK_UP) | STATE_TO(LINK_FAILING) | STATE_TO(LINK_CLOSING))   \
    X(LINK_UP, "up", STATE_TO(LINK_FAILING) | STATE_TO(LINK_CLOSING))        \
    X(LINK_FAILING, "failing", STATE_TO(LINK_DOWN) | STATE_TO(LINK_CLOSING)) \
    X(LINK_CLOSING, "closing", STATE_TO(LINK_CLOSED))                        \
    X(LINK_CLOSED, "closed", 0)
enum link_state { LINK_STATES(STATE_ENUM) };
extern const struct state_machine link_machine;

struct redis_link;

struct redis_link_events {
    /* The link can be used; no channel is subscribed. */
    void (*on_up)(void *owner, struct redis_link *link);
    /* The link is lost: all subscriptions are void; pending callbacks have been called with
     * REDIS_LOST. */
    void (*on_down)(void *owner, struct redis_link *link);
    /* Something was published to a channel subscribed here; spans are borrowed. */
    void (*on_message)(void *owner, struct redis_link *link, struct span channel,
                       struct span message);
    /* The link is freed when this returns. */
    void (*on_closed)(void *owner, struct redis_link *link);
};

/* What the link needs of its process. All is borrowed for the link's life. */
struct redis_link_settings {
    uv_loop_t *loop;
    struct timer_wheel *wheel;
    const struct config *config;
    const struct redis_url *server;
    struct metrics_slot *metrics;
    const struct redis_link_events *events;
    void *owner;
};

/* Begins to connect. NULL when out of memory. */
struct redis_link *redis_link_open(const struct redis_link_settings *settings) MUST_CHECK;

/* Closes for good: on_closed comes once, perhaps before this returns. No other event comes. */
void redis_link_close(struct redis_link *link);

bool redis_link_is_up(const struct redis_link *link);

/* The two below: 0 and `on_answer` comes once, from the subscribing connection for the first one;
 * or -ENOMEM or -ENOTCONN (not up), when it doesn't. A refusal that says something about the whole
 * server (redis_answer_is_of_server) makes the link give it up, after the callback; any other one
 * is the caller's business alone. */

/* SSUBSCRIBE or PSUBSCRIBE, SUNSUBSCRIBE: `command` and the channel or pattern. */
int redis_link_subscribe(struct redis_link *link, const char *command, struct span channel,
                         redis_answer_fn on_answer, void *context) MUST_CHECK;

/* Any command that isn't about subscriptions; at most REDIS_ARGUMENTS_MAX arguments, its name
 * included. */
int redis_link_command(struct redis_link *link, redis_answer_fn on_answer, void *context, int argc,
                       const struct span *argv) MUST_CHECK;

/* Stops taking messages, or goes on; for an owner with too much in flight. */
void redis_link_pause(struct redis_link *link, bool paused);

/* Gives the link up and lets it come back: for an owner that was told something no healthy server
 * says. */
void redis_link_fail(struct redis_link *link, const char *why);

#endif
