#include "broker/config/config.h"

#include <arpa/inet.h>
#include <stdio.h>

bool config_is_loopback_only(const struct config *config)
{
    struct in_addr ip4;
    struct in6_addr ip6;

    switch (config->listen.kind) {
    case CONFIG_ADDRESS_IP4:
        return inet_pton(AF_INET, config->listen.ip, &ip4) == 1 &&
               ntohl(ip4.s_addr) >> 24 == IN_LOOPBACKNET;
    case CONFIG_ADDRESS_IP6:
        return inet_pton(AF_INET6, config->listen.ip, &ip6) == 1 && IN6_IS_ADDR_LOOPBACK(&ip6);
    case CONFIG_ADDRESS_OFF:
        return true;
    case CONFIG_ADDRESS_ALL:
        break;
    }
    return false;
}

void config_address_format(const struct config_address *address, char buffer[CONFIG_ADDRESS_SIZE])
{
    static const char *const formats[] = {[CONFIG_ADDRESS_OFF] = "off",
                                          [CONFIG_ADDRESS_IP4] = "%s:%u",
                                          [CONFIG_ADDRESS_IP6] = "[%s]:%u",
                                          [CONFIG_ADDRESS_ALL] = "*%s:%u"};

    snprintf(buffer, CONFIG_ADDRESS_SIZE, formats[address->kind], address->ip, address->port);
}
