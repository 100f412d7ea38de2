/* What lies in Redis and comes over its channels: DESIGN.md's Redis contract as code.
 *
 * Receives   task ids, channel messages, fields of a task's hash, from redis_link's users
 * Hands on   keys, message heads (type, task, rev, where the payload lies), a task's stages
 * Owns       nothing; it also carries the text of the function library (progress.lua)
 *
 * A message of a task is made in one place, progress.lua, as
 *     {"type":"<type>","taskId":"<id>","rev":"<run>-<n>","payload":{…}}
 * in just this order and without white space, so its head is recognised, not parsed.
 */
#ifndef PROGRESSD_PROTO_REDIS_CONTRACT_H
#define PROGRESSD_PROTO_REDIS_CONTRACT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"
#include "proto/json.h"
#include "proto/message_tables.h" /* generated: enum task_message_type, *_MAX */

/* The longest key or channel; PREFIX_MAX counts the colon. */
#define TASK_KEY_MAX (PREFIX_MAX + TASK_ID_MAX)

/* A revision: ordered by n alone. n is microseconds since 1970 or a little more: it fits a
 * double. */
struct rev {
    char run[13]; /* base 36 of 64 bits is 13 digits at the most; not terminated by NUL */
    uint8_t run_len;
    uint64_t n;
};

/* "<run>-<n>": 13 + 1 + 20 characters and a NUL. */
#define REV_TEXT_SIZE 35
void rev_format(char buffer[REV_TEXT_SIZE], const struct rev *rev);

enum redis_contract_outcome { REDIS_CONTRACT_INVALID = 1 };

/* Reads "<run>-<n>": run 1 to 13 of 0-9 a-z, n below 2^53 without leading zeros. 0 or
 * REDIS_CONTRACT_INVALID. */
int rev_parse(struct span text, struct rev *ret_rev) MUST_CHECK;

bool rev_same_run(const struct rev *a, const struct rev *b);

/* 1 to 128 of A-Z a-z 0-9 . _ ~ : - */
bool task_id_is_valid(const char *text, size_t len);

/* [A-Za-z0-9_-]+: of at most PREFIX_MAX. */
bool prefix_is_valid(const char *text, size_t len);

/* The task id within a key or channel name, or {NULL, 0} when it isn't the prefix followed by a
 * valid task id. */
struct span task_id_of_key(struct span key, const char *prefix);

/* The head of a message of a task. Spans point into the message. */
struct task_message {
    enum task_message_type type;
    struct span task_id;
    struct rev rev;
    struct span payload; /* the object's raw text */
};

/* Recognises a message made by progress.lua. 0, or REDIS_CONTRACT_INVALID for anything else. */
int task_message_parse(struct span text, struct task_message *ret_message) MUST_CHECK;

/* {"type":"reset","taskId":…,"rev":…,"payload":{}}: as progress.lua makes it, for clients that
 * were on another run. */
void task_message_reset(struct text *text, const char *task_id, const struct rev *rev);

/* Whether a message of that type ends the task: complete always does, an error unless its payload
 * has "retryable":true. */
bool task_message_ends(const struct task_message *message);

/* The stages a task has entered, as the hash's field `stages` has them: a JSON array of
 * {"stage":…,"timestamp":…}, the last STAGES_MAX, oldest first. Follows a message as progress.lua
 * does: a stage_change enters toStage, a progress_update enters its stage if that isn't the last
 * one, a reset leaves none. 0, also when nothing had to change; or -ENOMEM with `stages` unchanged.
 */
int stages_follow(struct text *stages, const struct task_message *message) MUST_CHECK;

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

/* The function library, ready for FUNCTION LOAD, with these settings written into its head. */
#define STATE_TTL_MAX_S 31536000
#define PAYLOAD_MAX_LEAST 256
#define PAYLOAD_MAX_MOST 1048576
void progress_library(struct text *text, uint32_t state_ttl_s, uint32_t max_payload);

/* The version of this program's library, and the head of one that was found in Redis. */
#define PROGRESS_LIBRARY_NAME "progress"
struct library_head {
    uint32_t version, state_ttl_s, max_payload;
};
extern const uint32_t progress_library_version;
/* 0, also for a newer version with more settings than these; or REDIS_CONTRACT_INVALID when the
 * code has no such head: somebody else's library. */
int progress_library_head(struct span code, struct library_head *ret_head) MUST_CHECK;

/* A message published with plain PUBLISH, taken apart for progress_publish: the type's raw name
 * and the payload's raw text. `task_id` is the channel's, which the message may repeat. 0, or
 * REDIS_CONTRACT_INVALID with what is wrong, the member named. Type and payload themselves are
 * checked by the function. */
int plain_message_parse(struct span text, struct span task_id, struct span *ret_type,
                        struct span *ret_payload, char ret_why[128]) MUST_CHECK;

#endif
