#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/publisher/outbox.h"
#include "common/mem.h"

static struct outbox outbox;
static uint64_t due_ms;

static void open_outbox(void)
{
    outbox_init(&outbox);
}

static void close_outbox(void)
{
    outbox_clear(&outbox);
}

TestSuite(outbox, .init = open_outbox, .fini = close_outbox);

static void put(enum outbox_kind kind, const char *payload)
{
    outbox_put(&outbox, outbox_message_new(kind, "type", payload, strlen(payload)));
}

/* Takes what must be the next message. */
static void expect(const char *payload, uint64_t now_ms)
{
    struct outbox_message *message = outbox_take(&outbox, now_ms, &due_ms);

    cr_assert_not_null(message, "instead of %s", payload);
    cr_assert_str_eq(message->payload, payload);
    outbox_message_free(message);
}

static void expect_nothing_until(uint64_t expected_due_ms, uint64_t now_ms)
{
    cr_assert_null(outbox_take(&outbox, now_ms, &due_ms));
    cr_assert_eq(due_ms, expected_due_ms);
}

Test(outbox, hands_on_in_order_what_was_put_in)
{
    put(OUTBOX_STAGE, "a");
    put(OUTBOX_UPDATE, "1");
    put(OUTBOX_STAGE, "b");
    put(OUTBOX_END, "end");
    expect("a", 0);
    expect("1", 0);
    expect("b", 0);
    expect("end", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(outbox, an_update_replaces_the_one_that_waits)
{
    put(OUTBOX_UPDATE, "1");
    put(OUTBOX_UPDATE, "2");
    put(OUTBOX_UPDATE, "3");
    cr_assert_eq(outbox.count, 1);
    expect("3", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(outbox, an_update_waits_for_its_turn)
{
    put(OUTBOX_UPDATE, "1");
    expect("1", 1000);
    put(OUTBOX_UPDATE, "2");
    expect_nothing_until(1000 + OUTBOX_UPDATE_EVERY_MS, 1000);
    expect_nothing_until(1000 + OUTBOX_UPDATE_EVERY_MS, 1000 + OUTBOX_UPDATE_EVERY_MS - 1);
    put(OUTBOX_UPDATE, "3");
    expect("3", 1000 + OUTBOX_UPDATE_EVERY_MS);
}

Test(outbox, nothing_waits_for_an_update_whose_turn_has_not_come)
{
    put(OUTBOX_UPDATE, "1");
    expect("1", 1000);
    put(OUTBOX_UPDATE, "2");
    put(OUTBOX_STAGE, "a");
    put(OUTBOX_UPDATE, "3");
    put(OUTBOX_END, "end");
    expect("a", 1000);
    expect("end", 1000);
    expect_nothing_until(UINT64_MAX, 1000);
}

Test(outbox, no_more_than_five_updates_a_second_are_handed_on)
{
    unsigned sent = 0;

    for (uint64_t now_ms = 5000; now_ms < 15000; now_ms++) {
        put(OUTBOX_UPDATE, "x");
        struct outbox_message *message = outbox_take(&outbox, now_ms, &due_ms);

        sent += message != NULL;
        outbox_message_free(message);
    }
    cr_assert_eq(sent, 50);
}

Test(outbox, a_message_put_back_is_the_next_one_again)
{
    put(OUTBOX_STAGE, "a");
    put(OUTBOX_STAGE, "b");
    struct outbox_message *message = outbox_take(&outbox, 0, &due_ms);

    outbox_put_back(&outbox, message);
    expect("a", 0);
    expect("b", 0);
}

Test(outbox, an_update_put_back_gives_way_to_a_newer_one)
{
    put(OUTBOX_UPDATE, "1");
    struct outbox_message *message = outbox_take(&outbox, 0, &due_ms);

    put(OUTBOX_STAGE, "a");
    put(OUTBOX_UPDATE, "2");
    outbox_put_back(&outbox, message);
    expect("a", 1000);
    expect("2", 1000);
    expect_nothing_until(UINT64_MAX, 1000);
}

Test(outbox, a_reset_voids_what_waits_and_what_is_put_back)
{
    put(OUTBOX_STAGE, "a");
    struct outbox_message *message = outbox_take(&outbox, 0, &due_ms);

    put(OUTBOX_UPDATE, "1");
    put(OUTBOX_END, "end");
    put(OUTBOX_RESET, "");
    put(OUTBOX_STAGE, "b");
    outbox_put_back(&outbox, message);
    expect("", 0);
    expect("b", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(outbox, beyond_its_room_the_oldest_goes_and_the_end_stays)
{
    char name[16];

    put(OUTBOX_STAGE, "first");
    put(OUTBOX_UPDATE, "update");
    for (int i = 0; i < OUTBOX_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        put(OUTBOX_STAGE, name);
    }
    put(OUTBOX_END, "end");
    cr_assert_eq(outbox.count, OUTBOX_MAX);
    expect("1", 0);
    for (int i = 2; i < OUTBOX_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        expect(name, 0);
    }
    expect("end", 0);
}

Test(outbox, without_memory_there_is_no_message)
{
    mem_fail_nth(1);
    cr_assert_null(outbox_message_new(OUTBOX_END, "type", "x", 1));
}
