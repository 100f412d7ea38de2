/* The publisher's thread: brings what the job tells to Redis, however long that takes.
 *
 * Receives   messages: sender_put() (publisher.c, from the job's threads)
 * Hands on   calls of the function library, in order: redis_caller_call(); how they go, to whoever
 *            asks
 * Owns       the thread, the backlog, the caller and its connection; the pauses between tries; the
 *            signs of life
 *
 * All functions may be called from any thread, but sender_stop(), which must be the last call.
 */
#ifndef PROGRESSD_CLIENT_SENDER_H
#define PROGRESSD_CLIENT_SENDER_H

#include "client/publisher/backlog.h"
#include "client/publisher/publisher.h"
#include "client/publisher/redis_caller.h"

struct sender;

/* Starts the thread for the task of `key`. `alive_seconds` 0: gives no sign of life. PROGRESSD_OK
 * and *ret_sender, to be stopped, which has taken `caller` over; or PROGRESSD_NO_MEMORY. */
enum progressd_result sender_start(const struct redis_caller *caller, const char *key,
                                   unsigned alive_seconds, struct sender **ret_sender);

/* Puts a message down for the thread, and takes it over. `ends`: nothing may follow it, but a
 * reset. PROGRESSD_OK; or PROGRESSD_DONE, when the task has ended. */
enum progressd_result sender_put(struct sender *sender, struct backlog_message *message, bool ends);

/* Notes that the job told what no message can say, as the trouble of now unless Redis' refusal is
 * that. PROGRESSD_INVALID; or PROGRESSD_DONE, when the task has ended. */
enum progressd_result sender_refuse(struct sender *sender, const char *why);

/* As progressd_error(), progressd_flush() and progressd_close(). */
enum progressd_result sender_trouble(struct sender *sender, char *text, size_t size);
enum progressd_result sender_flush(struct sender *sender, unsigned milliseconds);
enum progressd_result sender_stop(struct sender *sender, unsigned milliseconds);

#endif
