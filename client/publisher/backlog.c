#include "client/publisher/backlog.h"

#include <string.h>

#include "common/mem.h"

struct backlog_message *backlog_message_new(enum backlog_kind kind, const char *type,
                                            const char *payload, size_t len)
{
    struct backlog_message *message = mem_zalloc(1, sizeof(*message) + len + 1);

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

void backlog_message_free(struct backlog_message *message)
{
    mem_free(message);
}

void backlog_init(struct backlog *backlog)
{
    *backlog = (struct backlog){0};
    list_init(&backlog->messages);
}

static struct backlog_message *message_of(struct list *link)
{
    return CONTAINER_OF(link, struct backlog_message, link);
}

static struct backlog_message *newest(const struct backlog *backlog)
{
    return list_is_empty(&backlog->messages) ? NULL : message_of(backlog->messages.prev);
}

/* The oldest of a kind, or NULL. */
static struct backlog_message *backlog_oldest(const struct backlog *backlog, enum backlog_kind kind)
{
    LIST_EACH (link, &backlog->messages) {
        if (message_of(link)->kind == kind) {
            return message_of(link);
        }
    }
    return NULL;
}

static void backlog_drop(struct backlog *backlog, struct backlog_message *message)
{
    if (message) {
        list_remove(&message->link);
        backlog->count--;
        backlog_message_free(message);
    }
}

void backlog_clear(struct backlog *backlog)
{
    while (!list_is_empty(&backlog->messages)) {
        backlog_drop(backlog, message_of(list_first(&backlog->messages)));
    }
}

void backlog_put(struct backlog *backlog, struct backlog_message *message)
{
    struct backlog_message *last = newest(backlog);

    if (message->kind == BACKLOG_RESET) {
        backlog_clear(backlog);
    } else if (message->kind == BACKLOG_UPDATE && last && last->kind == BACKLOG_UPDATE) {
        backlog_drop(backlog, last);
    }
    if (backlog->count >= BACKLOG_MAX) {
        struct backlog_message *update = backlog_oldest(backlog, BACKLOG_UPDATE);

        backlog_drop(backlog, update ? update : backlog_oldest(backlog, BACKLOG_STAGE));
    }
    list_append(&backlog->messages, &message->link);
    backlog->count++;
}

struct backlog_message *backlog_take(struct backlog *backlog, uint64_t now_ms, uint64_t *ret_due_ms)
{
    *ret_due_ms = UINT64_MAX;
    while (!list_is_empty(&backlog->messages)) {
        struct backlog_message *first = message_of(list_first(&backlog->messages));

        if (first->kind == BACKLOG_UPDATE && now_ms < backlog->next_update_ms) {
            if (first == newest(backlog)) {
                *ret_due_ms = backlog->next_update_ms;
                return NULL;
            }
            backlog_drop(backlog, first);
            continue;
        }
        if (first->kind == BACKLOG_UPDATE) {
            backlog->next_update_ms = now_ms + BACKLOG_UPDATE_EVERY_MS;
        }
        list_remove(&first->link);
        backlog->count--;
        return first;
    }
    return NULL;
}

void backlog_put_back(struct backlog *backlog, struct backlog_message *message)
{
    if (backlog_oldest(backlog, BACKLOG_RESET) ||
        (message->kind == BACKLOG_UPDATE && backlog_oldest(backlog, BACKLOG_UPDATE))) {
        backlog_message_free(message);
        return;
    }
    list_prepend(&backlog->messages, &message->link);
    backlog->count++;
}
