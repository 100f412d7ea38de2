#include "client/publisher/outbox.h"

#include <string.h>

#include "common/mem.h"

struct outbox_message *outbox_message_new(enum outbox_kind kind, const char *type,
                                          const char *payload, size_t len)
{
    struct outbox_message *message = mem_zalloc(1, sizeof(*message) + len + 1);

    if (!message) {
        return NULL;
    }
    list_init(&message->link);
    message->kind = kind;
    message->type = type;
    message->len = len;
    memcpy(message->payload, payload, len);
    return message;
}

void outbox_message_free(struct outbox_message *message)
{
    mem_free(message);
}

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){0};
    list_init(&outbox->messages);
}

static struct outbox_message *message_of(struct list *link)
{
    return CONTAINER_OF(link, struct outbox_message, link);
}

static struct outbox_message *newest(const struct outbox *outbox)
{
    return list_is_empty(&outbox->messages) ? NULL : message_of(outbox->messages.prev);
}

/* The oldest of a kind, or NULL. */
static struct outbox_message *oldest(const struct outbox *outbox, enum outbox_kind kind)
{
    LIST_EACH (link, &outbox->messages) {
        if (message_of(link)->kind == kind) {
            return message_of(link);
        }
    }
    return NULL;
}

static void drop(struct outbox *outbox, struct outbox_message *message)
{
    if (message) {
        list_remove(&message->link);
        outbox->count--;
        outbox_message_free(message);
    }
}

void outbox_clear(struct outbox *outbox)
{
    while (!list_is_empty(&outbox->messages)) {
        drop(outbox, message_of(list_first(&outbox->messages)));
    }
}

void outbox_put(struct outbox *outbox, struct outbox_message *message)
{
    struct outbox_message *last = newest(outbox);

    if (message->kind == OUTBOX_RESET) {
        outbox_clear(outbox);
    } else if (message->kind == OUTBOX_UPDATE && last && last->kind == OUTBOX_UPDATE) {
        drop(outbox, last);
    }
    if (outbox->count >= OUTBOX_MAX) {
        struct outbox_message *update = oldest(outbox, OUTBOX_UPDATE);

        drop(outbox, update ? update : oldest(outbox, OUTBOX_STAGE));
    }
    list_append(&outbox->messages, &message->link);
    outbox->count++;
}

struct outbox_message *outbox_take(struct outbox *outbox, uint64_t now_ms, uint64_t *ret_due_ms)
{
    *ret_due_ms = UINT64_MAX;
    while (!list_is_empty(&outbox->messages)) {
        struct outbox_message *first = message_of(list_first(&outbox->messages));

        if (first->kind == OUTBOX_UPDATE && now_ms < outbox->next_update_ms) {
            if (first == newest(outbox)) {
                *ret_due_ms = outbox->next_update_ms;
                return NULL;
            }
            drop(outbox, first);
            continue;
        }
        if (first->kind == OUTBOX_UPDATE) {
            outbox->next_update_ms = now_ms + OUTBOX_UPDATE_EVERY_MS;
        }
        list_remove(&first->link);
        outbox->count--;
        return first;
    }
    return NULL;
}

void outbox_put_back(struct outbox *outbox, struct outbox_message *message)
{
    if (oldest(outbox, OUTBOX_RESET) ||
        (message->kind == OUTBOX_UPDATE && oldest(outbox, OUTBOX_UPDATE))) {
        outbox_message_free(message);
        return;
    }
    list_prepend(&outbox->messages, &message->link);
    outbox->count++;
}
