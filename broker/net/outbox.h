/* Pending output of one connection.
 *
 * Receives   bytes for this client alone, by outbox_put(); frames of tasks, for one batch
 * Hands on   a vector to write; and, told how much of it was written, which frames were taken
 * Owns       the bytes that wait, and those that were written in part
 *
 * Order: bytes that were written in part, bytes for this client alone, frames of tasks. Frames
 * never wait here: they are offered anew for each batch. At most one is kept, the one in which the
 * last write ended.
 */
#ifndef PROGRESSD_BROKER_NET_OUTBOX_H
#define PROGRESSD_BROKER_NET_OUTBOX_H

#include <stdbool.h>
#include <sys/uio.h>

#include "common/bytes.h"

/* Most frames of tasks, and most waiting bytes, in one batch. */
#define OUTBOX_BATCH 64

struct outbox_queue;

/* All zeros is an empty outbox. */
struct outbox {
    struct outbox_queue *queue; /* NULL when nothing waits */
    struct bytes *begun;        /* written in part, up to begun_at; NULL: none */
    uint32_t begun_at;
};

/* Lets go of everything. */
void outbox_deinit(struct outbox *outbox);

/* Puts bytes at the end, taking the reference over also on failure. 0 or -ENOMEM. */
int outbox_put(struct outbox *outbox, struct bytes *bytes) MUST_CHECK;

/* Puts bytes in the place of those that were put last. */
void outbox_replace_last(struct outbox *outbox, struct bytes *bytes);

/* What was put last, borrowed; NULL when nothing waits. */
const struct bytes *outbox_last(const struct outbox *outbox);

/* Bytes objects in the queue, without the one that is written in part. */
uint32_t outbox_waiting(const struct outbox *outbox);

/* Whether so much waits that its cause must stop: OUTBOX_FULL_BYTES or more, or half of a batch.
 * The bound is on bytes, since one answer may be some bytes or the whole of a task's state. */
#define OUTBOX_FULL_BYTES 16384
bool outbox_is_full(const struct outbox *outbox);

/* Whether everything has been written. */
static inline bool outbox_is_empty(const struct outbox *outbox)
{
    return !outbox->queue && !outbox->begun;
}

/* One write. Its members are for reading. */
struct outbox_batch {
    struct iovec vector[2 * OUTBOX_BATCH];
    struct bytes *frames[OUTBOX_BATCH]; /* of tasks, borrowed */
    int count;                          /* of the vector */
    uint32_t waiting, offered;          /* how many of it are from the queue, and frames of tasks */
    size_t len;                         /* bytes of the vector */
};

/* Begins a batch: what was written in part, then as much of the queue as fits. True if all of it
 * fitted, so that frames of tasks may follow. */
bool outbox_batch_begin(struct outbox_batch *batch, const struct outbox *outbox);

/* Adds a frame of a task; at most OUTBOX_BATCH. It is borrowed until outbox_settle(). */
void outbox_batch_offer(struct outbox_batch *batch, struct bytes *frame);

/* `written` bytes of the batch are gone: drops what is complete, keeps what was written in part.
 * Returns how many of the offered frames were written, whole or in part. */
uint32_t outbox_settle(struct outbox *outbox, const struct outbox_batch *batch, size_t written);

#endif
