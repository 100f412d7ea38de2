/* The process that takes up what jobs publish with plain PUBLISH, and sends it the one way.
 *
 * Receives   what is published on <prefix>*, from redis_link; "stop" on the control pipe
 * Hands on   each message to FCALL progress_publish
 * Owns       the loop and everything on it: the link, the lease
 *
 * Every node has a recorder, and one of them records: the holder of a lease in Redis
 * (<prefix>!recorder, RECORDER_LEASE_MS, renewed each RECORDER_RENEW_MS). The lease ends here
 * RECORDER_LEASE_MS after the last renewal that succeeded was *sent*, so never later than in Redis:
 * what is still on its way to Redis then is dropped with the link, since another may record by now,
 * and an old message must not come in behind a newer one. Who can't subscribe asks for no lease.
 *
 * Messages of a task keep their order: one connection, one command after the other. With
 * RECORDER_IN_FLIGHT_MAX of them under way no more are read. What can't be recorded is dropped,
 * counted and logged with its channel and what is wrong with it.
 */
#ifndef PROGRESSD_BROKER_PROCESS_RECORDER_H
#define PROGRESSD_BROKER_PROCESS_RECORDER_H

#include "broker/config/config.h"
#include "common/metrics.h"

#define RECORDER_LEASE_MS 3000
#define RECORDER_RENEW_MS 1000
#define RECORDER_IN_FLIGHT_MAX 4096

/* Runs until told to stop on the control pipe, until that ends, or until SIGTERM. The process'
 * exit status: 0 when it stopped as told. */
int recorder_run(const struct config *config, struct metrics_slot *metrics, int control_fd);

#endif
