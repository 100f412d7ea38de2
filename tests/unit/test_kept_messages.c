#include "broker/process/kept_messages.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"

static int add(struct kept_messages *kept, uint64_t now_ms, const char *channel,
               enum task_message_type type, const char *payload)
{
    return kept_messages_add(kept, now_ms, SPAN_OF(channel), type, SPAN_OF(payload));
}

/* A task's payloads in their order. */
static const char *payloads_of(const struct kept_messages *kept, const char *channel)
{
    static char text[256];
    struct kept_task *task = map_get(&kept->by_channel, channel, strlen(channel));

    text[0] = '\0';
    if (task) {
        LIST_EACH (link, &task->messages) {
            struct kept_message *message = CONTAINER_OF(link, struct kept_message, link);
            strncat(text, message->payload, message->payload_len);
        }
    }
    return text;
}

Test(kept_messages, keeps_the_newest_of_each_type_in_the_order_they_came)
{
    struct kept_messages kept;

    kept_messages_init(&kept);
    cr_assert_eq(add(&kept, 1, "a", TASK_PROGRESS_UPDATE, "1"), 0);
    cr_assert_eq(add(&kept, 1, "a", TASK_ERROR, "2"), 0);
    cr_assert_eq(add(&kept, 1, "b", TASK_COMPLETE, "x"), 0);
    cr_assert_eq(add(&kept, 2, "a", TASK_PROGRESS_UPDATE, "3"), 0);
    cr_assert_str_eq(payloads_of(&kept, "a"), "23");
    cr_assert_str_eq(payloads_of(&kept, "b"), "x");
    cr_assert_str_eq(payloads_of(&kept, "c"), "");
    kept_messages_deinit(&kept);
}

Test(kept_messages, lets_go_of_what_is_old)
{
    struct kept_messages kept;

    kept_messages_init(&kept);
    cr_assert_eq(add(&kept, 1, "a", TASK_PROGRESS_UPDATE, "1"), 0);
    cr_assert_eq(add(&kept, 2, "b", TASK_PROGRESS_UPDATE, "2"), 0);
    cr_assert_eq(add(&kept, 3, "a", TASK_COMPLETE, "3"), 0);
    cr_assert_eq(kept_messages_expire(&kept, 1, 0), 0);
    cr_assert_eq(kept_messages_expire(&kept, 3, 2), 1);
    cr_assert_str_eq(payloads_of(&kept, "a"), "3");
    cr_assert_eq(kept.by_channel.count, 1);
    cr_assert_eq(kept_messages_expire(&kept, UINT64_MAX, 0), 1);
    cr_assert_eq(kept.by_channel.count, 0);
    cr_assert_eq(kept.bytes, 0);
    kept_messages_deinit(&kept);
}

Test(kept_messages, lets_go_of_what_is_settled)
{
    struct kept_messages kept;

    kept_messages_init(&kept);
    cr_assert_eq(add(&kept, 1, "a", TASK_PROGRESS_UPDATE, "1"), 0);
    cr_assert_eq(add(&kept, 1, "a", TASK_ERROR, "2"), 0);
    cr_assert_eq(add(&kept, 1, "b", TASK_ERROR, "3"), 0);
    const uint64_t number = kept.last_number;
    cr_assert_eq(add(&kept, 1, "a", TASK_PROGRESS_UPDATE, "4"), 0);
    kept_messages_settle(&kept, SPAN_OF("a"), number);
    cr_assert_str_eq(payloads_of(&kept, "a"), "4");
    cr_assert_str_eq(payloads_of(&kept, "b"), "3");
    kept_messages_settle(&kept, SPAN_OF("a"), kept.last_number);
    kept_messages_settle(&kept, SPAN_OF("a"), kept.last_number);
    cr_assert_eq(kept.by_channel.count, 1);
    kept_messages_deinit(&kept);
}

Test(kept_messages, is_bounded_and_tells_what_had_to_go)
{
    struct kept_messages kept;
    char *payload = malloc(65537);
    int gone = 0;

    memset(payload, 'x', 65536);
    payload[65536] = '\0';
    kept_messages_init(&kept);
    for (int i = 0; i < 1000; i++) {
        char channel[16];

        snprintf(channel, sizeof(channel), "%d", i);
        gone += add(&kept, 1, channel, TASK_COMPLETE, payload);
        cr_assert_leq(kept.bytes, KEPT_MESSAGES_BYTES_MAX);
    }
    cr_assert_eq(gone, 1000 - (int)kept.by_channel.count);
    cr_assert_null(map_get(&kept.by_channel, "0", 1));
    cr_assert_not_null(map_get(&kept.by_channel, "999", 3));
    kept_messages_deinit(&kept);
    free(payload);
}

Test(kept_messages, is_unchanged_when_memory_runs_out)
{
    struct kept_messages kept;
    unsigned n = 1;

    kept_messages_init(&kept);
    for (;; n++) {
        mem_fail_nth(n);
        int rc = add(&kept, 1, "a", TASK_COMPLETE, "1");
        mem_fail_nth(0);
        if (rc == 0) {
            break;
        }
        cr_assert_eq(rc, -ENOMEM);
        cr_assert_eq(kept.by_channel.count, 0);
        cr_assert_eq(kept.bytes, 0);
    }
    cr_assert_gt(n, 2);
    kept_messages_deinit(&kept);
}
