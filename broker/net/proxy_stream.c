/* A header whose end isn't there yet is taken from the socket as it comes, for readiness tells of
 * bytes that lie there unread again and again. How much of what is there belongs to it is seen by
 * MSG_PEEK first. */
#include "broker/net/proxy_stream.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"

struct proxy_state {
    proxy_stream_header_fn on_header;
    int failed; /* a UV_E*, or UV_EOF; 0: it goes on */
    size_t len;
    uint8_t bytes[PROXY_HEADER_MAX];
};

static struct proxy_state *state_of(const struct stream *stream)
{
    return stream->transport_state;
}

static void proxy_close(struct stream *stream)
{
    mem_free(state_of(stream));
    stream->transport_state = NULL;
}

/* Takes from the socket what was seen there. */
static void consume(struct stream *stream, size_t len)
{
    struct proxy_state *state = state_of(stream);
    ssize_t n = recv(stream->fd, state->bytes + state->len, len, 0);

    assert(n == (ssize_t)len);
    (void)n;
    state->len += len;
}

/* The stream is plain again, and the header's owner has the word. */
static void finish(struct stream *stream, const struct proxy_header *header)
{
    proxy_stream_header_fn on_header = state_of(stream)->on_header;

    proxy_close(stream);
    stream->transport = &stream_plain;
    stream->is_held = stream->awaits_input = false;
    on_header(stream, header);
}

static void fail(struct stream *stream, int why)
{
    struct proxy_state *state = state_of(stream);

    state->failed = why;
    stream->is_held = stream->awaits_input = false;
    stream->has_input = true; /* the next read tells */
}

static int proxy_flush(struct stream *stream)
{
    struct proxy_state *state = state_of(stream);
    struct proxy_header header;
    size_t used;
    ssize_t n;

    do {
        n = recv(stream->fd, state->bytes + state->len, sizeof(state->bytes) - state->len,
                 MSG_PEEK);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            fail(stream, n == 0 ? UV_EOF : -errno);
        }
        return 0;
    }
    switch (proxy_header_parse(state->bytes, state->len + (size_t)n, &header, &used)) {
    case 0:
        consume(stream, used - state->len);
        finish(stream, &header);
        break;
    case PROXY_HEADER_MORE:
        consume(stream, (size_t)n);
        break;
    default:
        fail(stream, UV_EPROTO);
        state->on_header(stream, NULL);
        break;
    }
    return 0;
}

static ssize_t proxy_read(struct stream *stream, uint8_t *buffer, size_t len)
{
    (void)buffer;
    (void)len;
    return state_of(stream)->failed;
}

static ssize_t proxy_writev(struct stream *stream, const struct iovec *vector, int count)
{
    (void)vector;
    (void)count;
    return state_of(stream)->failed;
}

static void proxy_shutdown(struct stream *stream)
{
    (void)shutdown(stream->fd, SHUT_WR);
}

static const struct stream_transport stream_proxy = {
    .read = proxy_read,
    .writev = proxy_writev,
    .flush = proxy_flush,
    .shutdown = proxy_shutdown,
    .close = proxy_close,
};

int proxy_stream_begin(struct stream *stream, proxy_stream_header_fn on_header)
{
    struct proxy_state *state = mem_alloc(sizeof(*state));

    if (!state) {
        return -ENOMEM;
    }
    state->on_header = on_header;
    state->failed = 0;
    state->len = 0;
    stream_set_transport(stream, &stream_proxy, state, true);
    return 0;
}
