#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/process/node.h"
#include "proto/json.h"

#define WORKERS 2
#define RECORDER WORKERS

static struct config config;
static struct metrics_page page;
static struct child_process children[WORKERS + 1];
static struct generation generation;
static struct list draining;
static struct node node;

/* A node that is ready, with links that are up. */
static void set_up(void)
{
    int fd;

    cr_assert_eq(metrics_page_create(WORKERS + 2, &page, &fd), 0);
    close(fd);
    config = (struct config){.workers = WORKERS,
                             .recorder = true,
                             .redis = {.kind = REDIS_URL_TCP,
                                       .url = "redis://me:secret@db:6379",
                                       .host = "db",
                                       .port = 6379,
                                       .user = "me",
                                       .password = "secret"}};
    for (uint32_t i = 0; i < ARRAY_LEN(children); i++) {
        children[i] = (struct child_process){.slot = i, .state = CHILD_READY, .pid = 100 + (int)i};
        metric_set(metrics_slot(&page, i), METRIC_LINKS_UP, 1);
        metric_set(metrics_slot(&page, i), METRIC_LINK_CONNECTS, 1);
    }
    generation = (struct generation){
        .config = &config, .children = children, .workers = WORKERS, .count = WORKERS + 1};
    list_init(&draining);
    node = (struct node){.phase = NODE_RUNNING,
                         .started_at_s = 1795417387,
                         .listen = {{{{CONFIG_ADDRESS_IP4, "127.0.0.1", 8080}, false}}, 1},
                         .page = &page,
                         .generation = &generation,
                         .draining = &draining};
}

static void tear_down(void)
{
    metrics_page_unmap(&page);
}

TestSuite(node, .init = set_up, .fini = tear_down);

static void set_workers(enum metric metric, uint64_t value)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        metric_set(metrics_slot(&page, i), metric, value);
    }
}

static void expect(enum node_readiness readiness, const char *why)
{
    const char *found;

    cr_assert_eq(node_readiness(&node, &found), readiness, "because: %s", found);
    cr_assert_str_eq(found, why);
}

Test(node, is_ready_when_all_is_well)
{
    expect(NODE_READY, "ready");
}

Test(node, is_not_ready_while_it_starts_or_stops)
{
    node.phase = NODE_STARTING;
    expect(NODE_NOT_READY, "starting");
    node.phase = NODE_LEAVING;
    expect(NODE_NOT_READY, "stopping");
    node.phase = NODE_STOPPING;
    expect(NODE_NOT_READY, "stopping");
}

Test(node, is_not_ready_before_every_worker_had_its_link)
{
    metric_set(metrics_slot(&page, 1), METRIC_LINK_CONNECTS, 0);
    metric_set(metrics_slot(&page, 1), METRIC_LINKS_UP, 0);
    expect(NODE_NOT_READY, "no link to Redis yet");
}

Test(node, had_its_links_even_if_nobody_asked_while_they_were_up)
{
    set_workers(METRIC_LINKS_UP, 0);
    expect(NODE_DEGRADED, "degraded");
}

Test(node, stays_ready_in_an_outage_of_redis)
{
    expect(NODE_READY, "ready");
    set_workers(METRIC_LINKS_UP, 0);
    expect(NODE_DEGRADED, "degraded");
    set_workers(METRIC_LINKS_UP, 1);
    expect(NODE_READY, "ready");
}

Test(node, is_degraded_when_one_worker_has_no_link)
{
    metric_set(metrics_slot(&page, 0), METRIC_LINKS_UP, 0);
    expect(NODE_DEGRADED, "degraded");
}

Test(node, does_not_take_the_recorders_link_for_a_workers)
{
    config.ready_needs_redis = true;
    set_workers(METRIC_LINKS_UP, 0);
    expect(NODE_NOT_READY, "no link to Redis");
}

Test(node, needs_redis_if_told_so_but_not_in_every_worker)
{
    config.ready_needs_redis = true;
    metric_set(metrics_slot(&page, 0), METRIC_LINKS_UP, 0);
    expect(NODE_DEGRADED, "degraded");
}

Test(node, is_not_ready_while_all_workers_pause_accepting)
{
    metric_set(metrics_slot(&page, 0), METRIC_ACCEPTING_PAUSED, 1);
    expect(NODE_READY, "ready");
    set_workers(METRIC_ACCEPTING_PAUSED, 1);
    expect(NODE_NOT_READY, "accepting is paused");
}

Test(node, is_not_ready_without_a_worker)
{
    children[0].state = CHILD_DEAD;
    expect(NODE_READY, "ready");
    children[1].state = CHILD_PAUSING;
    expect(NODE_NOT_READY, "no worker runs");
    children[1].state = CHILD_SILENT;
    expect(NODE_NOT_READY, "no worker runs");
}

/* ── The picture ─────────────────────────────────────────────────────────────────────────────── */

static struct text written;

static const char *status(void)
{
    struct json_value value;
    size_t offset;

    node_write_status(&node, &written);
    cr_assert_not(text_failed(&written));
    cr_assert_eq(json_check((struct span){written.data, written.len}, &value, &offset), 0,
                 "not JSON at %zu: %s", offset, written.data);
    return written.data;
}

Test(node, shows_its_workers_and_what_they_count)
{
    metric_set(metrics_slot(&page, 1), METRIC_CONNECTIONS, 7);
    children[1].restarts = 3;
    const char *text = status();
    cr_assert_not_null(strstr(text, "\"slot\":1,\"pid\":101,\"state\":\"ready\""), "%s", text);
    cr_assert_not_null(strstr(text, "\"restarts\":3,\"linkUp\":true,\"connections\":7"));
    cr_assert_not_null(strstr(text, "\"listen\":\"127.0.0.1:8080\""));
    text_deinit(&written);
}

Test(node, shows_the_server_without_user_and_password)
{
    const char *text = status();
    cr_assert_not_null(strstr(text, "\"redis\":{\"embedded\":false,\"server\":\"db:6379\"}"));
    cr_assert_null(strstr(text, "secret"));
    text_deinit(&written);
}

Test(node, writes_paths_and_ipv6_addresses_so_that_they_can_be_read)
{
    config.redis.host = "::1";
    cr_assert_not_null(strstr(status(), "\"server\":\"[::1]:6379\""));
    text_deinit(&written);
    config.redis = (struct redis_url){.kind = REDIS_URL_UNIX, .path = "/a \"b\"/redis.sock"};
    node.redis_embedded = true;
    cr_assert_not_null(
        strstr(status(), "{\"embedded\":true,\"server\":\"/a \\\"b\\\"/redis.sock\"}"));
    text_deinit(&written);
}

Test(node, shows_null_for_a_recorder_that_is_off)
{
    config.recorder = false;
    cr_assert_not_null(strstr(status(), "\"recorder\":null"));
    text_deinit(&written);
}

Test(node, shows_before_it_has_started_that_it_is_not_ready)
{
    node.phase = NODE_STARTING;
    config.redis = (struct redis_url){.kind = REDIS_URL_NONE};
    cr_assert_not_null(strstr(status(), "\"ready\":false,\"readiness\":\"starting\""));
    text_deinit(&written);
}
