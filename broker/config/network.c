#include "broker/config/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "common/mem.h"

/* Whether all bits behind the prefix are zero. */
static bool is_prefix(const struct network *network)
{
    for (unsigned bit = network->bits; bit < 8u * network->len; bit++) {
        if (network->bytes[bit / 8] & (0x80 >> bit % 8)) {
            return false;
        }
    }
    return true;
}

static bool network_read(struct span word, struct network *ret_network)
{
    struct network network = {.len = 4};
    char text[INET6_ADDRSTRLEN];
    struct span address = word;
    uint64_t bits = 0;

    bool has_bits = span_take_until(&word, '/', &address);
    if (address.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, address.at, address.len);
    text[address.len] = '\0';
    if (inet_pton(AF_INET, text, network.bytes) != 1) {
        network.len = 16;
        if (inet_pton(AF_INET6, text, network.bytes) != 1) {
            return false;
        }
    }
    if (!has_bits) {
        network.bits = (uint8_t)(8 * network.len);
    } else {
        if (!span_take(&word, "/") ||
            !(span_is(word, "0") ||
              (span_take_number(&word, 8u * network.len, &bits) && word.len == 0))) {
            return false;
        }
        network.bits = (uint8_t)bits;
    }
    *ret_network = network;
    return is_prefix(&network);
}

int networks_add(struct networks *networks, const char *list, struct span *ret_fault)
{
    for (list += strspn(list, " "); *list; list += strspn(list, " ")) {
        struct span word = {list, strcspn(list, " ")};
        struct network network;

        if (!network_read(word, &network)) {
            *ret_fault = word;
            return NETWORK_INVALID;
        }
        struct network *items =
            mem_realloc(networks->items, (networks->count + 1) * sizeof(*items));
        if (!items) {
            return -ENOMEM;
        }
        networks->items = items;
        items[networks->count++] = network;
        list += word.len;
    }
    return 0;
}

void networks_write(const struct networks *networks, struct text *text)
{
    for (size_t i = 0; i < networks->count; i++) {
        const struct network *network = &networks->items[i];
        char address[INET6_ADDRSTRLEN];

        inet_ntop(network->len == 4 ? AF_INET : AF_INET6, network->bytes, address, sizeof(address));
        text_printf(text, "%s%s/%u", i > 0 ? " " : "", address, network->bits);
    }
}

void networks_deinit(struct networks *networks)
{
    mem_free(networks->items);
    *networks = (struct networks){NULL, 0};
}

static bool network_has(const struct network *network, const uint8_t *bytes, uint8_t len)
{
    const unsigned whole = network->bits / 8, rest = network->bits % 8;

    if (network->len != len || memcmp(network->bytes, bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || ((network->bytes[whole] ^ bytes[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

bool networks_have(const struct networks *networks, const struct sockaddr *peer)
{
    const uint8_t *bytes;
    uint8_t len;

    if (peer->sa_family == AF_INET) {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)peer)->sin_addr;
        len = 4;
    } else if (peer->sa_family == AF_INET6) {
        const struct in6_addr *ip6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        const bool mapped = IN6_IS_ADDR_V4MAPPED(ip6);
        bytes = ip6->s6_addr + (mapped ? 12 : 0);
        len = mapped ? 4 : 16;
    } else {
        return false;
    }
    for (size_t i = 0; i < networks->count; i++) {
        if (network_has(&networks->items[i], bytes, len)) {
            return true;
        }
    }
    return false;
}
