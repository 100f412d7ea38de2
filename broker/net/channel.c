#include "broker/net/channel.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"

#define MODULE "channel"

STATE_MACHINE(channel_machine, MODULE, CHANNEL_STATES);

/* The only writer of the state. */
static void channel_set_state(struct channel *channel, enum channel_state state)
{
    state_move(&channel_machine, &channel->state, state, NULL, 0);
    if (state == CHANNEL_LINGERING || state == CHANNEL_SHUT) {
        channel->settings->events->on_ending(channel);
    }
}

bool channel_must_wait(const struct channel *channel)
{
    return channel->state == CHANNEL_OPEN &&
           (channel->is_paused || outbox_is_full(&channel->outbox));
}

bool channel_is_drained(const struct channel *channel)
{
    return outbox_is_empty(&channel->outbox) && !stream_is_held(&channel->stream);
}

/* Reading stops while what comes has to wait, and while a client that sends doesn't take what it is
 * answered: so that nothing piles up here. */
static void update_reading(struct channel *channel)
{
    if (channel->state != CHANNEL_CLOSED) {
        stream_want_read(&channel->stream,
                         !channel_must_wait(channel) && !channel->input && !channel->peer_ended &&
                             !(channel->blocked && outbox_waiting(&channel->outbox) > 0));
    }
}

/* ── Output ──────────────────────────────────────────────────────────────────────────────────── */

void channel_wake(struct channel *channel)
{
    if (!channel->blocked && channel->state != CHANNEL_CLOSED) {
        loop_at_turn_end(channel->settings->loop, &channel->flush);
    }
}

int channel_put(struct channel *channel, struct bytes *bytes)
{
    int rc = outbox_put(&channel->outbox, bytes);

    if (rc == 0) {
        channel_wake(channel);
    }
    return rc;
}

int channel_put_newest(struct channel *channel, struct bytes *bytes, uint32_t room,
                       bool (*is_same)(const struct bytes *bytes))
{
    const struct bytes *last = outbox_last(&channel->outbox);

    if (last && is_same(last) && (channel->blocked || outbox_waiting(&channel->outbox) >= room)) {
        outbox_replace_last(&channel->outbox, bytes);
        return 0;
    }
    return channel_put(channel, bytes);
}

/* All is sent. A peer that sends nothing more is through; of others the end is awaited. */
static void finish_lingering(struct channel *channel)
{
    if (channel->peer_ended) {
        channel_abort(channel);
    } else {
        stream_shutdown(&channel->stream);
        channel_set_state(channel, CHANNEL_SHUT);
    }
}

static void go_on_reading(struct channel *channel);

/* The queue is shorter: what was waiting for that goes on. */
static void after_writing(struct channel *channel)
{
    if (channel->input && !channel_must_wait(channel)) {
        go_on_reading(channel);
    }
    if (channel->state == CHANNEL_LINGERING && channel_is_drained(channel)) {
        finish_lingering(channel);
    }
    update_reading(channel);
}

/* Writes once. Whether there may be more to write. */
static bool write_batch(struct channel *channel)
{
    const struct channel_events *events = channel->settings->events;
    struct channel_frame frames[CHANNEL_BATCH];
    struct outbox_batch batch;
    size_t offered = 0;

    if (outbox_batch_begin(&batch, &channel->outbox) && channel->state == CHANNEL_OPEN &&
        channel->takes_frames) {
        offered = events->on_collect(channel, frames, CHANNEL_BATCH);
    }
    for (size_t i = 0; i < offered; i++) {
        outbox_batch_offer(&batch, frames[i].frame);
    }
    if (batch.count == 0) {
        return false;
    }
    ssize_t n = stream_writev(&channel->stream, batch.vector, batch.count);
    if (n < 0) {
        channel_abort(channel);
        return false;
    }
    metric_add(channel->settings->metrics, METRIC_BYTES_SENT, (uint64_t)n);
    uint32_t taken = outbox_settle(&channel->outbox, &batch, (size_t)n);
    for (uint32_t i = 0; i < taken; i++) {
        events->on_taken(channel, &frames[i]);
    }
    if ((size_t)n < batch.len || stream_is_held(&channel->stream)) {
        channel->blocked = true;
        stream_want_write(&channel->stream);
    }
    return !channel->blocked;
}

static void channel_flush(struct channel *channel)
{
    if (channel->state == CHANNEL_CLOSED) {
        return;
    }
    while (!channel->blocked && write_batch(channel)) {
    }
    after_writing(channel);
}

