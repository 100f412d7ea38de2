/* This node, all processes together: what /readyz and /status tell of it.
 *
 * Receives   what the supervisor knows of its processes, and what they count in the metrics page
 * Hands on   readiness; the picture of the node as JSON, to admin
 * Owns       nothing; all is borrowed, and the supervisor's
 *
 * Readiness tells a load balancer whether to send new clients here. It is false until every worker
 * has had its link to Redis; after that an outage of Redis leaves it true, since all nodes share
 * that Redis: false everywhere would take the whole site away. ready-needs-redis decides otherwise.
 */
#ifndef PROGRESSD_BROKER_PROCESS_NODE_H
#define PROGRESSD_BROKER_PROCESS_NODE_H

#include "broker/config/config.h"
#include "broker/process/child_process.h"
#include "common/metrics.h"

enum node_phase {
    NODE_STARTING, /* until all workers have said "ready" for the first time */
    NODE_RUNNING,
    NODE_STOPPING,
};

struct node {
    enum node_phase phase;
    bool had_redis; /* every worker had its link: set once, by node_readiness() */
    uint64_t started_at_s;
    const struct config *config;
    struct config_address listen; /* with its real port */
    bool redis_embedded;
    const struct metrics_page *page; /* slot i is that of workers[i]; then comes the recorder's */
    const struct child_process *workers;  /* config->workers of them */
    const struct child_process *recorder; /* NULL: off */
};

enum node_readiness { NODE_READY, NODE_DEGRADED, NODE_NOT_READY };

/* Whether clients should come here; *ret_why says why not, or "ready". */
enum node_readiness node_readiness(struct node *node, const char **ret_why);

/* Appends the picture as one JSON object. */
void node_write_status(struct node *node, struct text *text);

#endif
