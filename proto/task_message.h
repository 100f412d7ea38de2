/* A message of a task, as progress.lua makes it:
 *     {"type":"<type>","taskId":"<id>","rev":"<run>-<n>","payload":{…}}
 * in just this order and without white space, so its head is recognised, not parsed. The payload is
 * checked as strictly as progress.lua does, since anybody who may publish could have made it.
 *
 * Receives   the text of a message
 * Hands on   its type, task and rev, and where the payload lies
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_TASK_MESSAGE_H
#define PROGRESSD_PROTO_TASK_MESSAGE_H

#include "common/text.h"
#include "proto/json.h"
#include "proto/message_tables.h" /* generated: enum task_message_type */
#include "proto/rev.h"

/* The head of a message of a task. Spans point into the message. */
struct task_message {
    enum task_message_type type;
    struct span task_id;
    struct rev rev;
    struct span payload; /* a checked object's raw text */
};

enum task_message_outcome { TASK_MESSAGE_INVALID = 1 };

/* Recognises a message as progress.lua makes it: its head, and a payload that is JSON in UTF-8 with
 * the members of its type (payload_rules.h). 0, or TASK_MESSAGE_INVALID for anything else. */
int task_message_parse(struct span text, struct task_message *ret_message) MUST_CHECK;

struct json_value task_message_payload(const struct task_message *message);

/* The type of that name. False: there is none. */
bool task_message_type_of(struct span name, enum task_message_type *ret_type) MUST_CHECK;

/* {"type":"reset","taskId":…,"rev":…,"payload":{}}: as progress.lua makes it, for clients that
 * were on another run; `rev` NULL: for clients of a task whose state is gone. */
void task_message_reset(struct text *text, const char *task_id, const struct rev *rev);

/* Whether a message of that type ends the task: complete always does, an error unless its payload
 * has "retryable":true. */
bool task_message_ends(const struct task_message *message);

#endif
