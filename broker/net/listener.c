#include "broker/net/listener.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

#define MODULE "listener"

/* Accepted in one turn at the most, so that those who are in are served in between. */
#define ACCEPTS_A_TURN 64

#define EXHAUSTED_PAUSE_MS 1000

static void on_readable(uv_poll_t *poll, int status, int events);

static void pause_accepting(struct listener *listener, uint32_t for_ms)
{
    listener->paused = true;
    metric_set(listener->metrics, METRIC_ACCEPTING_PAUSED, 1);
    uv_poll_stop(&listener->poll);
    if (for_ms > 0) {
        timer_set(listener->wheel, &listener->timer, uv_now(listener->poll.loop) + for_ms);
    }
}

static void go_on(struct listener *listener)
{
    if (!listener->paused || uv_is_closing((uv_handle_t *)&listener->poll) ||
        !listener->events->may_accept(listener->owner)) {
        return;
    }
    listener->paused = false;
    metric_set(listener->metrics, METRIC_ACCEPTING_PAUSED, 0);
    timer_cancel(listener->wheel, &listener->timer);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

void listener_resume(struct listener *listener)
{
    if (!listener->deferred) { /* else the turn belongs to the others until the timer says so */
        go_on(listener);
    }
}

static void on_timer(struct timer *timer)
{
    go_on(CONTAINER_OF(timer, struct listener, timer));
}

/* One tick is what the others get to take the connections that wait. */
static bool leaves_it_to_others(struct listener *listener)
{
    if (listener->deferred || !listener->events->is_over_share(listener->owner)) {
        listener->deferred = false;
        return false;
    }
    listener->deferred = true;
    uv_poll_stop(&listener->poll);
    listener->paused = true;
    timer_set(listener->wheel, &listener->timer, uv_now(listener->poll.loop));
    return true;
}

/* Once for each time that it happens, not for each attempt meanwhile. */
static void complain(struct listener *listener, int error)
{
    if (!listener->exhausted) {
        listener->exhausted = true;
        log_event(LOG_WARN, MODULE, "accepting pauses", LOG_TEXT("why", strerror(error)));
    }
}

static bool is_exhaustion(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);

    if (leaves_it_to_others(listener)) {
        return;
    }
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        int fd;

        if (!listener->events->may_accept(listener->owner)) {
            pause_accepting(listener, 0);
            return;
        }
        fd = accept4(listener->fd, (struct sockaddr *)&peer, &peer_len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->exhausted = false;
            listener->events->on_accept(listener->owner, fd, (struct sockaddr *)&peer);
        } else if (is_exhaustion(errno)) {
            complain(listener, errno);
            pause_accepting(listener, EXHAUSTED_PAUSE_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else: that client has gone already (accept(2), "Error handling") */
    }
}

int listener_open(struct listener *listener, uv_loop_t *loop, int fd, struct timer_wheel *wheel,
                  struct metrics_slot *metrics, const struct listener_events *events, void *owner)
{
    int r = uv_poll_init(loop, &listener->poll, fd);

    if (r < 0) {
        return r;
    }
    listener->wheel = wheel;
    listener->metrics = metrics;
    listener->events = events;
    listener->owner = owner;
    listener->fd = fd;
    listener->paused = listener->deferred = listener->exhausted = false;
    timer_init(&listener->timer, on_timer);
    return uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *listener = CONTAINER_OF(handle, struct listener, poll);

    listener->events->on_closed(listener->owner);
}

void listener_close(struct listener *listener)
{
    if (!uv_is_closing((uv_handle_t *)&listener->poll)) {
        timer_cancel(listener->wheel, &listener->timer);
        uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    }
}
