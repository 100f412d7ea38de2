#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/publisher/backlog.h"
#include "common/mem.h"

static struct backlog backlog;
static uint64_t due_ms;

static void open_backlog(void)
{
    backlog_init(&backlog);
}

static void close_backlog(void)
{
    backlog_clear(&backlog);
}

TestSuite(backlog, .init = open_backlog, .fini = close_backlog);

static void put(enum backlog_kind kind, const char *payload)
{
    backlog_put(&backlog, backlog_message_new(kind, "type", payload, strlen(payload)));
}

/* Takes what must be the next message. */
static void expect(const char *payload, uint64_t now_ms)
{
    struct backlog_message *message = backlog_take(&backlog, now_ms, &due_ms);

    cr_assert_not_null(message, "instead of %s", payload);
    cr_assert_str_eq(message->payload, payload);
    backlog_message_free(message);
}

static void expect_nothing_until(uint64_t expected_due_ms, uint64_t now_ms)
{
    cr_assert_null(backlog_take(&backlog, now_ms, &due_ms));
    cr_assert_eq(due_ms, expected_due_ms);
}

Test(backlog, hands_on_in_order_what_was_put_in)
{
    put(BACKLOG_STAGE, "a");
    put(BACKLOG_UPDATE, "1");
    put(BACKLOG_STAGE, "b");
    put(BACKLOG_END, "end");
    expect("a", 0);
    expect("1", 0);
    expect("b", 0);
    expect("end", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(backlog, an_update_replaces_the_one_that_waits)
{
    put(BACKLOG_UPDATE, "1");
    put(BACKLOG_UPDATE, "2");
    put(BACKLOG_UPDATE, "3");
    cr_assert_eq(backlog.count, 1);
    expect("3", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(backlog, an_update_waits_for_its_turn)
{
    put(BACKLOG_UPDATE, "1");
    expect("1", 1000);
    put(BACKLOG_UPDATE, "2");
    expect_nothing_until(1000 + BACKLOG_UPDATE_EVERY_MS, 1000);
    expect_nothing_until(1000 + BACKLOG_UPDATE_EVERY_MS, 1000 + BACKLOG_UPDATE_EVERY_MS - 1);
    put(BACKLOG_UPDATE, "3");
    expect("3", 1000 + BACKLOG_UPDATE_EVERY_MS);
}

Test(backlog, nothing_waits_for_an_update_whose_turn_has_not_come)
{
    put(BACKLOG_UPDATE, "1");
    expect("1", 1000);
    put(BACKLOG_UPDATE, "2");
    put(BACKLOG_STAGE, "a");
    put(BACKLOG_UPDATE, "3");
    put(BACKLOG_END, "end");
    expect("a", 1000);
    expect("end", 1000);
    expect_nothing_until(UINT64_MAX, 1000);
}

Test(backlog, no_more_than_five_updates_a_second_are_handed_on)
{
    unsigned sent = 0;

    for (uint64_t now_ms = 5000; now_ms < 15000; now_ms++) {
        put(BACKLOG_UPDATE, "x");
        struct backlog_message *message = backlog_take(&backlog, now_ms, &due_ms);

        sent += message != NULL;
        backlog_message_free(message);
    }
    cr_assert_eq(sent, 50);
}

Test(backlog, a_message_put_back_is_the_next_one_again)
{
    put(BACKLOG_STAGE, "a");
    put(BACKLOG_STAGE, "b");
    struct backlog_message *message = backlog_take(&backlog, 0, &due_ms);

    backlog_put_back(&backlog, message);
    expect("a", 0);
    expect("b", 0);
}

Test(backlog, an_update_put_back_gives_way_to_a_newer_one)
{
    put(BACKLOG_UPDATE, "1");
    struct backlog_message *message = backlog_take(&backlog, 0, &due_ms);

    put(BACKLOG_STAGE, "a");
    put(BACKLOG_UPDATE, "2");
    backlog_put_back(&backlog, message);
    expect("a", 1000);
    expect("2", 1000);
    expect_nothing_until(UINT64_MAX, 1000);
}

Test(backlog, a_reset_voids_what_waits_and_what_is_put_back)
{
    put(BACKLOG_STAGE, "a");
    struct backlog_message *message = backlog_take(&backlog, 0, &due_ms);

    put(BACKLOG_UPDATE, "1");
    put(BACKLOG_END, "end");
    put(BACKLOG_RESET, "");
    put(BACKLOG_STAGE, "b");
    backlog_put_back(&backlog, message);
    expect("", 0);
    expect("b", 0);
    expect_nothing_until(UINT64_MAX, 0);
}

Test(backlog, beyond_its_room_the_oldest_goes_and_the_end_stays)
{
    char name[16];

    put(BACKLOG_STAGE, "first");
    put(BACKLOG_UPDATE, "update");
    for (int i = 0; i < BACKLOG_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        put(BACKLOG_STAGE, name);
    }
    put(BACKLOG_END, "end");
    cr_assert_eq(backlog.count, BACKLOG_MAX);
    expect("1", 0);
    for (int i = 2; i < BACKLOG_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        expect(name, 0);
    }
    expect("end", 0);
}

Test(backlog, without_memory_there_is_no_message)
{
    mem_fail_nth(1);
    cr_assert_null(backlog_message_new(BACKLOG_END, "type", "x", 1));
}
