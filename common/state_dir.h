/* Where progressd keeps what must outlive it, when nobody says otherwise.
 *
 * Receives   the environment, from the broker's configuration and from progressctl, which so finds
 *            the key and the socket of a broker that was started without options
 * Hands on   a path
 * Owns       nothing
 */
#ifndef PROGRESSD_COMMON_STATE_DIR_H
#define PROGRESSD_COMMON_STATE_DIR_H

#include <limits.h>

#include "common/result.h"

/* The embedded Redis' socket in it: a broker's own, and the way for jobs on the same machine. */
#define STATE_DIR_REDIS_SOCKET "redis.sock"

/* The default: the first of $STATE_DIRECTORY (as systemd sets it); for root /var/lib/progressd;
 * $XDG_STATE_HOME/progressd; $HOME/.local/state/progressd. `environment` ends with NULL.
 * 0; -ENOENT when none of them is set; -ENAMETOOLONG. */
int state_dir_default(char *const *environment, char ret_path[PATH_MAX]) MUST_CHECK;

/* Makes the directory, for its owner alone, and those above it as far as they are missing. 0, also
 * if it is there already; or -errno. */
int state_dir_make(const char *path) MUST_CHECK;

#endif
