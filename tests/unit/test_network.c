#include "broker/config/network.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct networks networks_of(const char *list)
{
    struct networks networks = {NULL, 0};
    struct span fault = {NULL, 0};

    cr_assert_eq(networks_add(&networks, list, &fault), 0, "%s: %.*s", list, (int)fault.len,
                 fault.at);
    return networks;
}

static bool have(const char *list, const char *peer)
{
    struct networks networks = networks_of(list);
    struct sockaddr_in ip4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6};
    const struct sockaddr *address = (struct sockaddr *)&ip4;

    if (inet_pton(AF_INET, peer, &ip4.sin_addr) != 1) {
        cr_assert_eq(inet_pton(AF_INET6, peer, &ip6.sin6_addr), 1);
        address = (struct sockaddr *)&ip6;
    }
    bool result = networks_have(&networks, address);
    networks_deinit(&networks);
    return result;
}

Test(network, has_the_addresses_of_its_prefix)
{
    cr_expect(have("192.0.2.0/24", "192.0.2.255"));
    cr_expect(!have("192.0.2.0/24", "192.0.3.0"));
    cr_expect(have("192.0.2.128/25", "192.0.2.128"));
    cr_expect(!have("192.0.2.128/25", "192.0.2.127"));
    cr_expect(have("10.0.0.0/7", "11.255.0.1"));
    cr_expect(!have("10.0.0.0/7", "12.0.0.0"));
    cr_expect(have("192.0.2.1", "192.0.2.1"));
    cr_expect(!have("192.0.2.1", "192.0.2.0"));
    cr_expect(have("0.0.0.0/0", "203.0.113.9"));
    cr_expect(have("2001:db8::/33", "2001:db8:7fff::1"));
    cr_expect(!have("2001:db8::/33", "2001:db8:8000::1"));
    cr_expect(have("::1", "::1"));
}

Test(network, is_of_one_family)
{
    cr_expect(!have("0.0.0.0/0", "2001:db8::1"));
    cr_expect(!have("::/0", "192.0.2.1"));
    cr_expect(have("192.0.2.0/24", "::ffff:192.0.2.7"));
    cr_expect(!have("::/0", "::ffff:192.0.2.7"));
    struct networks networks = networks_of("0.0.0.0/0 ::/0");
    cr_expect(!networks_have(&networks, &(struct sockaddr){.sa_family = AF_UNIX}));
    networks_deinit(&networks);
}

Test(network, is_one_of_a_list)
{
    cr_expect(have(" 192.0.2.0/24  2001:db8::/32 ", "2001:db8::1"));
    cr_expect(!have("192.0.2.0/24 198.51.100.0/24", "203.0.113.1"));
    cr_expect(!have("", "203.0.113.1"));
}

Test(network, is_written_as_it_is_read)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;
    struct networks networks = networks_of("192.0.2.1 10.0.0.0/8 2001:db8::/32 ::/0");

    networks_write(&networks, &text);
    cr_expect_str_eq(text.data, "192.0.2.1/32 10.0.0.0/8 2001:db8::/32 ::/0");
    networks_deinit(&networks);
}

Test(network, names_the_word_that_is_none)
{
    static const char *const words[] = {"192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/",
                                        "192.0.2/24",   "192.0.2.0/08", "2001:db8::/129",
                                        "host/8",       "10.0.0.0/8/8", "192.0.2.0/-1"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct networks networks = {NULL, 0};
        struct span fault = {NULL, 0};
        char list[64];

        snprintf(list, sizeof(list), "10.0.0.0/8 %s", words[i]);
        cr_expect_eq(networks_add(&networks, list, &fault), NETWORK_INVALID, "%s", words[i]);
        cr_expect(span_is(fault, words[i]), "%s", words[i]);
        networks_deinit(&networks);
    }
}
