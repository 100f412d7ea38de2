/* libprogressd-publisher: a job tells how far it is, in a line or two.
 *
 *     struct progressd_publisher *job;
 *
 *     if (progressd_open("redis://127.0.0.1:6379", "42", NULL, &job) == PROGRESSD_OK) {
 *         progressd_stage(job, "transcribing");
 *         progressd_update(job, 40.0, bytes_done, bytes_total);     as often as you like
 *         progressd_complete(job, "/results/42.txt", -1);
 *         progressd_close(job, 5000);
 *     }
 *
 * A job is never slowed down by this: a thread of the publisher's own talks to Redis, and what the
 * job calls only puts a message down for it, under a lock that is never held while anybody waits.
 *
 *   - Of updates the newest is what counts; at most 5 a second are sent. Stages and the end are
 *     all sent, in the order in which they were told.
 *   - While Redis is away, full, starting or has no function library yet, messages are kept, and
 *     sent once it is well again: the newest update, up to 1,024 stages, the end.
 *   - Every few seconds Redis is told that the job lives. Should it die without an end, its
 *     watchers are told so (an error with code JOB_LOST).
 *   - Speed (bytes a second) is derived from the bytes told.
 *
 * All functions may be called from any thread at any time, but progressd_close(), which must be
 * the last call. Not across fork(): open a publisher in the child. Strings are UTF-8, end in NUL,
 * and are copied. One publisher is one task, one thread and one connection.
 *
 * Needs Redis 7.0 or Valkey, with progressd's function library, which the broker loads. Neither
 * TLS nor Redis Cluster in this version.
 */
#ifndef PROGRESSD_PUBLISHER_H
#define PROGRESSD_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct progressd_publisher;
struct redisContext;

enum progressd_result {
    PROGRESSD_OK = 0,
    PROGRESSD_INVALID,     /* an argument is wrong; nothing was changed */
    PROGRESSD_DONE,        /* the task has ended; what comes later isn't sent */
    PROGRESSD_REFUSED,     /* Redis refused a message for good, and it was dropped */
    PROGRESSD_UNAVAILABLE, /* Redis is away, full or starting: messages are kept */
    PROGRESSD_DENIED,      /* wrong password, or a right is missing: messages are kept */
    PROGRESSD_NO_LIBRARY,  /* Redis has no function library: messages are kept */
    PROGRESSD_NO_MEMORY,   /* out of memory or threads; nothing was changed */
};

/* "PROGRESSD_OK" and so on. Never NULL. */
const char *progressd_result_name(enum progressd_result result);

/* Members that are 0 or NULL stand for the default. */
struct progressd_options {
    const char *prefix; /* of the task's key; "progress:" */
    const char *user;   /* for progressd_open_on(): what to log in with after a reconnect */
    const char *password;
    unsigned alive_seconds; /* a job silent for so long is lost; 5 to 86400, by default 20 */
    bool no_alive;          /* gives no sign of life: the job is never declared lost */
    unsigned max_payload;   /* the broker's option max-payload, in bytes; 4096 */
};

/* Begins to publish the task `task_id` (1 to 128 of A-Z a-z 0-9 . _ ~ : -) to the Redis at
 * redis://[user[:password]@]host[:port] or unix://[user:password@]/path. Returns before there is a
 * connection. PROGRESSD_OK and *ret_publisher, to be closed; PROGRESSD_INVALID;
 * PROGRESSD_NO_MEMORY. `options` may be NULL. */
enum progressd_result progressd_open(const char *url, const char *task_id,
                                     const struct progressd_options *options,
                                     struct progressd_publisher **ret_publisher);

/* The same on a blocking connection of the caller's, which from PROGRESSD_OK on is the
 * publisher's: it is used by its thread, connected again when it is lost, and freed in the end. */
enum progressd_result progressd_open_on(struct redisContext *connection, const char *task_id,
                                        const struct progressd_options *options,
                                        struct progressd_publisher **ret_publisher);

/* The four below put a message down and return at once: PROGRESSD_OK; PROGRESSD_INVALID, with the
 * reason in progressd_error(); PROGRESSD_DONE, when the task has ended, by this job or by somebody
 * else; PROGRESSD_NO_MEMORY. */

/* Begins the task anew: what it told before, also its end, is void. For a task id that was used. */
enum progressd_result progressd_reset(struct progressd_publisher *publisher);

/* Enters a stage (1 to 128 bytes). */
enum progressd_result progressd_stage(struct progressd_publisher *publisher, const char *stage);

/* `percentage` is 0 to 100 of the whole task; 100.00000000000007 is 100. `bytes_total` 0: it isn't
 * told. Before the first stage the stage is "working". */
enum progressd_result progressd_update(struct progressd_publisher *publisher, double percentage,
                                       uint64_t bytes_done, uint64_t bytes_total);

/* The end. `seconds` is how long it took; negative: the time since the publisher was opened. */
enum progressd_result progressd_complete(struct progressd_publisher *publisher,
                                         const char *result_url, double seconds);

/* The other end. `retryable`: not quite; the job may go on, and its next message takes the error
 * back. A message that is too long is cut, and what isn't UTF-8 in it is replaced by "?": a job
 * that fails must not fail to say so. */
enum progressd_result progressd_fail(struct progressd_publisher *publisher, const char *code,
                                     const char *message, bool retryable);

/* What is wrong now, PROGRESSD_OK if nothing is, with a text for people in `text`, cut to `size`.
 * A refusal is told once. */
enum progressd_result progressd_error(struct progressd_publisher *publisher, char *text,
                                      size_t size);

/* Waits until all that was put down is stored, or `milliseconds` have passed. PROGRESSD_OK; or why
 * it isn't. */
enum progressd_result progressd_flush(struct progressd_publisher *publisher, unsigned milliseconds);

/* Flushes, and ends the publisher, which is no more whatever is returned. PROGRESSD_OK: all was
 * stored, the end too, if there was one. Otherwise why it wasn't: what remains is lost. NULL is
 * accepted. Without an end the task's watchers are told that the job is lost. */
enum progressd_result progressd_close(struct progressd_publisher *publisher, unsigned milliseconds);

#ifdef __cplusplus
}
#endif

#endif
