#include "broker/process/generation.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>

#include "broker/config/config_load.h"
#include "tests/support/playing_child.h"

static struct loop loop;
static struct metrics_page page;
static struct generation_slots slots;
static struct generation_settings settings;
static int ready, lost, stopped;

static void on_ready(struct generation *generation)
{
    ready++;
}

static void on_worker_lost(struct generation *generation)
{
    lost++;
}

static void on_stopped(struct generation *generation)
{
    cr_assert_eq(generation->state, GENERATION_STOPPED);
    stopped++;
}

static const struct generation_events events = {on_ready, on_worker_lost, on_stopped};

static void set_up(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), fd;

    alarm(60);
    signal(SIGPIPE, SIG_IGN); /* as main() does: a child may be gone when it is told something */
    setenv("PLAYS", "good", 1);
    cr_assert_eq(loop_open(&loop, NULL), 0);
    cr_assert_eq(metrics_page_create(7, &page, &fd), 0); /* two of three children each, and one */
    slots.page = &page;
    static struct listen_sockets listen_sockets = {.count = 1};
    listen_sockets.fds[0] = null_fd;
    settings = (struct generation_settings){.loop = &loop,
                                            .slots = &slots,
                                            .metrics_fd = fd,
                                            .listen = &listen_sockets,
                                            .events = &events};
}

TestSuite(generation, .init = set_up);

static struct config *configured(char *workers)
{
    char *argv[] = {"progressd", "--workers", workers, NULL};
    char *environment[] = {"STATE_DIRECTORY=/tmp/test_generation", NULL};
    struct config *config;
    struct text message = TEXT_EMPTY;

    cr_assert_eq(config_load(3, argv, environment, &config, &message), 0, "%s", message.data);
    return config;
}

static struct generation *made(char *workers)
{
    struct generation *generation;

    cr_assert_eq(generation_new(&settings, configured(workers), &generation), 0);
    return generation;
}

static void run_until(const int *count, int wanted)
{
    while (*count < wanted) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

static void end(void)
{
    loop_close(&loop);
    loop_run(&loop);
    metrics_page_unmap(&page);
}

Test(generation, is_ready_with_its_last_worker_and_stops_with_its_last_child)
{
    struct generation *generation = made("2");

    cr_assert_eq(generation_start(generation), 0);
    cr_assert_eq(generation->state, GENERATION_STARTING);
    run_until(&ready, 1);
    cr_assert_eq(generation->state, GENERATION_READY);
    generation_stop(generation, 1012);
    generation_stop(generation, 1012);
    run_until(&stopped, 1);
    cr_assert_eq(lost, 0);
    generation_free(generation);
    end();
}

Test(generation, two_stand_side_by_side_on_slots_of_their_own)
{
    struct generation *old = made("2"), *new = made("2");
    struct config *third = configured("1");
    struct generation *none;

    for (uint32_t i = 0; i < old->count; i++) {
        cr_assert_eq(old->children[i].slot, i);
        cr_assert_eq(new->children[i].slot, 3 + i);
    }
    cr_assert_eq(generation_new(&settings, third, &none), GENERATION_NO_SLOTS);
    cr_assert_eq(generation_start(old), 0);
    run_until(&ready, 1);
    cr_assert_eq(generation_start(new), 0);
    run_until(&ready, 2);
    generation_stop(old, 1012);
    run_until(&stopped, 1);
    cr_assert_eq(new->children[0].state, CHILD_READY);
    generation_free(old);

    struct generation *next = made("2");
    cr_assert_eq(next->children[0].slot, 0, "slots are used again");
    generation_stop(next, 1012);
    cr_assert_eq(stopped, 2, "one that was not started stops at once");
    generation_free(next);
    generation_stop(new, 1012);
    run_until(&stopped, 3);
    generation_free(new);
    end();
}

Test(generation, a_worker_that_dies_is_told_and_its_gauges_are_zeroed)
{
    struct generation *generation = made("1");
    struct metrics_slot *slot = metrics_slot(&page, 0);

    cr_assert_eq(generation_start(generation), 0);
    run_until(&ready, 1);
    cr_assert_not(generation_is_linked(generation));
    metric_set(slot, METRIC_LINKS_UP, 1);
    cr_assert(generation_is_linked(generation));
    child_process_kill(&generation->children[0]);
    run_until(&lost, 1);
    cr_assert_not(generation_is_linked(generation));
    while (generation->children[0].state != CHILD_READY) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    cr_assert_eq(ready, 1, "ready is said once");
    generation_stop(generation, 1012);
    run_until(&stopped, 1);
    generation_free(generation);
    end();
}

Test(generation, signs_of_life_are_looked_for_in_the_metrics_page)
{
    struct generation *generation = made("1");
    uint64_t now = loop_now(&loop);

    setenv("PLAYS", "deaf", 1);
    cr_assert_eq(generation_start(generation), 0);
    run_until(&ready, 1);
    generation->config->worker_watchdog_ms = 1000;
    for (uint32_t i = 0; i < generation->count; i++) {
        generation->children[i].spawned_ms = 0;
        metrics_sign_of_life(metrics_slot(&page, i), now - 2000);
    }
    cr_assert_eq(generation_watch(generation, now), 0, "none counts from before that");
    metrics_sign_of_life(metrics_slot(&page, 0), now);
    cr_assert_eq(generation_watch(generation, 0), 1, "the recorder");
    generation_kill(generation);
    generation_stop(generation, 1012);
    run_until(&stopped, 1);
    generation_free(generation);
    end();
}
