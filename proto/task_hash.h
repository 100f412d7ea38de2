/* The hash of a task: what its fields are.
 *
 * Receives   names and values of fields
 * Hands on   what each is
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_TASK_HASH_H
#define PROGRESSD_PROTO_TASK_HASH_H

#include "proto/task_message.h"

/* What of the hash a field is: a message of that type, or one of the others. */
enum hash_field {
    HASH_FIELD_MESSAGE,
    HASH_FIELD_RUN,
    HASH_FIELD_N,
    HASH_FIELD_STAGES,
    HASH_FIELD_ALIVE,
    HASH_FIELD_OTHER
};
enum hash_field hash_field_of(struct span name, enum task_message_type *ret_type);

/* When the job must have given its next sign of life, from the value of HASH_FIELD_ALIVE: in
 * microseconds since 1970 of Redis' clock; UINT64_MAX when the job isn't waited for. */
uint64_t alive_deadline(struct span value);

#endif
