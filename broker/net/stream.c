#include "broker/net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events);

/* Tells the loop what the owner waits for. */
static void update_interest(struct stream *stream)
{
    int wanted = (stream->wants_read ? UV_READABLE : 0) |
                 (stream->wants_write || stream->connecting ? UV_WRITABLE : 0);

    assert(!uv_is_closing((uv_handle_t *)&stream->poll));
    if (wanted) {
        /* Fails only for a closed descriptor or handle. */
        int r = uv_poll_start(&stream->poll, wanted, on_poll);
        assert(r == 0);
        (void)r;
    } else {
        uv_poll_stop(&stream->poll);
    }
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
    update_interest(stream);
    stream->events->on_connected(stream, error != 0 ? -error : status);
}

static bool is_open(const struct stream *stream)
{
    return !uv_is_closing((const uv_handle_t *)&stream->poll);
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
        update_interest(stream);
        events = UV_READABLE | UV_WRITABLE;
    }
    if ((events & UV_WRITABLE) && stream->wants_write) {
        stream->wants_write = false;
        update_interest(stream);
        stream->events->on_writable(stream);
    }
    if ((events & UV_READABLE) && is_open(stream) && stream->wants_read) {
        stream->events->on_readable(stream);
    }
}

int stream_open(struct stream *stream, uv_loop_t *loop, int fd, const struct stream_events *events)
{
    int r = uv_poll_init(loop, &stream->poll, fd);

    if (r < 0) {
        close(fd);
        return r;
    }
    stream->events = events;
    stream->fd = fd;
    stream->read_max = STREAM_READ_MAX;
    stream->connecting = stream->wants_read = stream->wants_write = false;
    return 0;
}

int stream_connect(struct stream *stream, uv_loop_t *loop, const struct sockaddr *address,
                   socklen_t address_len, const struct stream_events *events)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, r;

    if (fd < 0) {
        return -errno;
    }
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (connect(fd, address, address_len) < 0 && errno != EINPROGRESS) {
        r = -errno;
        close(fd);
        return r;
    }
    r = stream_open(stream, loop, fd, events);
    if (r < 0) {
        return r;
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

ssize_t stream_read(struct stream *stream, uint8_t **ret_data)
{
    static uint8_t buffer[STREAM_READ_MAX]; /* a process has one loop, and reads one at a time */
    ssize_t n;

    do {
        n = recv(stream->fd, buffer, stream->read_max, 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        return UV_EOF;
    }
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    *ret_data = buffer;
    return n;
}

ssize_t stream_writev(struct stream *stream, const struct iovec *vector, int count)
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

void stream_shutdown(struct stream *stream)
{
    (void)shutdown(stream->fd, SHUT_WR);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct stream *stream = CONTAINER_OF(handle, struct stream, poll);

    stream->events->on_closed(stream);
}

void stream_close(struct stream *stream)
{
    if (is_open(stream)) {
        uv_close((uv_handle_t *)&stream->poll, on_handle_closed);
        close(stream->fd);
        stream->fd = -1;
    }
}
