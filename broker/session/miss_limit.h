/* How often those who present one token may ask over HTTP for tasks that nobody knows.
 *
 * Receives   a token's text and each poll that Redis has to be asked about
 * Hands on   whether the poll may be asked
 * Owns       a table of a fixed size
 *
 * A poll of a task that this worker doesn't know costs Redis three commands and the worker a watch.
 * With a token that names a prefix anybody could ask for as many tasks as he can invent. So each
 * token has a token bucket: a poll takes one out, and one that finds a state puts it back. Polls of
 * what the worker knows are not counted.
 *
 * A token's bucket is found by a keyed hash of its text. Two tokens may share one: then they share
 * the limit, and nobody can choose to.
 */
#ifndef PROGRESSD_BROKER_SESSION_MISS_LIMIT_H
#define PROGRESSD_BROKER_SESSION_MISS_LIMIT_H

#include "common/span.h"

/* A thousand tasks that haven't begun, each polled every two seconds, stay below it. */
#define MISS_RATE 500 /* a second */
#define MISS_BURST 2000

struct miss_limit;
struct miss_bucket;

/* NULL when out of memory, or without random numbers. */
struct miss_limit *miss_limit_new(void) MUST_CHECK;

/* Accepts NULL. */
void miss_limit_free(struct miss_limit *limit);

/* The bucket of a token; it stays where it is. */
struct miss_bucket *miss_limit_find(struct miss_limit *limit, struct span token);

/* Takes one out; false when there is none left. */
bool miss_bucket_take(struct miss_bucket *bucket, uint64_t now_ms) MUST_CHECK;

/* Puts one back: there was a state. */
void miss_bucket_give_back(struct miss_bucket *bucket);

#endif
