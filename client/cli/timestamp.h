/* The timestamps of messages, ISO 8601 as the protocol has them, read.
 *
 * Receives   a timestamp's text
 * Hands on   milliseconds since 1970
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_TIMESTAMP_H
#define PROGRESSD_CLIENT_CLI_TIMESTAMP_H

#include <stdint.h>

#include "common/result.h"

enum timestamp_outcome { TIMESTAMP_INVALID = 1 };

/* Reads YYYY-MM-DDTHH:MM[:SS[.fraction]][Z|+HH:MM|-HH:MM]; without a zone it is local time, as a
 * browser takes it. 0 or TIMESTAMP_INVALID. */
int timestamp_read(const char *text, int64_t *ret_ms) MUST_CHECK;

#endif
