#include "broker/process/kept_messages.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"

void kept_messages_init(struct kept_messages *kept)
{
    *kept = (struct kept_messages){0};
    map_init(&kept->by_channel);
    list_init(&kept->tasks);
    list_init(&kept->by_age);
}

static void kept_task_free(struct kept_messages *kept, struct kept_task *task)
{
    map_remove(&kept->by_channel, task->channel, task->channel_len);
    list_remove(&task->link);
    kept->bytes -= sizeof(*task) + task->channel_len;
    mem_free(task);
}

static void kept_message_free(struct kept_messages *kept, struct kept_message *message)
{
    list_remove(&message->link);
    list_remove(&message->by_age);
    kept->bytes -= sizeof(*message) + message->payload_len;
    mem_free(message);
}

/* Lets go of a message, and of its task if that was the last one. */
static void kept_let_go(struct kept_messages *kept, struct kept_message *message)
{
    struct kept_task *task = message->task;

    kept_message_free(kept, message);
    if (list_is_empty(&task->messages)) {
        kept_task_free(kept, task);
    }
}

static struct kept_message *kept_oldest(const struct kept_messages *kept)
{
    return CONTAINER_OF(list_first(&kept->by_age), struct kept_message, by_age);
}

void kept_messages_deinit(struct kept_messages *kept)
{
    while (!list_is_empty(&kept->by_age)) {
        kept_let_go(kept, kept_oldest(kept));
    }
    map_deinit(&kept->by_channel);
}

static struct kept_task *kept_task_new(struct kept_messages *kept, struct span channel)
{
    struct kept_task *task = mem_zalloc(1, sizeof(*task) + channel.len);

    if (!task) {
        return NULL;
    }
    memcpy(task->channel, channel.at, channel.len);
    task->channel_len = channel.len;
    if (map_add(&kept->by_channel, task->channel, task->channel_len, task) < 0) {
        mem_free(task);
        return NULL;
    }
    list_init(&task->messages);
    list_init(&task->link);
    list_append(&kept->tasks, &task->link);
    kept->bytes += sizeof(*task) + task->channel_len;
    return task;
}

static struct kept_message *kept_message_new(uint64_t now_ms, enum task_message_type type,
                                             struct span payload)
{
    struct kept_message *message = mem_zalloc(1, sizeof(*message) + payload.len);

    if (message) {
        list_init(&message->link);
        list_init(&message->by_age);
        message->at_ms = now_ms;
        message->type = type;
        message->payload_len = payload.len;
        memcpy(message->payload, payload.at, payload.len);
    }
    return message;
}

/* What is superseded by a message of that type. */
static void kept_drop_older(struct kept_messages *kept, struct kept_task *task,
                            enum task_message_type type)
{
    LIST_EACH (link, &task->messages) {
        struct kept_message *message = CONTAINER_OF(link, struct kept_message, link);
        if (message->type == type) {
            kept_message_free(kept, message);
            return;
        }
    }
}

int kept_messages_add(struct kept_messages *kept, uint64_t now_ms, struct span channel,
                      enum task_message_type type, struct span payload)
{
    struct kept_task *task = map_get(&kept->by_channel, channel.at, channel.len);
    struct kept_message *message = kept_message_new(now_ms, type, payload);
    int gone = 0;

    if (message && !task) {
        task = kept_task_new(kept, channel);
    }
    if (!message || !task) {
        mem_free(message);
        return -ENOMEM;
    }
    kept_drop_older(kept, task, type);
    message->task = task;
    message->number = ++kept->last_number;
    list_append(&task->messages, &message->link);
    list_append(&kept->by_age, &message->by_age);
    kept->bytes += sizeof(*message) + payload.len;
    while (kept->bytes > KEPT_MESSAGES_BYTES_MAX) {
        kept_let_go(kept, kept_oldest(kept));
        gone++;
    }
    return gone;
}

void kept_messages_settle(struct kept_messages *kept, struct span channel, uint64_t up_to_number)
{
    struct kept_task *task = map_get(&kept->by_channel, channel.at, channel.len);

    if (!task) {
        return;
    }
    LIST_EACH (link, &task->messages) {
        struct kept_message *message = CONTAINER_OF(link, struct kept_message, link);
        if (message->number <= up_to_number) {
            kept_message_free(kept, message);
        }
    }
    if (list_is_empty(&task->messages)) {
        kept_task_free(kept, task);
    }
}

uint32_t kept_messages_expire(struct kept_messages *kept, uint64_t before_ms,
                              uint64_t counted_from_ms)
{
    uint32_t count = 0;

    while (!list_is_empty(&kept->by_age) && kept_oldest(kept)->at_ms < before_ms) {
        count += kept_oldest(kept)->at_ms >= counted_from_ms;
        kept_let_go(kept, kept_oldest(kept));
    }
    return count;
}
