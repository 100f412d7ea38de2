/* What everything that serves one client shares with all the others in its worker. */
#ifndef PROGRESSD_BROKER_SESSION_FRONT_H
#define PROGRESSD_BROKER_SESSION_FRONT_H

#include <uv.h>

#include "broker/auth/auth.h"
#include "broker/config/config.h"
#include "broker/hub/hub.h"
#include "broker/net/tls_stream.h"
#include "common/metrics.h"
#include "common/timer_wheel.h"

struct miss_limit;
struct web_cache;

/* Made by worker.c, which owns all of it; outlives every session. */
struct front {
    uv_loop_t *loop;
    struct timer_wheel *wheel;
    const struct config *config;
    struct metrics_slot *metrics;
    struct auth *auth;
    struct hub *hub;
    struct miss_limit *misses;
    struct tls_context *tls; /* NULL: no address of `listen` speaks TLS */
    struct tls_room tls_room;
    struct web_cache *web_cache; /* NULL: web-root isn't set, and no files are served */
};

#endif
