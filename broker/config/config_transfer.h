/* The configuration's way from the supervisor to its children.
 *
 * Receives   struct config; a memory file, in a child
 * Hands on   the memory file; the same struct config
 * Owns       nothing
 *
 * The supervisor resolves the configuration once, and its children get the result, keys included:
 * they never see anything else than it did, and what file and keys have become meanwhile doesn't
 * matter.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_TRANSFER_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_TRANSFER_H

#include "broker/config/config.h"

/* The whole configuration as lines "name=value", secrets included. */
void config_write(const struct config *config, struct text *text);

/* The same as a memory file for children to inherit, sealed and close-on-exec, so that the spawner
 * chooses who gets it under which number. The descriptor, or -errno. */
int config_to_fd(const struct config *config) MUST_CHECK;

/* Reads it back, whole: the position, which all who inherit the file share, is neither used nor
 * moved, and the descriptor stays open. 0 and *ret_config, the caller's; CONFIG_INVALID when it is
 * no such file; -errno. */
int config_read_fd(int fd, struct config **ret_config) MUST_CHECK;

#endif
