/* How a watcher stays with its task: which transport when, and when to give up.
 *
 * Receives   a feed
 * Hands on   how it ended
 * Owns       nothing
 *
 * WebSocket first. A connection that fails or is lost is tried again, up to FOLLOWER_ATTEMPTS
 * times with growing random waits; then the task is polled over HTTP, and every
 * FOLLOWER_WEBSOCKET_AGAIN_MS WebSocket is tried once more. A refused token is replaced, if it can
 * be, and the new one refused is the end.
 */
#ifndef PROGRESSD_CLIENT_CLI_FOLLOWER_H
#define PROGRESSD_CLIENT_CLI_FOLLOWER_H

#include "client/cli/feed.h"

#define FOLLOWER_ATTEMPTS 5
#define FOLLOWER_WEBSOCKET_AGAIN_MS 60000

/* Follows the task until FEED_ENDED; FEED_UNAUTHORIZED or FEED_REFUSED; FEED_FAILED, after no
 * transport has brought an answer for `give_up_ms`; or -ENOMEM. feed->why says why. */
int follower_run(struct feed *feed, int64_t give_up_ms) MUST_CHECK;

#endif
