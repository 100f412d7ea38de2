/* A message that a job publishes with plain PUBLISH.
 *
 * Receives   the text of a message
 * Hands on   the arguments of progress_publish
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_PLAIN_MESSAGE_H
#define PROGRESSD_PROTO_PLAIN_MESSAGE_H

#include "common/span.h"

enum plain_message_outcome { PLAIN_MESSAGE_INVALID = 1 };

/* A message published with plain PUBLISH, taken apart for progress_publish: the type's raw name
 * and the payload's raw text. `task_id` is the channel's, which the message may repeat. 0, or
 * PLAIN_MESSAGE_INVALID with what is wrong, the member named. Type and payload themselves are
 * checked by the function. */
int plain_message_parse(struct span text, struct span task_id, struct span *ret_type,
                        struct span *ret_payload, char ret_why[128]) MUST_CHECK;

#endif
