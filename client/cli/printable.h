/* Text of others, made fit to be shown on a terminal.
 *
 * Receives   any text
 * Hands on   the same without control characters, and its width
 * Owns       nothing
 *
 * A job's words may hold anything; an escape sequence in them must not reach the terminal.
 */
#ifndef PROGRESSD_CLIENT_CLI_PRINTABLE_H
#define PROGRESSD_CLIENT_CLI_PRINTABLE_H

#include "common/text.h"

/* Appends `source` up to `columns` columns, control characters as `?`, and where the terminal
 * doesn't speak UTF-8 all that isn't ASCII too. If it had to be cut it ends with `…` or `~`.
 * Returns the columns used. */
size_t printable_append(struct text *text, const char *source, size_t columns, bool utf8);

#endif
