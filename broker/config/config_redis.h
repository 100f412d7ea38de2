/* The address of a Redis server, as a URL.
 *
 * Receives   redis://… or unix://…, from config_value
 * Hands on   its parts, decoded
 * Owns       the parts
 *
 * What stands before the @ is percent-encoded where it must be, and so is a socket's path. Reasons
 * of a refusal repeat nothing of the URL, since a password may be anywhere in a wrong one.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_REDIS_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_REDIS_H

#include "broker/config/config.h"

/* 0 and *ret_redis, the caller's; CONFIG_INVALID and the reason; -ENOMEM. */
int config_redis_read(const char *url, struct config_redis *ret_redis,
                      char why[CONFIG_WHY_SIZE]) MUST_CHECK;

/* Appends the URL of a socket without user and password. */
void config_redis_socket_url(const char *path, struct text *text);

/* Frees the parts, wipes the secret ones; an embedded Redis remains. */
void config_redis_deinit(struct config_redis *redis);

#endif
