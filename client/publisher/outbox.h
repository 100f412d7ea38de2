/* What a job has told and Redis doesn't have yet, in order.
 *
 * Receives   messages: outbox_put() (publisher.c, from the job's threads)
 * Hands on   the next to be sent: outbox_take() (publisher.c, the publisher's thread)
 * Owns       the messages in it; no lock of its own
 *
 *   1. An update replaces one that waits at the end. One that has something behind it is sent if
 *      it may be, and else left out.
 *   2. At most one update is handed on every OUTBOX_UPDATE_EVERY_MS.
 *   3. A reset voids whatever waits.
 *   4. Beyond OUTBOX_MAX messages the oldest update goes, or else the oldest stage. The end stays.
 */
#ifndef PROGRESSD_CLIENT_OUTBOX_H
#define PROGRESSD_CLIENT_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"

#define OUTBOX_MAX 1024
#define OUTBOX_UPDATE_EVERY_MS 200

enum outbox_kind { OUTBOX_RESET, OUTBOX_STAGE, OUTBOX_UPDATE, OUTBOX_END };

struct outbox_message {
    struct list link;
    enum outbox_kind kind;
    const char *type; /* of the protocol, a constant; NULL for a reset */
    bool tried;       /* was sent once, and no answer came */
    size_t len;
    char payload[];
};

struct outbox {
    struct list messages;
    unsigned count;
    uint64_t next_update_ms; /* no update is handed on before */
};

/* A copy of `payload`; NULL when out of memory. */
struct outbox_message *outbox_message_new(enum outbox_kind kind, const char *type,
                                          const char *payload, size_t len) MUST_CHECK;
void outbox_message_free(struct outbox_message *message);

void outbox_init(struct outbox *outbox);

/* Frees what waits; the outbox may go on. */
void outbox_clear(struct outbox *outbox);

/* Takes the message over. */
void outbox_put(struct outbox *outbox, struct outbox_message *message);

/* The next message, the caller's now; or NULL and *ret_due_ms, when there will be one, UINT64_MAX
 * if none waits. */
struct outbox_message *outbox_take(struct outbox *outbox, uint64_t now_ms,
                                   uint64_t *ret_due_ms) MUST_CHECK;

/* Takes a message back that could not be sent; it is the next one again, unless it is an update and
 * a newer one waits, or a reset waits. */
void outbox_put_back(struct outbox *outbox, struct outbox_message *message);

#endif
