/* How OpenSSL is driven by readiness.
 *
 * Until the handshake is through the stream is_held, so nothing is written; awaits_input tells
 * whether the socket has to show bytes or room before it can go on.
 *
 * A record that the socket doesn't take whole lies encrypted inside OpenSSL, which wants the same
 * write again, of the same length: SSL_write() then only sends on, and doesn't look at the bytes
 * (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER). So they count as written, and `held_len` is all there is
 * to remember.
 */
#include "broker/net/tls_stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

/* Bytes of a record's content at the most (RFC 8446, 5.1). */
#define RECORD_MAX 16384

struct tls_state {
    SSL *ssl;
    struct tls_room *room;
    const char *why;   /* what ended it; NULL: nothing yet */
    uint32_t held_len; /* of the write that OpenSSL isn't through with */
};

static struct tls_state *state_of(const struct stream *stream)
{
    return stream->transport_state;
}

/* ── Failures ────────────────────────────────────────────────────────────────────────────────── */

const char *tls_stream_why(const struct stream *stream)
{
    const struct tls_state *state = state_of(stream);

    return state && state->why ? state->why : "";
}

static const char *reason_of(SSL *ssl, unsigned long error)
{
    const long verified = SSL_get_verify_result(ssl);
    const char *reason = ERR_reason_error_string(error);

    if (verified != X509_V_OK) {
        return X509_verify_cert_error_string(verified);
    }
    return reason ? reason : "the peer closed the connection";
}

static void answer_plain_http(int fd)
{
    static const char response[] = "HTTP/1.1 400 Bad Request\r\n"
                                   "Content-Type: text/plain\r\n"
                                   "Content-Length: 42\r\n"
                                   "Connection: close\r\n"
                                   "\r\n"
                                   "This port speaks TLS: use https: or wss:.\n";

    (void)send(fd, response, sizeof(response) - 1, MSG_NOSIGNAL);
}

/* Nothing works any more. Always UV_EPROTO. */
static int tls_fail(struct stream *stream)
{
    struct tls_state *state = state_of(stream);
    unsigned long error = ERR_peek_error();

    if (!state->why) {
        state->why = reason_of(state->ssl, error);
        if (SSL_in_init(state->ssl)) {
            metric_add(state->room->metrics, METRIC_TLS_FAILED, 1);
        }
        if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST) {
            answer_plain_http(stream->fd);
        }
    }
    ERR_clear_error();
    stream->is_held = stream->awaits_input = false;
    return UV_EPROTO;
}

/* After a call that didn't succeed: 0 when it only has to be repeated, with what it waits for in
 * *ret_input; UV_EOF; or what is broken. */
