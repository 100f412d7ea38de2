/* The address of a Redis server, as a URL.
 *
 * Receives   redis://[user[:password]@]host[:port] or unix://[user:password@]/path, from the
 *            broker's configuration and from progressctl
 * Hands on   its parts, decoded
 * Owns       the parts
 *
 * What stands before the @ is percent-encoded where it must be, and so is a socket's path. Reasons
 * of a refusal repeat nothing of the URL, since a password may be anywhere in a wrong one.
 */
#ifndef PROGRESSD_COMMON_REDIS_URL_H
#define PROGRESSD_COMMON_REDIS_URL_H

#include <stdint.h>

#include "common/text.h"

enum redis_url_kind {
    REDIS_URL_NONE, /* the URL was empty: no server is named */
    REDIS_URL_TCP,
    REDIS_URL_UNIX,
};

struct redis_url {
    enum redis_url_kind kind;
    char *url;             /* as given: holds the password, so never show it */
    char *host;            /* TCP: a name or an address, without brackets */
    uint16_t port;         /* TCP */
    char *path;            /* UNIX */
    char *user, *password; /* decoded; NULL: none */
};

enum redis_url_outcome { REDIS_URL_INVALID = 1 };

/* 0 and *ret_redis, the caller's; REDIS_URL_INVALID and the reason, which goes on after the name of
 * an option; -ENOMEM. */
#define REDIS_URL_WHY_SIZE 128
int redis_url_read(const char *url, struct redis_url *ret_redis,
                   char why[REDIS_URL_WHY_SIZE]) MUST_CHECK;

/* Appends the URL of a socket without user and password. */
void redis_url_of_socket(const char *path, struct text *text);

/* Frees the parts, wipes the secret ones; none is named any more. */
void redis_url_deinit(struct redis_url *redis);

#endif
