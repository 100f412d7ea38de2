/* What takes up the messages that jobs publish with plain PUBLISH, and sends them the one way.
 *
 * Receives   what is published on <prefix>*, by the link
 * Hands on   each message to FCALL progress_publish
 * Owns       the link and the lease
 *
 * Every node has a recorder, and one of them records: the holder of a lease in Redis
 * (<prefix>!recorder, RECORDER_LEASE_MS, renewed each RECORDER_RENEW_MS). The lease ends here
 * RECORDER_LEASE_MS after the last renewal that succeeded was *sent*, so never later than in Redis:
 * what is still on its way to Redis then is dropped with the link, since another may record by now,
 * and an old message must not come in behind a newer one. Who can't subscribe asks for no lease.
 *
 * What the holder leaves when it ends, or when Redis doesn't answer it, is not lost: every recorder
 * keeps the messages of the last RECORDER_KEPT_MS that it doesn't know to be recorded, the newest
 * of each type of a task. Who gets the lease calls progress_take_over for each such task, which
 * records what comes behind what the hash has. What nobody recorded in that time is counted.
 *
 * Messages of a task keep their order: one connection, one command after the other. With
 * RECORDER_IN_FLIGHT_MAX of them under way no more are read. What can't be recorded is dropped,
 * counted and logged with its channel and what is wrong with it.
 */
#ifndef PROGRESSD_BROKER_PROCESS_RECORDER_H
#define PROGRESSD_BROKER_PROCESS_RECORDER_H

#include <uv.h>

#include "broker/config/config.h"
#include "common/metrics.h"
#include "common/state.h"
#include "common/timer_wheel.h"

#define RECORDER_LEASE_MS 3000
#define RECORDER_RENEW_MS 1000
#define RECORDER_KEPT_MS 6000 /* a lease, the next question for it, and what lags behind */
#define RECORDER_FAREWELL_MS 1000
#define RECORDER_IN_FLIGHT_MAX 4096

/* The states
 *   AWAY          not subscribed: no link, or Redis refused; asks again each second
 *   SUBSCRIBING   PSUBSCRIBE was sent
 *   ASKING        subscribed; nobody is known to hold the lease
 *   STANDING_BY   another one held the lease less than RECORDER_LEASE_MS ago; messages are his
 *   RECORDING     holds the lease
 *   STOPPING      was told to stop, and gives the lease back; RECORDER_FAREWELL_MS at the most
 *   CLOSING       the link is being closed
 */
#define RECORDER_RUNNING_STATES \
    (STATE_TO(RECORDER_AWAY) | STATE_TO(RECORDER_STOPPING) | STATE_TO(RECORDER_CLOSING))
#define RECORDER_STATES(X)                                                                       \
    X(RECORDER_AWAY, "away",                                                                     \
      STATE_TO(RECORDER_SUBSCRIBING) | STATE_TO(RECORDER_STOPPING) | STATE_TO(RECORDER_CLOSING)) \
    X(RECORDER_SUBSCRIBING, "subscribing",                                                       \
      STATE_TO(RECORDER_ASKING) | STATE_TO(RECORDER_RECORDING) | RECORDER_RUNNING_STATES)        \
    X(RECORDER_ASKING, "asking",                                                                 \
      STATE_TO(RECORDER_STANDING_BY) | STATE_TO(RECORDER_RECORDING) | RECORDER_RUNNING_STATES)   \
    X(RECORDER_STANDING_BY, "standing by",                                                       \
      STATE_TO(RECORDER_ASKING) | STATE_TO(RECORDER_RECORDING) | RECORDER_RUNNING_STATES)        \
    X(RECORDER_RECORDING, "recording",                                                           \
      STATE_TO(RECORDER_ASKING) | STATE_TO(RECORDER_STANDING_BY) | RECORDER_RUNNING_STATES)      \
    X(RECORDER_STOPPING, "stopping", STATE_TO(RECORDER_CLOSING))                                 \
    X(RECORDER_CLOSING, "closing", 0)
enum recorder_state { RECORDER_STATES(STATE_ENUM) };
extern const struct state_machine recorder_machine;

struct recorder;

/* All is borrowed for the recorder's life. */
struct recorder_settings {
    uv_loop_t *loop;
    struct timer_wheel *wheel;
    const struct config *config;
    const struct redis_url *server;
    struct metrics_slot *metrics;
    /* recorder_stop() is through; the recorder is freed when this returns. */
    void (*on_closed)(void *owner);
    void *owner;
};

/* Begins. NULL when out of memory. */
struct recorder *recorder_open(const struct recorder_settings *settings) MUST_CHECK;

/* Gives the lease back, behind all that is under way, so that another need not wait for its end;
 * then closes. May be called twice. on_closed comes once, perhaps before this returns. */
void recorder_stop(struct recorder *recorder);

enum recorder_state recorder_state(const struct recorder *recorder);

#endif
