/* This node, all processes together: what /readyz and /status tell of it.
 *
 * Receives   what the supervisor knows of its processes, and what they count in the metrics page
 * Hands on   readiness; the metrics; the picture of the node as JSON
 * Owns       nothing; all is borrowed, and the supervisor's
 *
 * Readiness tells a load balancer whether to send new clients here. It is false until every worker
 * has had its link to Redis; after that an outage of Redis leaves it true, since all nodes share
 * that Redis: false everywhere would take the whole site away. ready-needs-redis decides otherwise.
 */
#ifndef PROGRESSD_BROKER_PROCESS_NODE_H
#define PROGRESSD_BROKER_PROCESS_NODE_H

#include "broker/config/config.h"
#include "broker/process/generation.h"
#include "common/metrics.h"

enum node_phase {
    NODE_STARTING, /* until all workers have said "ready" for the first time */
    NODE_RUNNING,
    NODE_LEAVING, /* serves and accepts, and is not ready: load balancers look elsewhere */
    NODE_STOPPING,
};

struct node {
    enum node_phase phase;
    bool had_redis; /* every worker had its link: set once, by node_readiness() */
    uint64_t started_at_s;
    struct config_listeners listen; /* with their real ports */
    bool redis_embedded;
    const struct metrics_page *page;
    const struct generation *generation; /* the one that serves newcomers */
    const struct list *draining;         /* of generations that are stopping */
};

enum node_readiness { NODE_READY, NODE_DEGRADED, NODE_NOT_READY };

/* Whether clients should come here; *ret_why says why not, or "ready". */
enum node_readiness node_readiness(struct node *node, const char **ret_why);

/* Appends the metrics of all processes. */
void node_write_metrics(const struct node *node, struct text *text);

/* Appends the picture as one JSON object. */
void node_write_status(struct node *node, struct text *text);

#endif