static void channel_on_turn_end(struct loop_due *due)
{
    channel_flush(CONTAINER_OF(due, struct channel, flush));
}

static void channel_on_writable(struct stream *stream)
{
    struct channel *channel = CONTAINER_OF(stream, struct channel, stream);

    channel->blocked = false;
    channel_flush(channel);
}

/* ── Input ───────────────────────────────────────────────────────────────────────────────────── */

/* Keeps what has to wait: all of it, since it came by one read. */
static void channel_keep_input(struct channel *channel, const uint8_t *data, size_t len)
{
    channel->input = bytes_copy(data, (uint32_t)len);
    if (!channel->input) {
        channel_abort(channel);
    }
}

/* In other states than OPEN it is dropped. */
static void channel_take_input(struct channel *channel, uint8_t *data, size_t len)
{
    channel->is_reading = true;
    while (len > 0 && channel->state == CHANNEL_OPEN && !channel_must_wait(channel)) {
        size_t used = channel->protocol->on_input(channel, data, len);

        data += used;
        len -= used;
    }
    channel->is_reading = false;
    if (len > 0 && channel->state == CHANNEL_OPEN) {
        channel_keep_input(channel, data, len);
    }
    update_reading(channel);
}

static void go_on_reading(struct channel *channel)
{
    struct bytes *input = TAKE(channel->input);

    if (input) {
        channel_take_input(channel, input->data, input->len);
    }
    bytes_unref(input);
}

void channel_pause(struct channel *channel)
{
    channel->is_paused = true;
    if (!channel->is_reading) {
        update_reading(channel);
    }
}

void channel_resume(struct channel *channel)
{
    channel->is_paused = false;
    channel->heard_ms = loop_now(channel->settings->loop);
    if (channel->is_reading) {
        return;
    }
    if (!channel_must_wait(channel)) {
        go_on_reading(channel);
    }
    update_reading(channel);
}

static void take_end(struct channel *channel)
{
    channel->peer_ended = true;
    if (channel->state == CHANNEL_OPEN) {
        channel->protocol->on_peer_ended(channel);
    } else if (channel_is_drained(channel)) {
        channel_abort(channel);
    }
    update_reading(channel);
}

void channel_read(struct channel *channel)
{
    uint8_t *data;
    ssize_t n = stream_read(&channel->stream, CHANNEL_READ_MAX, &data);

    if (n == UV_EOF) {
        take_end(channel);
    } else if (n < 0) {
        channel_abort(channel);
    } else if (n > 0) {
        metric_add(channel->settings->metrics, METRIC_BYTES_RECEIVED, (uint64_t)n);
        channel->heard_ms = loop_now(channel->settings->loop);
        channel_take_input(channel, data, (size_t)n);
    }
}

static void channel_on_readable(struct stream *stream)
{
    channel_read(CONTAINER_OF(stream, struct channel, stream));
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

void channel_end(struct channel *channel)
{
    channel_set_state(channel, CHANNEL_LINGERING);
    bytes_unref(TAKE(channel->input));
    channel_wake(channel);
    update_reading(channel);
}

void channel_abort(struct channel *channel)
{
    if (channel->state != CHANNEL_CLOSED) {
        channel_set_state(channel, CHANNEL_CLOSED);
        stream_close(&channel->stream);
    }
}

static void channel_on_broken(struct stream *stream)
{
    channel_abort(CONTAINER_OF(stream, struct channel, stream));
}

static void on_stream_closed(struct stream *stream)
{
    struct channel *channel = CONTAINER_OF(stream, struct channel, stream);

    channel->protocol->on_closed(channel);
    loop_due_cancel(&channel->flush);
    outbox_deinit(&channel->outbox);
    bytes_unref(channel->input);
    channel->settings->events->on_closed(channel);
}

static const struct stream_events stream_events = {
    .on_readable = channel_on_readable,
    .on_writable = channel_on_writable,
    .on_broken = channel_on_broken,
    .on_closed = on_stream_closed,
};

int channel_open(struct channel *channel, int fd, const struct channel_settings *settings,
                 const struct channel_protocol *protocol)
{
    memset(channel, 0, sizeof(*channel));
    int rc = stream_open(&channel->stream, &settings->loop->uv, fd, &stream_events);
    if (rc < 0) {
        return rc;
    }
    channel->settings = settings;
    channel->protocol = protocol;
    channel->heard_ms = loop_now(settings->loop);
    loop_due_init(&channel->flush, channel_on_turn_end);
    update_reading(channel);
    return 0;
}
