/* Secrets that are given to a command, and who can see them meanwhile.
 *
 * Receives   options of the command line; the environment
 * Hands on   the secret's text
 * Owns       nothing
 *
 * Everybody on the machine can read a command line (ps), and the environment of a container is easy
 * to look into. So secrets on the command line are covered once they have been read, and each
 * environment variable has a form with _FILE at its end, which names a file.
 */
#ifndef PROGRESSD_CLIENT_CLI_SECRET_H
#define PROGRESSD_CLIENT_CLI_SECRET_H

#include "common/text.h"

enum secret_outcome { SECRET_NONE = 1 };

/* Appends the value of an environment variable, or what stands in the file that VARIABLE_FILE
 * names, without line ends at its end. 0; SECRET_NONE: neither is set; -errno: the file can't be
 * read, is empty (-ENODATA), holds a NUL byte or more than 64 KiB (-EINVAL); -ENOMEM. */
int secret_from_environment(const char *variable, struct text *text) MUST_CHECK;

/* Overwrites an argument, or of a URL the password, or of a key [KID=]ALG:base64:DATA the data.
 * The argument must be of argv, or a copy of the caller's. All accept NULL. */
void secret_cover(const char *argument);
void secret_cover_url(const char *argument);
void secret_cover_key(const char *argument);

#endif
