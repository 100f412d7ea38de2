/* A configuration file: lines `name = value`, comments, and nothing else.
 *
 * Receives   a path
 * Hands on   name, value and line number of each line, by way of on_line
 * Owns       the open file, while it reads
 *
 * `#` and `;` begin a comment where a line or a value begins, and after a blank. A value in double
 * quotes is taken as it is, with \" and \\ for " and \. An indented line is a further value of the
 * name before it: that makes lists. [progressd] may stand above the options. A line may be of any
 * length; a byte order mark before the first is passed over.
 */
#ifndef PROGRESSD_BROKER_CONFIG_CONFIG_FILE_H
#define PROGRESSD_BROKER_CONFIG_CONFIG_FILE_H

#include "common/text.h"

enum config_file_outcome { CONFIG_FILE_INVALID = 1 };

/* What to do with a line: 0, or what config_file_read() is to return. */
typedef int (*config_file_on_line)(void *context, const char *name, const char *value, int line);

/* Reads the file until its end or the first error. 0; CONFIG_FILE_INVALID with a line in
 * `message`, the file's and line's name in it; or what on_line returned. */
int config_file_read(const char *path, config_file_on_line on_line, void *context,
                     struct text *message) MUST_CHECK;

#endif
