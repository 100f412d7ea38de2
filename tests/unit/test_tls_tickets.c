#include "broker/net/tls_tickets.h"

#include <criterion/criterion.h>
#include <string.h>

#define EPOCH TLS_TICKETS_EPOCH_S
#define NOW (40000 * EPOCH + 77)

static struct tls_tickets tickets_at(const struct tls_ticket_secret *secret, int64_t now_s)
{
    struct tls_tickets tickets;
    cr_assert_eq(tls_tickets_init(&tickets, secret, now_s), 0);
    return tickets;
}

static bool same(const struct tls_ticket_key *one, const struct tls_ticket_key *other)
{
    return memcmp(one, other, sizeof(*one)) == 0;
}

Test(tls_tickets, gives_all_who_have_the_secret_the_same_keys)
{
    struct tls_ticket_secret secret;
    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    struct tls_tickets one = tickets_at(&secret, NOW);
    struct tls_tickets late = tickets_at(&secret, NOW + 5 * EPOCH);
    cr_expect(!same(&one.current, &one.previous));
    cr_assert_eq(tls_tickets_advance(&one, NOW + 3 * EPOCH), 0);
    cr_assert_eq(tls_tickets_advance(&one, NOW + 5 * EPOCH), 0);
    cr_expect(same(&one.current, &late.current));
    cr_expect(same(&one.previous, &late.previous));
}

Test(tls_tickets, gives_another_secret_other_keys)
{
    struct tls_ticket_secret secret, other;
    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    cr_assert_eq(tls_ticket_secret_make(&other, NOW), 0);
    struct tls_tickets one = tickets_at(&secret, NOW), two = tickets_at(&other, NOW);
    cr_expect_null(tls_tickets_find(&one, two.current.name));
    cr_expect_null(tls_tickets_find(&one, two.previous.name));
}

Test(tls_tickets, opens_a_ticket_for_one_epoch_more_and_then_no_longer)
{
    struct tls_ticket_secret secret;
    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    struct tls_tickets tickets = tickets_at(&secret, NOW);
    const struct tls_ticket_key sealed = tickets.current;

    cr_assert_eq(tls_tickets_advance(&tickets, NOW + EPOCH), 0);
    const struct tls_ticket_key *found = tls_tickets_find(&tickets, sealed.name);
    cr_assert_eq(found, &tickets.previous);
    cr_expect(same(found, &sealed));
    cr_assert_eq(tls_tickets_advance(&tickets, NOW + 2 * EPOCH), 0);
    cr_expect_null(tls_tickets_find(&tickets, sealed.name));
}

Test(tls_tickets, keeps_no_secret_of_an_epoch_that_is_over)
{
    struct tls_ticket_secret secret;
    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    struct tls_tickets tickets = tickets_at(&secret, NOW + EPOCH);
    cr_expect_eq(tickets.secret.epoch, secret.epoch + 1);
    cr_expect_null(memmem(&tickets, sizeof(tickets), secret.bytes, sizeof(secret.bytes)));
}

Test(tls_tickets, keeps_its_keys_when_the_clock_is_set_back)
{
    struct tls_ticket_secret secret;
    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    struct tls_tickets tickets = tickets_at(&secret, NOW);
    const struct tls_tickets before = tickets;
    cr_assert_eq(tls_tickets_advance(&tickets, NOW - 10 * EPOCH), 0);
    cr_expect_eq(memcmp(&tickets, &before, sizeof(tickets)), 0);
}

Test(tls_tickets, tells_a_secret_in_a_line)
{
    struct tls_ticket_secret secret, read = {.epoch = 0};
    char line[TLS_TICKET_LINE_SIZE];

    cr_assert_eq(tls_ticket_secret_make(&secret, NOW), 0);
    tls_ticket_secret_write(&secret, line);
    cr_assert(tls_ticket_secret_read(line, &read), "%s", line);
    cr_expect_eq(read.epoch, secret.epoch);
    cr_expect_eq(memcmp(read.bytes, secret.bytes, sizeof(secret.bytes)), 0);
    cr_expect(!tls_ticket_secret_read("stop 1012", &read));
    cr_expect(!tls_ticket_secret_read("tickets 5 abcd", &read));
    cr_expect(!tls_ticket_secret_read("tickets", &read));
    line[strlen(line) - 1] = '\0';
    cr_expect(!tls_ticket_secret_read(line, &read));
}
