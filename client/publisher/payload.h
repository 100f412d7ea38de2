/* The payloads of a job's messages, as JSON that the function library takes.
 *
 * Receives   what the job tells
 * Hands on   the payload's text; or what is wrong with the arguments
 * Owns       nothing
 *
 * All return 0 with the payload in `text`, which was empty; PAYLOAD_INVALID with the reason in
 * `ret_why`; or -ENOMEM.
 */
#ifndef PROGRESSD_CLIENT_PAYLOAD_H
#define PROGRESSD_CLIENT_PAYLOAD_H

#include "common/text.h"

enum payload_outcome { PAYLOAD_INVALID = 1 };

#define PAYLOAD_WHY_SIZE 128

/* `from` is NULL before the first stage. `now_ms` since 1970: a stage may wait for Redis, and was
 * entered when it was told. */
int payload_stage(struct text *text, const char *from, const char *to, uint64_t now_ms,
                  char ret_why[PAYLOAD_WHY_SIZE]) MUST_CHECK;

struct payload_update {
    double percentage;
    const char *stage;
    uint64_t bytes_done, bytes_total; /* total 0: not told */
    double speed;                     /* bytes a second; negative: not told */
};
int payload_update(struct text *text, const struct payload_update *update,
                   char ret_why[PAYLOAD_WHY_SIZE]) MUST_CHECK;

int payload_complete(struct text *text, const char *result_url, double seconds, size_t max,
                     char ret_why[PAYLOAD_WHY_SIZE]) MUST_CHECK;

/* Cuts and mends `message` until the payload is one of at most `max` bytes. */
int payload_error(struct text *text, const char *code, const char *message, bool retryable,
                  size_t max, char ret_why[PAYLOAD_WHY_SIZE]) MUST_CHECK;

#endif
