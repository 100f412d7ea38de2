/* One connection to Redis for one thread, which may wait: opened when it is needed, and again when
 * it was lost.
 *
 * Receives   calls of the function library, from one thread
 * Hands on   how each went, in the words of publisher.h
 * Owns       the connection and what it is opened with
 */
#ifndef PROGRESSD_CLIENT_REDIS_CALLER_H
#define PROGRESSD_CLIENT_REDIS_CALLER_H

#include <hiredis/hiredis.h>

#include "client/publisher/publisher.h"
#include "common/redis_url.h"

#define CALLER_CONNECT_MS 2000
#define CALLER_ANSWER_MS 5000
#define CALLER_WHY_SIZE 256

struct redis_caller {
    struct redis_url url; /* kind REDIS_URL_NONE: `context` was given, and knows where it leads */
    redisContext *context;
    bool connected; /* and logged in */
};

/* A caller on a connection that was given, which is the caller's from now on. */
void redis_caller_take(struct redis_caller *caller, redisContext *context);

void redis_caller_deinit(struct redis_caller *caller);

/* How a call went. */
struct call_result {
    enum progressd_result result; /* of publisher.h; UNAVAILABLE, DENIED, NO_LIBRARY: try again */
    bool answered;                /* false: Redis may have done it, or not */
    char why[CALLER_WHY_SIZE];    /* empty when it went well */
};

/* Calls `FCALL function 1 key args…`, at most 2 args. Waits up to CALLER_CONNECT_MS and
 * CALLER_ANSWER_MS, and for the resolver. */
struct call_result redis_caller_call(struct redis_caller *caller, const char *function,
                                     const char *key, int argc, const char *const *argv);

/* Whether the task's latest message of a type has that payload, to which the function may have
 * added at its end. False also when Redis doesn't answer. */
bool redis_caller_has_payload(struct redis_caller *caller, const char *key, const char *type,
                              const char *payload, size_t len);

#endif
