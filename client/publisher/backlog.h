/* What a job has told and Redis doesn't have yet, in order.
 *
 * Receives   messages, from the job's threads: backlog_put()
 * Hands on   the next to be sent: backlog_take() (sender.c, its thread)
 * Owns       the messages in it; no lock of its own
 *
 *   1. An update replaces one that waits at the end. One that has something behind it is sent if
 *      it may be, and else left out.
 *   2. At most one update is handed on every BACKLOG_UPDATE_EVERY_MS.
 *   3. A reset voids whatever waits.
 *   4. Beyond BACKLOG_MAX messages the oldest update goes, or else the oldest stage. The end stays.
 */
#ifndef PROGRESSD_CLIENT_BACKLOG_H
#define PROGRESSD_CLIENT_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"

#define BACKLOG_MAX 1024
#define BACKLOG_UPDATE_EVERY_MS 200

enum backlog_kind { BACKLOG_RESET, BACKLOG_STAGE, BACKLOG_UPDATE, BACKLOG_END };

struct backlog_message {
    struct list link;
    enum backlog_kind kind;
    const char *type; /* of the protocol, a constant; NULL for a reset */
    bool tried;       /* was sent once, and no answer came */
    size_t len;
    char payload[];
};

struct backlog {
    struct list messages;
    unsigned count;
    uint64_t next_update_ms; /* no update is handed on before */
};

/* A copy of `payload`; NULL when out of memory. */
struct backlog_message *backlog_message_new(enum backlog_kind kind, const char *type,
                                            const char *payload, size_t len) MUST_CHECK;
void backlog_message_free(struct backlog_message *message);

void backlog_init(struct backlog *backlog);

/* Frees what waits; the backlog may go on. */
void backlog_clear(struct backlog *backlog);

/* Takes the message over. */
void backlog_put(struct backlog *backlog, struct backlog_message *message);

/* The next message, the caller's now; or NULL and *ret_due_ms, when there will be one, UINT64_MAX
 * if none waits. */
struct backlog_message *backlog_take(struct backlog *backlog, uint64_t now_ms,
                                     uint64_t *ret_due_ms) MUST_CHECK;

/* Takes a message back that could not be sent; it is the next one again, unless it is an update and
 * a newer one waits, or a reset waits. */
void backlog_put_back(struct backlog *backlog, struct backlog_message *message);

#endif
