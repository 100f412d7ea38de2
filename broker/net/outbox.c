#include "broker/net/outbox.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"

/* Freed as soon as it is empty. */
struct outbox_queue {
    uint32_t count, capacity;
    size_t bytes; /* of all items */
    struct bytes *items[];
};

#define FIRST_CAPACITY 4

void outbox_deinit(struct outbox *outbox)
{
    for (uint32_t i = 0; i < outbox_waiting(outbox); i++) {
        bytes_unref(outbox->queue->items[i]);
    }
    mem_free(outbox->queue);
    bytes_unref(outbox->begun);
    *outbox = (struct outbox){0};
}

uint32_t outbox_waiting(const struct outbox *outbox)
{
    return outbox->queue ? outbox->queue->count : 0;
}

bool outbox_is_full(const struct outbox *outbox)
{
    const struct outbox_queue *queue = outbox->queue;

    return queue && (queue->bytes >= OUTBOX_FULL_BYTES || queue->count >= OUTBOX_BATCH / 2);
}

const struct bytes *outbox_last(const struct outbox *outbox)
{
    return outbox->queue ? outbox->queue->items[outbox->queue->count - 1] : NULL;
}

int outbox_put(struct outbox *outbox, struct bytes *bytes)
{
    struct outbox_queue *queue = outbox->queue;

    if (!queue || queue->count == queue->capacity) {
        uint32_t capacity = queue ? queue->capacity * 2 : FIRST_CAPACITY;

        queue = mem_realloc(queue, sizeof(*queue) + capacity * sizeof(queue->items[0]));
        if (!queue) {
            bytes_unref(bytes);
            return -ENOMEM;
        }
        if (!outbox->queue) {
            queue->count = 0;
            queue->bytes = 0;
        }
        queue->capacity = capacity;
        outbox->queue = queue;
    }
    queue->items[queue->count++] = bytes;
    queue->bytes += bytes->len;
    return 0;
}

void outbox_replace_last(struct outbox *outbox, struct bytes *bytes)
{
    struct outbox_queue *queue = outbox->queue;
    struct bytes *last;

    assert(queue);
    last = queue->items[queue->count - 1];
    queue->bytes += bytes->len;
    queue->bytes -= last->len;
    bytes_unref(last);
    queue->items[queue->count - 1] = bytes;
}

/* ── A batch ─────────────────────────────────────────────────────────────────────────────────── */

static void batch_add(struct outbox_batch *batch, const void *data, size_t len)
{
    batch->vector[batch->count++] = (struct iovec){(void *)data, len};
    batch->len += len;
}

bool outbox_batch_begin(struct outbox_batch *batch, const struct outbox *outbox)
{
    const uint32_t waiting = outbox_waiting(outbox);

    batch->count = 0;
    batch->waiting = batch->offered = 0;
    batch->len = 0;
    if (outbox->begun) {
        batch_add(batch, outbox->begun->data + outbox->begun_at,
                  outbox->begun->len - outbox->begun_at);
    }
    while (batch->waiting < waiting && batch->waiting < OUTBOX_BATCH - 1) {
        const struct bytes *item = outbox->queue->items[batch->waiting++];

        batch_add(batch, item->data, item->len);
    }
    return batch->waiting == waiting;
}

void outbox_batch_offer(struct outbox_batch *batch, struct bytes *frame)
{
    assert(batch->offered < OUTBOX_BATCH);
    batch->frames[batch->offered++] = frame;
    batch_add(batch, frame->data, frame->len);
}

/* ── After the write ─────────────────────────────────────────────────────────────────────────── */

/* Remembers where within `bytes` the write ended. Takes the reference over. */
static void begin(struct outbox *outbox, struct bytes *bytes, size_t written)
{
    outbox->begun = bytes;
    outbox->begun_at = (uint32_t)written;
}

/* Bytes of `written` beyond those of the piece that an earlier write ended in. */
static size_t settle_begun(struct outbox *outbox, size_t written)
{
    struct bytes *begun = TAKE(outbox->begun);
    size_t left;

    if (!begun) {
        return written;
    }
    left = begun->len - outbox->begun_at;
    if (written < left) {
        begin(outbox, begun, outbox->begun_at + written);
        return 0;
    }
    bytes_unref(begun);
    return written - left;
}

/* What of `written` is left behind what waited. */
static size_t settle_waiting(struct outbox *outbox, uint32_t in_batch, size_t written)
{
    struct outbox_queue *queue = outbox->queue;
    uint32_t gone = 0;

    for (; gone < in_batch && written > 0; gone++) {
        struct bytes *item = queue->items[gone];

        queue->bytes -= item->len;
        if (written < item->len) {
            begin(outbox, item, written);
            written = 0;
        } else {
            written -= item->len;
            bytes_unref(item);
        }
    }
    if (gone > 0) {
        queue->count -= gone;
        memmove(queue->items, queue->items + gone, queue->count * sizeof(queue->items[0]));
        if (queue->count == 0) {
            mem_free(TAKE(outbox->queue));
        }
    }
    return written;
}

uint32_t outbox_settle(struct outbox *outbox, const struct outbox_batch *batch, size_t written)
{
    uint32_t taken = 0;

    written = settle_begun(outbox, written);
    written = settle_waiting(outbox, batch->waiting, written);
    for (; taken < batch->offered && written > 0; taken++) {
        struct bytes *frame = batch->frames[taken];

        if (written < frame->len) {
            begin(outbox, bytes_ref(frame), written);
            written = 0;
        } else {
            written -= frame->len;
        }
    }
    return taken;
}
