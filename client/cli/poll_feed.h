/* Following a task over HTTP: one question and its answer.
 *
 * Receives   a feed
 * Hands on   messages, to the feed's display
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_POLL_FEED_H
#define PROGRESSD_CLIENT_CLI_POLL_FEED_H

#include "client/cli/feed.h"
#include "client/cli/http_client.h"

/* Asks for what is newer than the rev that is held. 0 and in *ret_wait_ms when to ask again, as the
 * server wants it; an outcome of enum feed_outcome (not FEED_LOST); or -ENOMEM. */
int poll_feed_ask(struct feed *feed, int64_t *ret_wait_ms) MUST_CHECK;

/* GET /api/progress/<task> with the token; `rev` ("": none) as If-None-Match. As
 * http_client_get(). */
int poll_feed_get(const struct wire_address *address, const char *task_id, const char *token,
                  const char *rev, int64_t deadline, struct http_reply *ret_reply) MUST_CHECK;

#endif
