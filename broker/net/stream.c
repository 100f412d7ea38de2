#include "broker/net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* ── The plain transport ─────────────────────────────────────────────────────────────────────── */

static ssize_t plain_read(struct stream *stream, uint8_t *buffer, size_t len)
{
    ssize_t n;

    do {
        n = recv(stream->fd, buffer, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        return UV_EOF;
    }
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    return n;
}

static ssize_t plain_writev(struct stream *stream, const struct iovec *vector, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = (size_t)count};
    ssize_t n;

    do {
        n = count == 1 ? send(stream->fd, vector->iov_base, vector->iov_len, MSG_NOSIGNAL)
                       : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    return n;
}

static void plain_shutdown(struct stream *stream)
{
    (void)shutdown(stream->fd, SHUT_WR);
}

const struct stream_transport stream_plain = {
    .read = plain_read,
    .writev = plain_writev,
    .shutdown = plain_shutdown,
};

/* ── Readiness ───────────────────────────────────────────────────────────────────────────────── */

static void on_poll(uv_poll_t *poll, int status, int events);

/* Tells the loop what the owner waits for. A socket is nearly always writable: so input that it
 * doesn't show comes in the next turn. While nothing is read, the peer's end is looked out for,
 * since only what the loop watches can be seen to break. */
static void update_interest(struct stream *stream)
{
    const bool wants_input = stream->wants_read && !stream->connecting;
    const bool waits = stream->is_held && stream->awaits_input;
    const bool wants_turn = ((stream->wants_write || stream->is_held) && !waits) ||
                            stream->connecting || (wants_input && stream->has_input);
    const bool looks_out = !wants_input && !waits && !stream->connecting && !stream->peer_ended &&
                           stream->events->on_broken;
    const int wanted = (wants_input || waits ? UV_READABLE : 0) | (wants_turn ? UV_WRITABLE : 0) |
                       (looks_out ? UV_DISCONNECT : 0);

    assert(!uv_is_closing((uv_handle_t *)&stream->poll));
    if (wanted == stream->interest) {
        return; /* to say it again would cost two system calls */
    }
    stream->interest = (uint8_t)wanted;
    if (wanted) {
        /* Fails only for a closed descriptor or handle. */
        int rc = uv_poll_start(&stream->poll, wanted, on_poll);
        assert(rc == 0);
        (void)rc;
    } else {
        uv_poll_stop(&stream->poll);
    }
}

static bool is_open(const struct stream *stream)
{
    return !uv_is_closing((const uv_handle_t *)&stream->poll);
}

/* A failure shows as an error of the poll, which says only EBADF: the socket knows what it was. */
static void finish_connecting(struct stream *stream, int status)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    stream->connecting = false;
    stream->interest = 0; /* an error has stopped the poll */
    update_interest(stream);
    stream->events->on_connected(stream, error != 0 ? -error : status);
}

/* Goes on with what is held. An error shows in the owner's next write. */
static void flush_held(struct stream *stream)
{
    if (stream->is_held && stream->transport->flush(stream) < 0) {
        stream->is_held = false;
    }
}

static void take_writable(struct stream *stream)
{
    flush_held(stream);
    if (!stream->is_held && stream->wants_write) {
        stream->wants_write = false;
        stream->events->on_writable(stream);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = CONTAINER_OF(poll, struct stream, poll);

    if (stream->connecting) {
        finish_connecting(stream, status);
        return;
    }
    /* An error of the poll (EPOLLERR) has stopped it. It shows in a read or write; but perhaps not
     * in the next one, since what came before the error is read first. */
    if (status < 0) {
        stream->interest = 0;
        if (!stream->wants_read && !stream->wants_write && stream->events->on_broken) {
            stream->events->on_broken(stream);
            return;
        }
        events = UV_READABLE | UV_WRITABLE;
    }
    stream->peer_ended = stream->peer_ended || (events & UV_DISCONNECT);
    if ((events & UV_WRITABLE) || (stream->is_held && stream->awaits_input)) {
        take_writable(stream);
    }
    if (is_open(stream) && stream->wants_read && ((events & UV_READABLE) || stream->has_input)) {
        stream->events->on_readable(stream);
    }
    if (is_open(stream)) {
        update_interest(stream);
    }
}

int stream_open(struct stream *stream, uv_loop_t *loop, int fd, const struct stream_events *events)
{
    int rc = uv_poll_init(loop, &stream->poll, fd);

    if (rc < 0) {
        close(fd);
        return rc;
    }
    stream->events = events;
    stream->transport = &stream_plain;
    stream->fd = fd;
    stream->connecting = stream->wants_read = stream->wants_write = false;
    stream->has_input = stream->is_held = stream->awaits_input = stream->peer_ended = false;
    stream->transport_state = NULL;
    stream->interest = 0;
    return 0;
}

void stream_set_transport(struct stream *stream, const struct stream_transport *transport,
                          void *state, bool awaits_input)
{
    assert(!stream->is_held && !stream->has_input);
    stream->transport = transport;
    stream->transport_state = state;
    stream->is_held = true;
    stream->awaits_input = awaits_input;
    update_interest(stream);
}

int stream_connect(struct stream *stream, uv_loop_t *loop, const struct sockaddr *address,
                   socklen_t address_len, const struct stream_events *events)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, rc;

    if (fd < 0) {
        return -errno;
    }
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (connect(fd, address, address_len) < 0 && errno != EINPROGRESS) {
        rc = -errno;
        close(fd);
        return rc;
    }
    rc = stream_open(stream, loop, fd, events);
    if (rc < 0) {
        return rc;
    }
    stream->connecting = true;
    update_interest(stream);
    return 0;
}

void stream_want_read(struct stream *stream, bool wanted)
{
    if (stream->wants_read != wanted) {
        stream->wants_read = wanted;
        update_interest(stream);
    }
}

void stream_want_write(struct stream *stream)
{
    if (!stream->wants_write) {
        stream->wants_write = true;
        update_interest(stream);
    }
}

ssize_t stream_read(struct stream *stream, size_t max, uint8_t **ret_data)
{
    static uint8_t buffer[STREAM_READ_MAX]; /* a process has one loop, and reads one at a time */

    assert(max <= sizeof(buffer));
    ssize_t n = stream->transport->read(stream, buffer, max);
    if (n > 0) {
        *ret_data = buffer;
    }
    return n;
}

ssize_t stream_writev(struct stream *stream, const struct iovec *vector, int count)
{
    ssize_t n;

    if (stream->is_held) {
        return 0;
    }
    n = stream->transport->writev(stream, vector, count);
    if (stream->is_held) {
        update_interest(stream);
    }
    return n;
}

void stream_shutdown(struct stream *stream)
{
    assert(!stream->is_held);
    stream->transport->shutdown(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct stream *stream = CONTAINER_OF(handle, struct stream, poll);

    stream->events->on_closed(stream);
}

void stream_close(struct stream *stream)
{
    if (is_open(stream)) {
        if (stream->transport->close) {
            stream->transport->close(stream);
        }
        uv_close((uv_handle_t *)&stream->poll, on_handle_closed);
        close(stream->fd);
        stream->fd = -1;
    }
}
