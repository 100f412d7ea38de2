/* The process of a recorder: its loop, its control pipe and its signals.
 *
 * Receives   "stop" on the control pipe, and its end; SIGTERM
 * Hands on   "ready" on the control pipe; the end to the recorder
 * Owns       the loop and everything on it
 */
#ifndef PROGRESSD_BROKER_PROCESS_RECORDER_PROCESS_H
#define PROGRESSD_BROKER_PROCESS_RECORDER_PROCESS_H

#include "broker/config/config.h"
#include "common/metrics.h"

/* Runs until told to stop on the control pipe, until that ends, or until SIGTERM. The process'
 * exit status: 0 when it stopped as told. */
int recorder_run(const struct config *config, struct metrics_slot *metrics, int control_fd);

#endif
