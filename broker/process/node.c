#include "broker/process/node.h"

#include <inttypes.h>
#include <time.h>

#include "common/utc_time.h"

static uint64_t gauge(const struct node *node, uint32_t slot, enum metric metric)
{
    return metric_read(metrics_slot(node->page, slot), metric);
}

/* How many workers' slots have the gauge above zero. */
static uint32_t count_workers(const struct node *node, enum metric metric)
{
    const struct generation *generation = node->generation;
    uint32_t count = 0;

    for (uint32_t i = 0; i < generation->workers; i++) {
        count += gauge(node, generation->children[i].slot, metric) > 0;
    }
    return count;
}

static uint32_t count_ready(const struct node *node)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < node->generation->workers; i++) {
        count += node->generation->children[i].state == CHILD_READY;
    }
    return count;
}

/* ── Readiness ───────────────────────────────────────────────────────────────────────────────── */

enum node_readiness node_readiness(struct node *node, const char **ret_why)
{
    const uint32_t workers = node->generation->workers;
    const uint32_t links_up = count_workers(node, METRIC_LINKS_UP);
    /* A counter, so a link that came and went since the last question counts. */
    const bool all_had_link = count_workers(node, METRIC_LINK_CONNECTS) == workers;

    node->had_redis = node->had_redis || all_had_link;
    *ret_why = node->phase == NODE_STARTING                              ? "starting"
               : node->phase >= NODE_LEAVING                             ? "stopping"
               : !node->had_redis                                        ? "no link to Redis yet"
               : count_ready(node) == 0                                  ? "no worker runs"
               : count_workers(node, METRIC_ACCEPTING_PAUSED) == workers ? "accepting is paused"
               : links_up == 0 && node->generation->config->ready_needs_redis ? "no link to Redis"
                                                                              : NULL;
    if (*ret_why) {
        return NODE_NOT_READY;
    }
    *ret_why = links_up < workers ? "degraded" : "ready";
    return links_up < workers ? NODE_DEGRADED : NODE_READY;
}

/* ── Metrics ─────────────────────────────────────────────────────────────────────────────────── */

void node_write_metrics(const struct node *node, struct text *text)
{
    uint32_t slots[METRICS_MAX_SLOTS], count = 0;

    for (uint32_t i = 0; i < node->generation->workers; i++) {
        slots[count++] = node->generation->children[i].slot;
    }
    LIST_EACH (link, node->draining) {
        const struct generation *generation = CONTAINER_OF(link, struct generation, link);

        for (uint32_t i = 0; i < generation->workers; i++) {
            slots[count++] = generation->children[i].slot;
        }
    }
    metrics_write_prometheus(text, node->page, slots, count);
}

/* ── The picture ─────────────────────────────────────────────────────────────────────────────── */

static const char *json_bool(bool value)
{
    return value ? "true" : "false";
}

static void write_string(struct text *text, const char *string)
{
    text_json_string(text, string, strlen(string));
}

/* The members that all processes have; the object stays open. */
static void write_process(const struct node *node, const struct child_process *child,
                          struct text *text)
{
    char started[UTC_TIME_SIZE];

    utc_time_format(child->started_at_s * 1000, started);
    text_printf(text,
                "{\"slot\":%" PRIu32 ",\"pid\":%d,\"state\":\"%s\",\"startedAt\":\"%s\","
                "\"restarts\":%" PRIu32 ",\"linkUp\":%s",
                child->slot, child->pid, state_name(&child_machine, child->state), started,
                child->restarts, json_bool(gauge(node, child->slot, METRIC_LINKS_UP) > 0));
}

static void write_worker(const struct node *node, const struct child_process *worker,
                         struct text *text)
{
    static const struct {
        const char *name;
        enum metric metric;
    } members[] = {
        {"connections", METRIC_CONNECTIONS},
        {"websocketConnections", METRIC_WEBSOCKET_CONNECTIONS},
        {"subscriptions", METRIC_SUBSCRIPTIONS},
        {"tasks", METRIC_TASKS_WATCHED},
    };

    write_process(node, worker, text);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        text_printf(text, ",\"%s\":%" PRIu64, members[i].name,
                    gauge(node, worker->slot, members[i].metric));
    }
    text_printf(text, ",\"acceptingPaused\":%s}",
                json_bool(gauge(node, worker->slot, METRIC_ACCEPTING_PAUSED) > 0));
}

static void write_workers(const struct node *node, const struct generation *generation,
                          const char *separator, struct text *text)
{
    for (uint32_t i = 0; i < generation->workers; i++) {
        text_puts(text, i > 0 ? "," : separator);
        write_worker(node, &generation->children[i], text);
    }
}

static void write_recorder(const struct node *node, struct text *text)
{
    const struct child_process *recorder = generation_recorder(node->generation);

    if (!recorder) {
        text_puts(text, "null");
        return;
    }
    write_process(node, recorder, text);
    text_printf(text, ",\"active\":%s}",
                json_bool(gauge(node, recorder->slot, METRIC_RECORDER_ACTIVE) > 0));
}

/* The server without user and password. */
static void write_redis(const struct node *node, struct text *text)
{
    const struct redis_url *redis = &node->generation->config->redis;

    text_printf(text, "{\"embedded\":%s,\"server\":", json_bool(node->redis_embedded));
    if (redis->kind == REDIS_URL_TCP) {
        text_puts(text, "\"");
        text_printf(text, strchr(redis->host, ':') ? "[%s]:%u\"" : "%s:%u\"", redis->host,
                    (unsigned)redis->port);
    } else {
        write_string(text, redis->path ? redis->path : "");
    }
    text_puts(text, "}");
}

void node_write_status(struct node *node, struct text *text)
{
    char started[UTC_TIME_SIZE];
    const char *why;
    const bool ready = node_readiness(node, &why) != NODE_NOT_READY;

    utc_time_format(node->started_at_s * 1000, started);
    text_printf(text,
                "{\"version\":\"" PROGRESSD_VERSION "\",\"startedAt\":\"%s\",\"uptimeSeconds\":"
                "%" PRIu64 ",\"ready\":%s,\"readiness\":\"%s\",\"listen\":\"",
                started, (uint64_t)time(NULL) - node->started_at_s, json_bool(ready), why);
    config_listeners_format(&node->listen, text);
    text_puts(text, "\",\"workers\":[");
    write_workers(node, node->generation, "", text);
    text_puts(text, "],\"draining\":[");
    const char *separator = "";
    LIST_EACH (link, node->draining) {
        write_workers(node, CONTAINER_OF(link, struct generation, link), separator, text);
        separator = ",";
    }
    text_puts(text, "],\"recorder\":");
    write_recorder(node, text);
    text_puts(text, ",\"redis\":");
    write_redis(node, text);
    text_puts(text, "}\n");
}
