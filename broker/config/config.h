/* What the broker was told: its options as one plain struct.
 *
 * Receives   values from flags, environment and file; in a child, from its parent
 * Hands on   struct config
 * Owns       nothing itself; what the struct's pointers point to is freed by config_free()
 *
 * Each member is an option, of the name in the table in config_options.c.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/config/network.h"
#include "broker/config/origin.h"
#include "common/jwt_key.h"
#include "common/log.h"
#include "common/redis_url.h"
#include "common/text.h"

enum config_address_kind {
    CONFIG_ADDRESS_OFF, /* don't listen */
    CONFIG_ADDRESS_IP4,
    CONFIG_ADDRESS_IP6,
    CONFIG_ADDRESS_ALL, /* every address: [::] that takes IPv4 too; 0.0.0.0 where IPv6 is missing */
};

struct config_address {
    enum config_address_kind kind;
    char ip[INET6_ADDRSTRLEN]; /* without brackets; "" if OFF or ALL */
    uint16_t port;             /* 0: any that is free */
};

/* An address that clients connect to, plain or by TLS. */
struct config_listener {
    struct config_address address;
    bool tls;
};

#define CONFIG_LISTENERS_MAX 8

struct config_listeners {
    struct config_listener items[CONFIG_LISTENERS_MAX];
    uint32_t count; /* at least 1 */
};

/* A certificate with the chain behind it, and its key (PEM). */
struct config_certificate {
    char *chain_file;
    char *key_file; /* NULL: in the chain's file */
};

struct config_certificates {
    struct config_certificate *items;
    size_t count;
};

struct config_keys {
    struct jwt_key *items;
    size_t count;
};

/* Connections of a worker that were refused, and have not taken that in yet. */
#define CONFIG_REFUSED_MAX 64

/* Strings are never NULL unless it is said. Limits of 0 mean what their comment says. */
struct config {
    char *file; /* the configuration file; NULL: none */
    struct config_listeners listen;
    struct config_address admin_listen;
    struct config_certificates tls_certificates;
    struct networks proxy_protocol_from;
    struct redis_url redis; /* of kind NONE: the supervisor runs one of its own */
    char *redis_prefix;     /* colon included */
    uint32_t workers;       /* at least 1: "0", one per core, has been counted */
    struct config_keys jwt_keys;
    char *jwt_jwks;                  /* NULL: none */
    char *jwt_issuer, *jwt_audience; /* NULL: not checked */
    uint32_t jwt_leeway_ms;          /* how far the issuer's clock may be from ours */
    char *state_dir;
    bool recorder;
    enum log_level log_level;
    enum log_format log_format;
    struct origins allowed_origins;
    char *web_root; /* NULL: no files are served */

    uint32_t max_connections; /* served, of a worker; main.c sees to it that descriptors suffice */
    uint32_t max_connections_per_address; /* of a worker; 0: no limit, settled by config_load */
    uint32_t max_handshakes;              /* in flight, of a worker */
    uint32_t max_subscriptions;           /* of a connection */
    uint32_t message_rate;                /* a client's requests a second: see allowance.h */
    uint32_t max_payload;                 /* bytes, of a job's message */
    uint32_t state_ttl_s;
    uint32_t handshake_timeout_ms, subscribe_timeout_ms;
    uint32_t ping_interval_ms, idle_timeout_ms;
    uint32_t resync_interval_ms, linger_ms, shutdown_timeout_ms;
    uint32_t worker_watchdog_ms; /* 0: off */
    uint32_t drain_delay_ms, drain_timeout_ms;
    uint32_t max_connection_age_ms; /* 0: no limit */
    bool ready_needs_redis;
};

/* Room for the reason why a value is refused. */
#define CONFIG_WHY_SIZE JWT_KEY_WHY_SIZE

/* What the functions named config_… find, besides 0 and -errno. */
enum config_outcome {
    CONFIG_INVALID = 1, /* the message names source, option and reason */
    CONFIG_HELP,        /* --help: the message is its text */
    CONFIG_VERSION,     /* --version: likewise */
    CONFIG_CHECKED,     /* --check-config, and all is well */
};

/* Accepts NULL. Secrets are wiped. Stands in config_options.c, whose table knows what to free. */
void config_free(struct config *config);
void config_free_at(struct config **config);

/* Whether an address of `listen` speaks TLS. */
bool config_listens_by_tls(const struct config *config);

/* Whether every address of `listen` is this machine's own, for itself only. */
bool config_is_loopback_only(const struct config *config);

/* The same as the option is written: "127.0.0.1:8080 https://[::1]:8443". */
void config_listeners_format(const struct config_listeners *listeners, struct text *text);

/* "127.0.0.1:8080", "[::1]:8080", "*:8080", "off": for logs and addresses. */
#define CONFIG_ADDRESS_SIZE (INET6_ADDRSTRLEN + 9)
void config_address_format(const struct config_address *address, char buffer[CONFIG_ADDRESS_SIZE]);

#endif
