/* Following a task over WebSocket: one connection, from opening to its end.
 *
 * Receives   a feed
 * Hands on   messages, to the feed's display
 * Owns       the connection
 */
#ifndef PROGRESSD_CLIENT_CLI_LIVE_FEED_H
#define PROGRESSD_CLIENT_CLI_LIVE_FEED_H

#include "client/cli/feed.h"

/* Connects, subscribes, and follows until something ends it: an outcome of enum feed_outcome, or
 * -ENOMEM. FEED_LOST means that it was subscribed, FEED_FAILED that it never was. */
int live_feed_run(struct feed *feed) MUST_CHECK;

#endif
