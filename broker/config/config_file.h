/* A configuration file: lines `name = value`, comments, and nothing else.
 *
 * Receives   a path, from config
 * Hands on   name, value and line number of each line, by way of on_line
 * Owns       the open file, while it reads
 *
 * The lines are taken apart by inih, which alone would not do: the distributions' build tells no
 * line numbers, cuts lines of 200 characters in two (the rest could be read as another option), and
 * stops at no error. So it is fed line by line here, and each line is looked at before. An indented
 * line goes on with the value of the line before it: that makes lists.
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
