/* What the broker was told: options from flags, environment and file, as one plain struct.
 *
 * Receives   argv and environ, from main; the memory file of config_to_fd(), in a child
 * Hands on   struct config, to every module's constructor; the text of --help
 * Owns       all that its pointers point to
 *
 * An option has one name everywhere: `redis-url` in the file, PROGRESSD_REDIS_URL in the
 * environment, --redis-url as a flag. A flag goes before the environment, that before the file, and
 * that before the default; what one source says of a repeatable option replaces what a lower one
 * said. All sources are checked, also where they don't win. The table of options is in
 * config_options.c.
 *
 * The supervisor resolves the configuration once; its children get the result, keys included, as a
 * memory file, so that they never see anything else than it did.
 */
#ifndef PROGRESSD_BROKER_CONFIG_H
#define PROGRESSD_BROKER_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/origin.h"
#include "common/jwt_key.h"
#include "common/log.h"
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

enum config_redis_kind {
    CONFIG_REDIS_EMBEDDED, /* none was named: the supervisor runs one of its own */
    CONFIG_REDIS_TCP,
    CONFIG_REDIS_UNIX,
};

struct config_redis {
    enum config_redis_kind kind;
    char *url;             /* as given: holds the password, so never show it */
    char *host;            /* TCP: a name or an address, without brackets */
    uint16_t port;         /* TCP */
    char *path;            /* UNIX */
    char *user, *password; /* decoded; NULL: none */
};

struct config_keys {
    struct jwt_key *items;
    size_t count;
};

/* Strings are never NULL unless it is said. Limits of 0 mean what their comment says. */
struct config {
    char *file; /* the configuration file; NULL: none */
    struct config_address listen, admin_listen;
    struct config_redis redis;
    char *redis_prefix; /* colon included */
    uint32_t workers;   /* at least 1: "0", one per core, has been counted */
    struct config_keys jwt_keys;
    char *jwt_issuer, *jwt_audience; /* NULL: not checked */
    char *state_dir;
    bool recorder;
    enum log_level log_level;
    enum log_format log_format;
    struct origins allowed_origins;

    uint32_t max_connections;             /* of a worker */
    uint32_t max_connections_per_address; /* of a worker; 0: no limit */
    uint32_t max_handshakes;              /* in flight, of a worker */
    uint32_t max_subscriptions;           /* of a connection */
    uint32_t message_rate; /* a client's messages a second; its burst is twice that */
    uint32_t max_payload;  /* bytes, of a job's message */
    uint32_t state_ttl_s;
    uint32_t handshake_timeout_ms, subscribe_timeout_ms;
    uint32_t ping_interval_ms, idle_timeout_ms;
    uint32_t resync_interval_ms, linger_ms, shutdown_timeout_ms;
    bool ready_needs_redis;
};

enum config_outcome {
    CONFIG_INVALID = 1, /* the message names source, option and reason */
    CONFIG_HELP,        /* --help: the message is its text */
    CONFIG_VERSION,     /* --version: likewise */
    CONFIG_CHECKED,     /* --check-config, and all is well */
};

/* Reads the options of argv[1] …, of the environment (ends with NULL) and of the file that these
 * name. 0 and *ret_config, the caller's; a config_outcome; or -ENOMEM. Appends to `message` what is
 * to be printed: whole lines; with 0 and CONFIG_CHECKED those are warnings, often none. Exits and
 * logs nothing, and shows no secret. */
int config_load(int argc, char *const *argv, char *const *environment, struct config **ret_config,
                struct text *message) MUST_CHECK;

/* Accepts NULL. Secrets are wiped. */
void config_free(struct config *config);
void config_free_at(struct config **config);

/* Whether every address of `listen` is this machine's own, for itself only. */
bool config_is_loopback_only(const struct config *config);

/* Sees to it that there is a key to check tokens with: if none is configured (and so `listen` is
 * loopback only) takes JWT_KEY_FILE of the state directory, which is made, as is the directory, if
 * it is missing. 0 and whether the key is new; CONFIG_INVALID with a line in `message`, when
 * the directory or file can't be made, read or used; or -ENOMEM. */
int config_ensure_key(struct config *config, bool *ret_made, struct text *message) MUST_CHECK;

/* The embedded Redis has been started: from now on its socket is the Redis that was named. 0;
 * CONFIG_INVALID when the path is too long for a socket; -ENOMEM. Unchanged on failure. */
int config_set_redis_socket(struct config *config, const char *path) MUST_CHECK;

/* The whole configuration as lines "name=value", secrets included. */
void config_write(const struct config *config, struct text *text);

/* The same as a memory file for children to inherit, sealed and close-on-exec, so that the spawner
 * chooses who gets it under which number. The descriptor, or -errno. */
int config_to_fd(const struct config *config) MUST_CHECK;

/* Reads it back, whole: the position, which all who inherit the file share, is neither used nor
 * moved, and the descriptor stays open. 0 and *ret_config, the caller's; CONFIG_INVALID when it is
 * no such file; -errno. */
int config_read_fd(int fd, struct config **ret_config) MUST_CHECK;

/* "127.0.0.1:8080", "[::1]:8080", "*:8080", "off": for logs and addresses. */
#define CONFIG_ADDRESS_SIZE (INET6_ADDRSTRLEN + 9)
void config_address_format(const struct config_address *address, char buffer[CONFIG_ADDRESS_SIZE]);

#endif
