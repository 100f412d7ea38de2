#include "broker/net/listener.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

#define MODULE "listener"

/* Accepted in one turn at the most, so that those who are in are served in between. */
#define ACCEPTS_A_TURN 64

/* And when it ends: a whole queue (net.core.somaxconn). */
#define ACCEPTS_AT_THE_END 4096

#define EXHAUSTED_PAUSE_MS 1000

STATE_MACHINE(listener_machine, MODULE, LISTENER_STATES);

static void listener_on_readable(uv_poll_t *poll, int status, int events);

/* The only writer of the state: with it the poll runs or doesn't, and so does the timer. */
static void listener_set_state(struct listener *listener, enum listener_state state)
{
    const uint64_t now = uv_now(listener->poll.loop);

    state_move(&listener_machine, &listener->state, state, NULL, 0);
    metric_set(listener->metrics, METRIC_ACCEPTING_PAUSED, state == LISTENER_EXHAUSTED);
    if (state == LISTENER_YIELDING || state == LISTENER_EXHAUSTED) {
        uv_poll_stop(&listener->poll);
        timer_set(listener->wheel, &listener->timer,
                  state == LISTENER_YIELDING ? now : now + EXHAUSTED_PAUSE_MS);
    } else if (state != LISTENER_CLOSED) {
        timer_cancel(listener->wheel, &listener->timer);
        uv_poll_start(&listener->poll, UV_READABLE, listener_on_readable);
    }
}

void listener_resume(struct listener *listener)
{
    if (listener->state == LISTENER_EXHAUSTED) {
        listener_set_state(listener, LISTENER_ACCEPTING);
    }
}

static void listener_on_timer(struct timer *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, timer);

    listener_set_state(listener, listener->state == LISTENER_YIELDING ? LISTENER_INSISTING
                                                                      : LISTENER_ACCEPTING);
}

/* Once for each time that it happens, not for each attempt meanwhile. */
static void complain(struct listener *listener, int error)
{
    if (!listener->complained) {
        listener->complained = true;
        log_event(LOG_WARN, MODULE, "accepting pauses", LOG_TEXT("why", strerror(error)));
    }
}

static bool is_exhaustion(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Accepts up to `max`. 0: so many; or the errno that ended it, EAGAIN when nobody waits. */
static int accept_some(struct listener *listener, int max)
{
    for (int i = 0; i < max; i++) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &peer_len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            listener->complained = false;
            listener->events->on_accept(listener->owner, fd, (struct sockaddr *)&peer);
        } else if (errno == EAGAIN || is_exhaustion(errno)) {
            return errno;
        } /* else: that client has gone already (accept(2), "Error handling") */
    }
    return 0;
}

static void listener_on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);

    if (listener->state == LISTENER_ACCEPTING && listener->events->is_over_share(listener->owner)) {
        listener_set_state(listener, LISTENER_YIELDING);
        return;
    }
    int error = accept_some(listener, ACCEPTS_A_TURN);

    if (is_exhaustion(error)) {
        complain(listener, error);
        listener_set_state(listener, LISTENER_EXHAUSTED);
    } else if (error == EAGAIN && listener->state == LISTENER_INSISTING) {
        listener_set_state(listener, LISTENER_ACCEPTING);
    }
}

int listener_open(struct listener *listener, uv_loop_t *loop, int fd, struct timer_wheel *wheel,
                  struct metrics_slot *metrics, const struct listener_events *events, void *owner)
{
    int r = uv_poll_init(loop, &listener->poll, fd);

    if (r < 0) {
        close(fd);
        return r;
    }
    listener->wheel = wheel;
    listener->metrics = metrics;
    listener->events = events;
    listener->owner = owner;
    listener->fd = fd;
    listener->state = LISTENER_ACCEPTING;
    listener->complained = false;
    timer_init(&listener->timer, listener_on_timer);
    return uv_poll_start(&listener->poll, UV_READABLE, listener_on_readable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *listener = CONTAINER_OF(handle, struct listener, poll);

    listener->events->on_closed(listener->owner);
}

void listener_close(struct listener *listener, bool take_waiting)
{
    if (listener->state != LISTENER_CLOSED) {
        if (take_waiting) {
            (void)accept_some(listener, ACCEPTS_AT_THE_END);
        }
        listener_set_state(listener, LISTENER_CLOSED);
        timer_cancel(listener->wheel, &listener->timer);
        uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
        close(listener->fd);
        listener->fd = -1;
    }
}
