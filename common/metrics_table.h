/* The table of all metrics: what each is called in the code and by Prometheus, and what it means.
 *
 * A FAMILY (type, name, help) is followed by its ROWs (name in the code, label or ""), which are
 * METRIC_<name>. Rows of one family stand in the order of the enum they count, where they count
 * one: METRIC_REQUEST_ERROR_INVALID_MESSAGE + enum error_code (proto/messages.json), and
 * METRIC_AUTH_MISSING + enum auth_failure (broker/auth/auth.h).
 *
 * A gauge is summed over the workers like a counter: "1 when up" reads as how many are up.
 */
#ifndef PROGRESSD_COMMON_METRICS_TABLE_H
#define PROGRESSD_COMMON_METRICS_TABLE_H

/* clang-format off */
#define METRICS_TABLE(FAMILY, ROW) \
    FAMILY(GAUGE, "progressd_connections", "Open client connections.") \
        ROW(CONNECTIONS, "") \
    FAMILY(COUNTER, "progressd_connections_accepted_total", "Client connections accepted.") \
        ROW(CONNECTIONS_ACCEPTED, "") \
    FAMILY(COUNTER, "progressd_connections_refused_total", "Clients turned away before the upgrade, by reason.") \
        ROW(REFUSED_LIMIT, "reason=\"limit\"") \
        ROW(REFUSED_ADDRESS_LIMIT, "reason=\"address_limit\"") \
        ROW(REFUSED_ORIGIN, "reason=\"origin\"") \
        ROW(REFUSED_HANDSHAKES, "reason=\"handshakes\"") \
        ROW(REFUSED_PROXY_HEADER, "reason=\"proxy_header\"") \
    FAMILY(GAUGE, "progressd_accepting_paused", "Workers that have stopped accepting for a while.") \
        ROW(ACCEPTING_PAUSED, "") \
    FAMILY(GAUGE, "progressd_handshakes_in_flight", "Connections whose first request is not complete.") \
        ROW(HANDSHAKES_IN_FLIGHT, "") \
    FAMILY(COUNTER, "progressd_tls_handshakes_total", "TLS handshakes with clients and Redis, by how they ended.") \
        ROW(TLS_FULL, "result=\"full\"") \
        ROW(TLS_RESUMED, "result=\"resumed\"") \
        ROW(TLS_FAILED, "result=\"failed\"") \
    FAMILY(GAUGE, "progressd_tls_certificate_expiry_timestamp_seconds", "When the first of the certificates expires, in seconds since 1970; 0: there are none.") \
        ROW(TLS_CERTIFICATE_EXPIRES, "") \
    FAMILY(GAUGE, "progressd_websocket_connections", "Open WebSocket connections.") \
        ROW(WEBSOCKET_CONNECTIONS, "") \
    FAMILY(COUNTER, "progressd_received_bytes_total", "Bytes read from clients.") \
        ROW(BYTES_RECEIVED, "") \
    FAMILY(COUNTER, "progressd_sent_bytes_total", "Bytes written to clients.") \
        ROW(BYTES_SENT, "") \
    FAMILY(COUNTER, "progressd_client_messages_received_total", "Messages received from clients.") \
        ROW(CLIENT_MESSAGES_RECEIVED, "") \
    FAMILY(COUNTER, "progressd_redis_messages_received_total", "Messages received from Redis.") \
        ROW(REDIS_MESSAGES_RECEIVED, "") \
    FAMILY(COUNTER, "progressd_redis_messages_dropped_total", "Messages and fields read from Redis that were dropped, by reason: not what progress_publish makes, or a rev from the future.") \
        ROW(DROPPED_INVALID, "reason=\"invalid\"") \
        ROW(DROPPED_FUTURE, "reason=\"future\"") \
    FAMILY(COUNTER, "progressd_messages_delivered_total", "Messages of tasks sent to clients.") \
        ROW(MESSAGES_DELIVERED, "") \
    FAMILY(COUNTER, "progressd_messages_superseded_total", "Messages left out for a client because a newer one was waiting.") \
        ROW(MESSAGES_SUPERSEDED, "") \
    FAMILY(GAUGE, "progressd_subscriptions", "Subscriptions of clients to tasks.") \
        ROW(SUBSCRIPTIONS, "") \
    FAMILY(GAUGE, "progressd_tasks_watched", "Tasks that workers watch, counted once a worker.") \
        ROW(TASKS_WATCHED, "") \
    FAMILY(GAUGE, "progressd_tasks_without_state", "Those of them that have no state, or whose state is not read yet.") \
        ROW(TASKS_WITHOUT_STATE, "") \
    FAMILY(COUNTER, "progressd_tasks_refused_total", "Subscriptions and polls refused since a worker watched 65,536 tasks without state.") \
        ROW(TASKS_REFUSED, "") \
    FAMILY(GAUGE, "progressd_links_up", "Links to Redis that are up.") \
        ROW(LINKS_UP, "") \
    FAMILY(COUNTER, "progressd_link_connects_total", "Links to Redis that came up.") \
        ROW(LINK_CONNECTS, "") \
    FAMILY(COUNTER, "progressd_link_losses_total", "Links to Redis that were lost.") \
        ROW(LINK_LOSSES, "") \
    FAMILY(COUNTER, "progressd_link_probes_sent_total", "Probes that links sent to themselves through Redis.") \
        ROW(PROBES_SENT, "") \
    FAMILY(COUNTER, "progressd_link_probes_failed_total", "Probes that did not arrive in time.") \
        ROW(PROBES_FAILED, "") \
    FAMILY(COUNTER, "progressd_link_replies_overdue_total", "Links given up because Redis left a command without an answer.") \
        ROW(REPLIES_OVERDUE, "") \
    FAMILY(GAUGE, "progressd_library_disagrees", "Processes whose state-ttl or max-payload is not that of the function library in Redis.") \
        ROW(LIBRARY_DISAGREES, "") \
    FAMILY(COUNTER, "progressd_resyncs_total", "Watched tasks compared with Redis, after a reconnect or in turn.") \
        ROW(RESYNCS, "") \
    FAMILY(COUNTER, "progressd_resyncs_newer_total", "Resyncs that found something newer: a message had been lost.") \
        ROW(RESYNCS_NEWER, "") \
    FAMILY(COUNTER, "progressd_state_reads_total", "States of tasks read from Redis.") \
        ROW(STATE_READS, "") \
    FAMILY(COUNTER, "progressd_jobs_lost_total", "Jobs declared lost, since they stopped giving signs of life.") \
        ROW(JOBS_LOST, "") \
    FAMILY(COUNTER, "progressd_closes_total", "WebSocket connections closed by the server, by close code.") \
        ROW(CLOSES_1000, "code=\"1000\"") \
        ROW(CLOSES_1001, "code=\"1001\"") \
        ROW(CLOSES_1002, "code=\"1002\"") \
        ROW(CLOSES_1003, "code=\"1003\"") \
        ROW(CLOSES_1005, "code=\"1005\"") \
        ROW(CLOSES_1006, "code=\"1006\"") \
        ROW(CLOSES_1007, "code=\"1007\"") \
        ROW(CLOSES_1008, "code=\"1008\"") \
        ROW(CLOSES_1009, "code=\"1009\"") \
        ROW(CLOSES_1011, "code=\"1011\"") \
        ROW(CLOSES_1012, "code=\"1012\"") \
        ROW(CLOSES_1013, "code=\"1013\"") \
        ROW(CLOSES_4401, "code=\"4401\"") \
        ROW(CLOSES_4403, "code=\"4403\"") \
        ROW(CLOSES_4408, "code=\"4408\"") \
        ROW(CLOSES_4429, "code=\"4429\"") \
        ROW(CLOSES_OTHER, "code=\"other\"") \
    FAMILY(COUNTER, "progressd_auth_failures_total", "Tokens refused, by reason.") \
        ROW(AUTH_MISSING, "reason=\"missing\"") \
        ROW(AUTH_TOO_LONG, "reason=\"too_long\"") \
        ROW(AUTH_MALFORMED, "reason=\"malformed\"") \
        ROW(AUTH_UNKNOWN_KEY, "reason=\"unknown_key\"") \
        ROW(AUTH_ALGORITHM, "reason=\"algorithm\"") \
        ROW(AUTH_SIGNATURE, "reason=\"signature\"") \
        ROW(AUTH_EXPIRED, "reason=\"expired\"") \
        ROW(AUTH_NOT_YET_VALID, "reason=\"not_yet_valid\"") \
        ROW(AUTH_ISSUER, "reason=\"issuer\"") \
        ROW(AUTH_AUDIENCE, "reason=\"audience\"") \
        ROW(AUTH_CLAIMS, "reason=\"claims\"") \
        ROW(AUTH_FORBIDDEN, "reason=\"forbidden\"") \
    FAMILY(COUNTER, "progressd_request_errors_total", "Requests of WebSocket clients that were refused, by error code.") \
        ROW(REQUEST_ERROR_INVALID_MESSAGE, "code=\"INVALID_MESSAGE\"") \
        ROW(REQUEST_ERROR_INVALID_TASK_ID, "code=\"INVALID_TASK_ID\"") \
        ROW(REQUEST_ERROR_UNAUTHORIZED, "code=\"UNAUTHORIZED\"") \
        ROW(REQUEST_ERROR_FORBIDDEN, "code=\"FORBIDDEN\"") \
        ROW(REQUEST_ERROR_NOT_SUBSCRIBED, "code=\"NOT_SUBSCRIBED\"") \
        ROW(REQUEST_ERROR_TOO_MANY_SUBSCRIPTIONS, "code=\"TOO_MANY_SUBSCRIPTIONS\"") \
        ROW(REQUEST_ERROR_RATE_LIMITED, "code=\"RATE_LIMITED\"") \
        ROW(REQUEST_ERROR_UNAVAILABLE, "code=\"UNAVAILABLE\"") \
    FAMILY(COUNTER, "progressd_http_requests_total", "HTTP requests answered, by status; upgrades are not among them.") \
        ROW(HTTP_200, "code=\"200\"") \
        ROW(HTTP_204, "code=\"204\"") \
        ROW(HTTP_304, "code=\"304\"") \
        ROW(HTTP_400, "code=\"400\"") \
        ROW(HTTP_401, "code=\"401\"") \
        ROW(HTTP_403, "code=\"403\"") \
        ROW(HTTP_404, "code=\"404\"") \
        ROW(HTTP_405, "code=\"405\"") \
        ROW(HTTP_413, "code=\"413\"") \
        ROW(HTTP_426, "code=\"426\"") \
        ROW(HTTP_429, "code=\"429\"") \
        ROW(HTTP_431, "code=\"431\"") \
        ROW(HTTP_503, "code=\"503\"") \
        ROW(HTTP_OTHER, "code=\"other\"") \
    FAMILY(GAUGE, "progressd_recorder_active", "1 while this node's recorder holds the lease.") \
        ROW(RECORDER_ACTIVE, "") \
    FAMILY(COUNTER, "progressd_recorder_messages_accepted_total", "Messages of plain PUBLISH that were recorded.") \
        ROW(RECORDER_ACCEPTED, "") \
    FAMILY(COUNTER, "progressd_recorder_messages_taken_over_total", "Messages of plain PUBLISH that were recorded in the place of a recorder that had left them.") \
        ROW(RECORDER_TAKEN_OVER, "") \
    FAMILY(COUNTER, "progressd_recorder_messages_dropped_total", "Messages of plain PUBLISH that were dropped, by reason.") \
        ROW(RECORDER_DROPPED_INVALID, "reason=\"invalid\"") \
        ROW(RECORDER_DROPPED_OTHER, "reason=\"other\"") \
    FAMILY(COUNTER, "progressd_worker_restarts_total", "Workers replaced because they died.") \
        ROW(WORKER_RESTARTS, "") \
    FAMILY(COUNTER, "progressd_watchdog_kills_total", "Workers and recorders ended because they stood still.") \
        ROW(WATCHDOG_KILLS, "")

/* name in the code (HISTOGRAM_<name>), name, help */
#define METRICS_HISTOGRAMS(X) \
    X(LOOP_DELAY, "progressd_loop_delay_seconds", "How late a worker's loop was for a timer, ten times a second: what everybody on it waits for.") \
    X(DELIVERY_DELAY, "progressd_delivery_delay_seconds", "Time from a message's publication to its write to a client's socket.")
/* clang-format on */

#endif
