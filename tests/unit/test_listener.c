#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/net/listener.h"

/* ── A listener, its owner, and clients that connect ─────────────────────────────────────────── */

#define CLIENTS_MAX 300

struct fixture {
    uv_loop_t loop;
    struct timer_wheel wheel;
    struct metrics_slot metrics;
    struct listener listener;
    struct sockaddr_in address;
    int fd;
    bool is_over_share;
    int closed;
    int accepted[CLIENTS_MAX], accepted_count;
    int clients[CLIENTS_MAX], client_count;
};

static bool is_over_share(void *owner)
{
    struct fixture *fixture = owner;

    return fixture->is_over_share;
}

static void on_accept(void *owner, int fd, const struct sockaddr *peer)
{
    struct fixture *fixture = owner;

    cr_assert_eq(peer->sa_family, AF_INET);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    fixture->accepted[fixture->accepted_count++] = fd;
}

static void on_closed(void *owner)
{
    ((struct fixture *)owner)->closed++;
}

static const struct listener_events events = {is_over_share, on_accept, on_closed};

static void set_up(struct fixture *fixture)
{
    socklen_t len = sizeof(fixture->address);

    memset(fixture, 0, sizeof(*fixture));
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    timer_wheel_init(&fixture->wheel, uv_now(&fixture->loop));
    fixture->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fixture->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fixture->fd, (struct sockaddr *)&fixture->address, len), 0);
    cr_assert_eq(getsockname(fixture->fd, (struct sockaddr *)&fixture->address, &len), 0);
    cr_assert_eq(listen(fixture->fd, CLIENTS_MAX), 0);
    cr_assert_eq(listener_open(&fixture->listener, &fixture->loop, fixture->fd, &fixture->wheel,
                               &fixture->metrics, &events, fixture),
                 0);
}

static void turn(struct fixture *fixture)
{
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

/* Turns the wheel by hand. */
static void pass(struct fixture *fixture, uint64_t ms)
{
    timer_wheel_advance(&fixture->wheel, uv_now(&fixture->loop) + ms);
}

static bool is_paused(const struct fixture *fixture)
{
    return metric_read(&fixture->metrics, METRIC_ACCEPTING_PAUSED) > 0;
}

static void connect_clients(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        cr_assert_geq(fd, 0);
        cr_assert_eq(connect(fd, (struct sockaddr *)&fixture->address, sizeof(fixture->address)),
                     0);
        fixture->clients[fixture->client_count++] = fd;
    }
}

static void tear_down(struct fixture *fixture)
{
    listener_close(&fixture->listener, true);
    listener_close(&fixture->listener, true);
    listener_resume(&fixture->listener);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(fixture->closed, 1);
    cr_assert_eq(fixture->wheel.armed, 0);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    cr_assert_eq(fcntl(fixture->fd, F_GETFD), -1, "the descriptor is closed");
    for (int i = 0; i < fixture->accepted_count; i++) {
        close(fixture->accepted[i]);
    }
    for (int i = 0; i < fixture->client_count; i++) {
        close(fixture->clients[i]);
    }
}

/* ── Accepting ───────────────────────────────────────────────────────────────────────────────── */

Test(listener, accepts_who_comes)
{
    struct fixture fixture;

    set_up(&fixture);
    connect_clients(&fixture, 3);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 3);
    cr_assert(!is_paused(&fixture));
    tear_down(&fixture);
}

Test(listener, accepts_a_crowd_in_several_turns)
{
    struct fixture fixture;

    set_up(&fixture);
    connect_clients(&fixture, 200);
    turn(&fixture);
    cr_assert_lt(fixture.accepted_count, 200, "so that others are served in between");
    for (int i = 0; i < 10; i++) {
        turn(&fixture);
    }
    cr_assert_eq(fixture.accepted_count, 200);
    tear_down(&fixture);
}

Test(listener, a_client_that_has_gone_again_stops_nothing)
{
    struct fixture fixture;

    set_up(&fixture);
    connect_clients(&fixture, 2);
    cr_assert_eq(setsockopt(fixture.clients[0], SOL_SOCKET, SO_LINGER,
                            &(struct linger){.l_onoff = 1}, sizeof(struct linger)),
                 0);
    close(fixture.clients[0]);
    fixture.clients[0] = -1;
    turn(&fixture);
    cr_assert_geq(fixture.accepted_count, 1);
    cr_assert(!is_paused(&fixture));
    tear_down(&fixture);
}

/* ── Pauses ──────────────────────────────────────────────────────────────────────────────────── */

/* No further descriptor can be opened. */
static struct rlimit use_up_descriptors(void)
{
    struct rlimit limit, none;
    int lowest_free = dup(0);

    close(lowest_free);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)lowest_free;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    return limit;
}

Test(listener, stops_when_descriptors_run_out_and_goes_on_when_one_is_free)
{
    struct fixture fixture;
    struct rlimit limit;

    set_up(&fixture);
    connect_clients(&fixture, 2);
    limit = use_up_descriptors();
    turn(&fixture);
    turn(&fixture);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(fixture.accepted_count, 0);
    cr_assert(is_paused(&fixture));
    cr_assert(!uv_is_active((uv_handle_t *)&fixture.listener.poll));
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 0, "nobody told it");
    listener_resume(&fixture.listener);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 2, "who waited wasn't turned away");
    tear_down(&fixture);
}

