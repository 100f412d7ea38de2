#include "broker/config/config.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool is_loopback(const struct config_address *address)
{
    struct in_addr ip4;
    struct in6_addr ip6;

    switch (address->kind) {
    case CONFIG_ADDRESS_IP4:
        return inet_pton(AF_INET, address->ip, &ip4) == 1 &&
               ntohl(ip4.s_addr) >> 24 == IN_LOOPBACKNET;
    case CONFIG_ADDRESS_IP6:
        return inet_pton(AF_INET6, address->ip, &ip6) == 1 && IN6_IS_ADDR_LOOPBACK(&ip6);
    case CONFIG_ADDRESS_OFF:
        return true;
    case CONFIG_ADDRESS_ALL:
        break;
    }
    return false;
}

bool config_is_loopback_only(const struct config *config)
{
    for (uint32_t i = 0; i < config->listen.count; i++) {
        if (!is_loopback(&config->listen.items[i].address)) {
            return false;
        }
    }
    return true;
}

bool config_listens_by_tls(const struct config *config)
{
    for (uint32_t i = 0; i < config->listen.count; i++) {
        if (config->listen.items[i].tls) {
            return true;
        }
    }
    return false;
}

void config_listeners_format(const struct config_listeners *listeners, struct text *text)
{
    char address[CONFIG_ADDRESS_SIZE];

    for (uint32_t i = 0; i < listeners->count; i++) {
        config_address_format(&listeners->items[i].address, address);
        text_printf(text, "%s%s%s", i > 0 ? " " : "", listeners->items[i].tls ? "https://" : "",
                    address);
    }
}

void config_address_format(const struct config_address *address, char buffer[CONFIG_ADDRESS_SIZE])
{
    static const char *const formats[] = {[CONFIG_ADDRESS_OFF] = "off",
                                          [CONFIG_ADDRESS_IP4] = "%s:%u",
                                          [CONFIG_ADDRESS_IP6] = "[%s]:%u",
                                          [CONFIG_ADDRESS_ALL] = "*%s:%u"};

    snprintf(buffer, CONFIG_ADDRESS_SIZE, formats[address->kind], address->ip, address->port);
}
