/* A client that polls over HTTP: GET /api/progress/{taskId}.
 *
 * Receives   a request
 * Hands on   the answer, to http_answer.c, at once or when the state is known
 * Owns       the poll under way, with its subscription
 *
 * A poll is a subscription that ends as soon as it is answered. So there is one way to a task's
 * state, and polls that come within `linger` of each other cost Redis nothing.
 */
#ifndef PROGRESSD_BROKER_SESSION_POLLER_H
#define PROGRESSD_BROKER_SESSION_POLLER_H

#include "broker/net/http_connection.h"
#include "broker/session/front.h"

struct poll;

/* Answers a request whose path is API_PATH and a task id (`encoded_task_id`, as it came). NULL: it
 * has been answered; or the poll that waits for its token's check or the task's state. `on_done`
 * comes just before the answer to a GET, at once or later, and the poll is gone then. */
#define API_PATH "/api/progress/"
struct poll *poller_request(const struct front *front, struct http_connection *http,
                            const struct http_request *request, struct span encoded_task_id,
                            void (*on_done)(struct http_connection *http));

/* Answers 503 now, as when the state stays out of reach; `on_done` comes first. */
void poller_give_up(struct poll *poll);

/* Gives a poll up whose connection is over. Accepts NULL. */
void poller_cancel(struct poll *poll);

#endif