static int outcome_of(struct stream *stream, int result, bool *ret_input)
{
    switch (SSL_get_error(state_of(stream)->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_input = true;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *ret_input = false;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return UV_EOF;
    default:
        return tls_fail(stream);
    }
}

/* ── The handshake ───────────────────────────────────────────────────────────────────────────── */

static bool is_turn_spent(struct tls_room *room, const uv_loop_t *loop)
{
    const uint64_t now_ms = uv_now(loop);

    if (room->turn_ms != now_ms) {
        room->turn_ms = now_ms;
        room->spent_ns = 0;
    }
    return room->spent_ns >= (uint64_t)TLS_TURN_MS * 1000000;
}

static void count_handshake(const struct tls_state *state)
{
    metric_add(state->room->metrics,
               SSL_session_reused(state->ssl) ? METRIC_TLS_RESUMED : METRIC_TLS_FULL, 1);
}

/* Goes on with the handshake: 0, or what is broken. */
static int tls_shake_hands(struct stream *stream)
{
    struct tls_state *state = state_of(stream);
    bool wants_input = false;

    if (is_turn_spent(state->room, stream->poll.loop)) {
        stream->awaits_input = false; /* the next turn comes at once */
        return 0;
    }
    ERR_clear_error();
    const uint64_t begun_ns = uv_hrtime();
    int result = SSL_do_handshake(state->ssl);
    state->room->spent_ns += uv_hrtime() - begun_ns;
    if (result != 1) {
        int rc = outcome_of(stream, result, &wants_input);
        stream->awaits_input = wants_input;
        return rc == UV_EOF ? tls_fail(stream) : rc;
    }
    count_handshake(state);
    stream->is_held = stream->awaits_input = false;
    stream->has_input = SSL_has_pending(state->ssl);
    return 0;
}

static bool is_shaking_hands(const struct stream *stream)
{
    return stream->is_held && SSL_in_init(state_of(stream)->ssl);
}

/* ── The operations ──────────────────────────────────────────────────────────────────────────── */

static ssize_t tls_read(struct stream *stream, uint8_t *buffer, size_t len)
{
    struct tls_state *state = state_of(stream);
    size_t total = 0;
    int rc = 0;

    if (state->why) {
        return UV_EPROTO;
    }
    if (is_shaking_hands(stream)) {
        rc = tls_shake_hands(stream);
        if (rc < 0 || stream->is_held) {
            return rc;
        }
    }
    ERR_clear_error();
    do {
        bool wants_input = true;
        int n = SSL_read(state->ssl, buffer + total, (int)(len - total));
        stream->has_input = n > 0 && SSL_has_pending(state->ssl);
        if (n > 0) {
            total += (size_t)n;
        } else {
            rc = outcome_of(stream, n, &wants_input);
            /* An answer to the peer's KeyUpdate that the socket doesn't take: read on when it does.
             */
            stream->is_held = stream->is_held || !wants_input;
        }
    } while (stream->has_input && total < len);
    if (rc < 0 && total > 0) {
        stream->has_input = true; /* the end, or the error, comes with the next read */
        return (ssize_t)total;
    }
    return rc < 0 ? rc : (ssize_t)total;
}

/* One record, of at most RECORD_MAX bytes. Bytes taken, which may be held; 0; or what is broken. */
static ssize_t write_record(struct stream *stream, const void *data, size_t len)
{
    struct tls_state *state = state_of(stream);
    bool wants_input = false;

    ERR_clear_error();
    int n = SSL_write(state->ssl, data, (int)len);
    if (n > 0) {
        return n;
    }
    int rc = outcome_of(stream, n, &wants_input);
    if (rc < 0) {
        return rc == UV_EOF ? UV_EPIPE : rc;
    }
    state->held_len = (uint32_t)len;
    stream->is_held = true;
    stream->awaits_input = wants_input;
    return (ssize_t)len;
}

/* Fills `buffer` from `at` bytes into the vector on. How many. */
static size_t gather(const struct iovec *vector, int count, size_t at, uint8_t *buffer)
{
    size_t len = 0;

    for (int i = 0; i < count && len < RECORD_MAX; i++) {
        if (at >= vector[i].iov_len) {
            at -= vector[i].iov_len;
            continue;
        }
        size_t part = vector[i].iov_len - at;
        if (part > RECORD_MAX - len) {
            part = RECORD_MAX - len;
        }
        memcpy(buffer + len, (const uint8_t *)vector[i].iov_base + at, part);
        len += part;
        at = 0;
    }
    return len;
}

static ssize_t tls_writev(struct stream *stream, const struct iovec *vector, int count)
{
    static uint8_t buffer[RECORD_MAX]; /* a process has one loop, and writes one at a time */
    size_t taken = 0, len;

    if (state_of(stream)->why) {
        return UV_EPROTO;
    }
    while (!stream->is_held && (len = gather(vector, count, taken, buffer)) > 0) {
        ssize_t n = write_record(stream, buffer, len);
        if (n < 0) {
            return taken > 0 ? (ssize_t)taken : n;
        }
        taken += (size_t)n;
    }
    return (ssize_t)taken;
}

static int tls_flush(struct stream *stream)
{
    static const uint8_t same[RECORD_MAX]; /* not looked at, see the top of this file */
    struct tls_state *state = state_of(stream);
    bool wants_input = false;

    if (is_shaking_hands(stream)) {
        int rc = tls_shake_hands(stream);
        stream->has_input = stream->has_input || rc < 0;
        return rc;
    }
    stream->is_held = stream->awaits_input = false;
    if (state->held_len == 0) {
        stream->has_input = true; /* a read waited for room */
        return 0;
    }
    ERR_clear_error();
    int n = SSL_write(state->ssl, same, (int)state->held_len);
    if (n > 0) {
        state->held_len = 0;
        return 0;
    }
    int rc = outcome_of(stream, n, &wants_input);
    stream->is_held = rc == 0;
    stream->awaits_input = rc == 0 && wants_input;
    return rc;
}

/* close_notify (RFC 8446, 6.1), if it can be sent at once. */
static void say_closing(struct stream *stream)
{
    struct tls_state *state = state_of(stream);

    if (!state->why && !stream->is_held && !SSL_in_init(state->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(state->ssl);
        ERR_clear_error();
    }
}

static void tls_shutdown(struct stream *stream)
{
    say_closing(stream);
    (void)shutdown(stream->fd, SHUT_WR);
}

static void tls_close(struct stream *stream)
{
    struct tls_state *state = state_of(stream);

    if (!(SSL_get_shutdown(state->ssl) & SSL_SENT_SHUTDOWN)) {
        say_closing(stream);
    }
    SSL_free(state->ssl);
    mem_free(state);
    stream->transport_state = NULL;
}

static const struct stream_transport stream_tls = {
    .read = tls_read,
    .writev = tls_writev,
    .flush = tls_flush,
    .shutdown = tls_shutdown,
    .close = tls_close,
};

/* ── Beginning ───────────────────────────────────────────────────────────────────────────────── */

static int tls_begin(struct stream *stream, SSL *ssl, struct tls_room *room, bool awaits_input)
{
    struct tls_state *state = mem_zalloc(1, sizeof(*state));

    if (!state || !ssl || SSL_set_fd(ssl, stream->fd) != 1) {
        mem_free(state);
        SSL_free(ssl);
        return -ENOMEM;
    }
    state->ssl = ssl;
    state->room = room;
    stream_set_transport(stream, &stream_tls, state, awaits_input);
    return 0;
}

int tls_stream_accept(struct stream *stream, struct tls_context *context, struct tls_room *room)
{
    return tls_begin(stream, tls_context_accept(context), room, true);
}

int tls_stream_connect(struct stream *stream, struct tls_context *context, const char *host,
                       struct tls_room *room)
{
    return tls_begin(stream, tls_context_connect(context, host), room, false);
}
