/* The Redis of a broker that was not told of any: a private redis-server on a Unix socket.
 *
 * Receives   the state directory
 * Hands on   on_ready once it answers, on_failed when it can't be had
 * Owns       the redis-server process, its data in the state directory, the directory's lock
 *
 * It answers on <state-dir>/redis.sock and nowhere else, and keeps everything on disk (appendonly).
 * If it dies it is started again. It never outlives this process for long: the kernel ends it
 * (redis_server.h). One that still lives, since it could not end at once, is taken over,
 * so that there are never two of them on the same files; so is one that was started by hand.
 */
#ifndef PROGRESSD_BROKER_PROCESS_EMBEDDED_REDIS_H
#define PROGRESSD_BROKER_PROCESS_EMBEDDED_REDIS_H

#include <uv.h>

#include "broker/config/config.h"
#include "common/state.h"

/* The states
 *   PAUSING   waits for the next start, or is not begun
 *   LOOKING   asks whether somebody answers on the socket
 *   TAKEN     one that was there already is used
 *   STARTING  ours was started, and doesn't answer yet
 *   RUNNING   ours is used
 *   FAILED    on_failed was called
 *   STOPPING  was told to end; is killed if it doesn't
 *   STOPPED   nothing is open but handles that are closing; on_stopped comes
 */
#define EMBEDDED_STATES(X)                                                                   \
    X(EMBEDDED_PAUSING, "pausing", STATE_TO(EMBEDDED_LOOKING) | STATE_TO(EMBEDDED_STOPPING)) \
    X(EMBEDDED_LOOKING, "looking",                                                           \
      STATE_TO(EMBEDDED_TAKEN) | STATE_TO(EMBEDDED_STARTING) | STATE_TO(EMBEDDED_FAILED) |   \
          STATE_TO(EMBEDDED_STOPPING))                                                       \
    X(EMBEDDED_TAKEN, "taken", STATE_TO(EMBEDDED_LOOKING) | STATE_TO(EMBEDDED_STOPPING))     \
    X(EMBEDDED_STARTING, "starting",                                                         \
      STATE_TO(EMBEDDED_RUNNING) | STATE_TO(EMBEDDED_PAUSING) | STATE_TO(EMBEDDED_FAILED) |  \
          STATE_TO(EMBEDDED_STOPPING))                                                       \
    X(EMBEDDED_RUNNING, "running", STATE_TO(EMBEDDED_PAUSING) | STATE_TO(EMBEDDED_STOPPING)) \
    X(EMBEDDED_FAILED, "failed", STATE_TO(EMBEDDED_STOPPING))                                \
    X(EMBEDDED_STOPPING, "stopping", STATE_TO(EMBEDDED_STOPPED))                             \
    X(EMBEDDED_STOPPED, "stopped", 0)
enum embedded_state { EMBEDDED_STATES(STATE_ENUM) };
extern const struct state_machine embedded_machine;

struct embedded_redis;

struct embedded_redis_events {
    /* It answers. Comes once; when it dies later it comes back by itself. */
    void (*on_ready)(void *owner);
    /* It can't be had, and never was; the owner calls embedded_redis_stop(). */
    void (*on_failed)(void *owner, const char *why);
    void (*on_stopped)(void *owner);
};

enum embedded_redis_outcome { EMBEDDED_REDIS_INVALID = 1 };

/* Makes and locks the state directory, and begins to look for a Redis or to start one. 0 and
 * *ret_redis; EMBEDDED_REDIS_INVALID with the reason in `why`: another broker uses the directory,
 * it can't be made, or its path is too long for a socket; or -ENOMEM. No event comes before this
 * returns. */
#define EMBEDDED_REDIS_WHY_SIZE 512
int embedded_redis_open(uv_loop_t *loop, const char *state_dir,
                        const struct embedded_redis_events *events, void *owner,
                        struct embedded_redis **ret_redis,
                        char why[EMBEDDED_REDIS_WHY_SIZE]) MUST_CHECK;

/* The path of its socket; lives as long as the object. */
const char *embedded_redis_socket(const struct embedded_redis *redis);

/* Ends it, in good order at the first call, at once at the second. on_stopped comes later; the
 * object is freed by then. */
void embedded_redis_stop(struct embedded_redis *redis);

#endif
