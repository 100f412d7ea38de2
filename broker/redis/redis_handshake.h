/* What has to be true of a Redis server before it is used, and is made true where it can be.
 *
 * Receives   the two connections of a link, open
 * Hands on   on_done: the server's run_id, or why it can't be used, in words for the log
 * Owns       nothing but its place in the sequence
 *
 * In order: both connections reach the same server (run_id); it is a single server and a master,
 * has loaded its data, and is version 7.0 or newer; the function library is there, loaded or
 * replaced if it is missing or older; the user has the rights that reading a task, the functions
 * and the probe take, so that a missing one is named at start and not at the first task.
 */
#ifndef PROGRESSD_BROKER_REDIS_REDIS_HANDSHAKE_H
#define PROGRESSD_BROKER_REDIS_REDIS_HANDSHAKE_H

#include "broker/redis/redis_connection.h"
#include "common/metrics.h"

#define REDIS_RUN_ID_SIZE 41

struct redis_handshake {
    struct redis_connection *commands, *subscriber;
    const struct config *config;
    struct metrics_slot *metrics;
    const char *probe_channel;
    char run_id[REDIS_RUN_ID_SIZE]; /* as the first connection said; "" before */
    char policy[32];                /* maxmemory-policy as last seen; "" before */
    struct text library_text;
    /* `why` is NULL when all is well. */
    void (*on_done)(struct redis_handshake *handshake, const char *why);
    bool done;      /* on_done has come, or won't */
    bool is_first;  /* of this link; later looks check less */
    bool disagrees; /* the library's settings are another broker's, which was said in the log */
};

/* Begins. The members up to `probe_channel` and on_done are set by the caller. */
void redis_handshake_start(struct redis_handshake *handshake);

/* Looks again at a server in use: still the same, still a master, the library still there and not
 * older. on_done comes as before. Only `commands` is used. */
void redis_handshake_check_again(struct redis_handshake *handshake);

/* No on_done will come. */
void redis_handshake_stop(struct redis_handshake *handshake);

#endif
