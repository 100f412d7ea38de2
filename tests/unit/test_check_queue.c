#include "broker/auth/check_queue.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/mem.h"

static struct check_queue queue;
static struct auth_check checks[4];

/* Each check's token has 10 bytes, and the queue room for three of them. */
static void set_up(void)
{
    check_queue_init(&queue, 30);
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        auth_check_init(&checks[i], NULL);
        checks[i].text = (struct span){"0123456789", 10};
    }
}

TestSuite(check_queue, .init = set_up);

static int add(size_t i, char digest)
{
    uint8_t bytes[TOKEN_DIGEST_SIZE];

    memset(bytes, digest, sizeof(bytes));
    return check_queue_add(&queue, bytes, &checks[i]);
}

/* Takes the next token; its digest's first byte, and how many wait for it. */
static void expect_next(char digest, int waiting)
{
    struct queued_token *token = check_queue_take(&queue);
    struct list *link;

    cr_assert_eq(token->digest[0], digest);
    for (; (link = list_first(&token->checks)) != NULL; waiting--) {
        check_queue_remove(&queue, CONTAINER_OF(link, struct auth_check, link));
    }
    cr_assert_eq(waiting, 0);
    mem_free(token);
}

Test(check_queue, one_token_is_one_entry_in_the_order_of_coming)
{
    cr_assert_eq(add(0, 'b'), 0);
    cr_assert_eq(add(1, 'a'), 0);
    cr_assert_eq(add(2, 'b'), 0);
    expect_next('b', 2);
    expect_next('a', 1);
    cr_assert(check_queue_is_empty(&queue));
    cr_assert_eq(queue.bytes, 0);
    check_queue_deinit(&queue);
}

Test(check_queue, is_bounded)
{
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(add(i, 'a'), 0);
    }
    cr_assert_eq(add(3, 'a'), CHECK_QUEUE_FULL);
    cr_assert_not(auth_check_waits(&checks[3]));
    check_queue_remove(&queue, &checks[1]);
    cr_assert_eq(add(3, 'b'), 0, "who goes makes room");
    expect_next('a', 2);
    expect_next('b', 1);
    check_queue_deinit(&queue);
}

Test(check_queue, forgets_a_token_nobody_waits_for)
{
    cr_assert_eq(add(0, 'a'), 0);
    cr_assert_eq(add(1, 'b'), 0);
    check_queue_remove(&queue, &checks[0]);
    expect_next('b', 1);
    cr_assert(check_queue_is_empty(&queue));
    check_queue_deinit(&queue);
}

Test(check_queue, running_out_of_memory_changes_nothing)
{
    for (int nth = 1; nth <= 2; nth++) {
        mem_fail_nth(nth);
        cr_assert_eq(add(0, 'a'), -ENOMEM);
        mem_fail_nth(0);
        cr_assert(check_queue_is_empty(&queue));
        cr_assert_eq(queue.bytes, 0);
    }
    check_queue_deinit(&queue);
}
