/* The kinds of values that options have: how each is read from text and written again.
 *
 * Receives   one option's text and range
 * Hands on   the member of struct config, filled
 * Owns       nothing; what a member points to belongs to the struct config
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_VALUE_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_VALUE_H

#include "broker/config/config.h"

/* What config_type_count (the number) and config_type_seconds (the milliseconds) may be. */
struct config_range {
    uint32_t min, max;
};

struct config_type {
    /* Puts the value into the member, in place of what is there; a repeatable one adds to it. 0;
     * CONFIG_INVALID and the reason, without the option's name; -ENOMEM. On failure the member
     * may hold part of a list. */
    int (*read)(const struct config_range *range, const char *text, void *member,
                char why[CONFIG_WHY_SIZE]);
    /* Writes it as read() takes it. */
    void (*write)(const void *member, struct text *text);
    /* Frees what the member owns and makes it zero. NULL: it owns nothing. */
    void (*clear)(void *member);
    /* Appends to the message, each line behind `where`, what is unsafe about a value that read()
     * took. NULL: nothing ever is. */
    void (*judge)(const char *text, const char *where, struct text *message);
    bool is_repeatable;
    bool is_secret; /* values are never shown */
};

/* The type of the member that an option has in struct config. */
extern const struct config_type config_type_listeners;    /* struct config_listeners */
extern const struct config_type config_type_networks;     /* struct networks */
extern const struct config_type config_type_certificates; /* struct config_certificates */
extern const struct config_type
    config_type_address_or_off;                         /* struct config_address, "off" allowed */
extern const struct config_type config_type_redis;      /* struct redis_url */
extern const struct config_type config_type_prefix;     /* char * */
extern const struct config_type config_type_text;       /* char *; "" is NULL */
extern const struct config_type config_type_keys;       /* struct config_keys */
extern const struct config_type config_type_origins;    /* struct origins */
extern const struct config_type config_type_count;      /* uint32_t, within the range */
extern const struct config_type config_type_seconds;    /* uint32_t milliseconds, likewise */
extern const struct config_type config_type_switch;     /* bool */
extern const struct config_type config_type_log_level;  /* enum log_level */
extern const struct config_type config_type_log_format; /* enum log_format */

#endif