Test(listener, looks_again_after_a_second_whoever_freed_the_descriptor)
{
    struct fixture fixture;
    struct rlimit limit;

    set_up(&fixture);
    connect_clients(&fixture, 2);
    limit = use_up_descriptors();
    turn(&fixture);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    pass(&fixture, 500);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 0);
    pass(&fixture, 1200);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 2);
    cr_assert(!is_paused(&fixture));
    tear_down(&fixture);
}

/* ── The share of each worker ────────────────────────────────────────────────────────────────── */

Test(listener, over_its_share_leaves_one_tick_to_the_others_and_then_accepts)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.is_over_share = true;
    connect_clients(&fixture, 2);
    turn(&fixture);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 0);
    cr_assert(!uv_is_active((uv_handle_t *)&fixture.listener.poll));
    cr_assert(!is_paused(&fixture), "no pause that anybody should worry about");
    pass(&fixture, 2 * TIMER_WHEEL_TICK_MS);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 2, "nobody else took them");
    connect_clients(&fixture, 1);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 2, "the next ones are again for the others first");
    tear_down(&fixture);
}

Test(listener, connections_that_end_don_t_take_the_others_turn_away)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.is_over_share = true;
    connect_clients(&fixture, 1);
    turn(&fixture);
    listener_resume(&fixture.listener);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 0);
    pass(&fixture, 2 * TIMER_WHEEL_TICK_MS);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 1);
    tear_down(&fixture);
}

Test(listener, within_its_share_accepts_at_once)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.is_over_share = true;
    connect_clients(&fixture, 1);
    turn(&fixture);
    fixture.is_over_share = false;
    pass(&fixture, 2 * TIMER_WHEEL_TICK_MS);
    turn(&fixture);
    connect_clients(&fixture, 1);
    turn(&fixture);
    cr_assert_eq(fixture.accepted_count, 2);
    tear_down(&fixture);
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

static int try_to_connect(struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error =
        connect(fd, (struct sockaddr *)&fixture->address, sizeof(fixture->address)) < 0 ? errno : 0;

    close(fd);
    return error;
}

Test(listener, takes_who_waits_when_it_closes_and_who_comes_is_refused)
{
    for (int over_share = 0; over_share < 2; over_share++) {
        struct fixture fixture;

        set_up(&fixture);
        fixture.is_over_share = over_share;
        connect_clients(&fixture, 1);
        turn(&fixture); /* over the share it yields now */
        connect_clients(&fixture, 100);
        listener_close(&fixture.listener, true);
        cr_assert_eq(fixture.accepted_count, 101);
        cr_assert_eq(try_to_connect(&fixture), ECONNREFUSED, "nobody else has the socket");
        tear_down(&fixture);
    }
}

Test(listener, can_be_closed_while_descriptors_are_out)
{
    struct fixture fixture;
    struct rlimit limit;

    set_up(&fixture);
    connect_clients(&fixture, 1);
    limit = use_up_descriptors();
    turn(&fixture);
    cr_assert(is_paused(&fixture));
    listener_close(&fixture.listener, true);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert(!is_paused(&fixture));
    tear_down(&fixture);
}

Test(listener, leaves_who_waits_to_the_others_when_told_so)
{
    struct fixture fixture;

    set_up(&fixture);
    connect_clients(&fixture, 10);
    listener_close(&fixture.listener, false);
    cr_assert_eq(fixture.accepted_count, 0);
    tear_down(&fixture);
}

Test(listener, over_its_share_takes_all_that_wait_once_the_others_did_not)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.is_over_share = true;
    connect_clients(&fixture, 200); /* more than a turn takes */
    turn(&fixture);
    pass(&fixture, 2 * TIMER_WHEEL_TICK_MS);
    for (int i = 0; i < 10; i++) {
        turn(&fixture);
    }
    cr_assert_eq(fixture.accepted_count, 200, "without a pause for each turn");
    tear_down(&fixture);
}

Test(listener, moves_between_states_as_its_header_says)
{
    static const char *const allowed[LISTENER_CLOSED + 1][4] = {
        [LISTENER_ACCEPTING] = {"yielding", "exhausted", "closed"},
        [LISTENER_YIELDING] = {"insisting", "closed"},
        [LISTENER_INSISTING] = {"accepting", "exhausted", "closed"},
        [LISTENER_EXHAUSTED] = {"accepting", "closed"},
    };

    for (unsigned from = 0; from <= LISTENER_CLOSED; from++) {
        for (unsigned to = 0; to <= LISTENER_CLOSED; to++) {
            bool expected = false;

            for (int i = 0; i < 4 && allowed[from][i]; i++) {
                expected =
                    expected || strcmp(allowed[from][i], state_name(&listener_machine, to)) == 0;
            }
            cr_assert_eq(state_may_move(&listener_machine, from, to), expected, "%u to %u", from,
                         to);
        }
    }
}
