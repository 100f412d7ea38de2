/* Files that hold a secret: read, and judged by who else may read or change them.
 *
 * Receives   a path
 * Hands on   the secret; what is unsafe about the file, in words
 * Owns       nothing
 */
#ifndef PROGRESSD_COMMON_SECRET_FILE_H
#define PROGRESSD_COMMON_SECRET_FILE_H

#include "common/text.h"

#define SECRET_FILE_MAX 65536 /* bytes */
#define SECRET_FILE_WHY_SIZE 128

enum secret_file_outcome { SECRET_FILE_UNSAFE = 1, SECRET_FILE_INVALID };

/* Who may get at a file, or at what is in a folder. 0: the process' user and root alone, and maybe
 * a group; SECRET_FILE_UNSAFE and the reason, which goes on after the path; -errno. */
int secret_file_judge(const char *path, char why[SECRET_FILE_WHY_SIZE]) MUST_CHECK;

/* Appends the file's text, without the line ends at its end, to an empty text. 0;
 * SECRET_FILE_INVALID when it is longer than SECRET_FILE_MAX, or has a NUL byte; -errno. */
int secret_file_read(const char *path, struct text *text) MUST_CHECK;

/* Wipes and frees a text that holds a secret. */
void secret_text_deinit(struct text *text);

#endif
