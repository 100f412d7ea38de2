/* The messages of the last seconds that a recorder may have to record in another's place.
 *
 * Receives   each message published, whoever records it
 * Hands on   a task's messages, in the order in which they came
 * Owns       copies of them, KEPT_MESSAGES_BYTES_MAX at the most
 *
 * Progress is a state: of each task only the newest message of each type is kept. Beyond the limit
 * the oldest goes first.
 */
#ifndef PROGRESSD_BROKER_PROCESS_KEPT_MESSAGES_H
#define PROGRESSD_BROKER_PROCESS_KEPT_MESSAGES_H

#include "common/list.h"
#include "common/map.h"
#include "common/span.h"
#include "proto/message_tables.h"

#define KEPT_MESSAGES_BYTES_MAX (16 * 1024 * 1024)

struct kept_messages {
    struct map by_channel;
    struct list tasks;
    struct list by_age; /* all messages, the oldest first */
    uint64_t last_number;
    size_t bytes;
};

struct kept_task {
    struct list link;
    struct list messages; /* the oldest first */
    size_t channel_len;
    char channel[];
};

struct kept_message {
    struct list link;   /* of its task */
    struct list by_age; /* of all */
    struct kept_task *task;
    uint64_t number; /* in the order in which messages came */
    uint64_t at_ms;
    enum task_message_type type;
    size_t payload_len;
    char payload[];
};

void kept_messages_init(struct kept_messages *kept);
void kept_messages_deinit(struct kept_messages *kept);

/* Keeps a message in place of the one of its type; its number is `last_number` then. How many
 * others had to go for want of room, 0 as a rule; or -ENOMEM with nothing kept. */
int kept_messages_add(struct kept_messages *kept, uint64_t now_ms, struct span channel,
                      enum task_message_type type, struct span payload) MUST_CHECK;

/* Lets go of a task's messages up to that number: they need not be recorded any more. */
void kept_messages_settle(struct kept_messages *kept, struct span channel, uint64_t up_to_number);

/* Lets go of what came before `before_ms`: how many messages that were, without those that came
 * before `counted_from_ms`. */
uint32_t kept_messages_expire(struct kept_messages *kept, uint64_t before_ms,
                              uint64_t counted_from_ms);

#endif
