/* The names of a task: its id, and the key and channel that hold it.
 *
 * Receives   ids, prefixes and keys from outside
 * Hands on   whether they are valid; the id within a key
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_TASK_KEY_H
#define PROGRESSD_PROTO_TASK_KEY_H

#include "common/span.h"
#include "proto/message_tables.h" /* generated: TASK_ID_MAX, PREFIX_MAX */

/* The longest key or channel; PREFIX_MAX counts the colon. */
#define TASK_KEY_MAX (PREFIX_MAX + TASK_ID_MAX)

/* What a task id must be, for whoever is told so. */
#define TASK_ID_FORM "1 to 128 of A-Z a-z 0-9 . _ ~ : -, and neither . nor .."

/* Whether it is TASK_ID_FORM. `.` and `..` are not, since nobody could ask for them by HTTP: they
 * are steps within a path (RFC 3986, 5.2.4). */
bool task_id_is_valid(const char *text, size_t len);

/* Whether a task id may begin so: as above, but for `.` and `..`. */
bool task_id_beginning_is_valid(const char *text, size_t len);

/* [A-Za-z0-9_-]+: of at most PREFIX_MAX. */
bool prefix_is_valid(const char *text, size_t len);

/* The task id within a key or channel name, or {NULL, 0} when it isn't the prefix followed by a
 * valid task id. */
struct span task_id_of_key(struct span key, const char *prefix);

#endif
