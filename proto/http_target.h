/* A request's target (RFC 9112, 3.2).
 *
 * Receives   the target's text; its parts, to be compared or decoded
 * Hands on   path and query; text with its percent-encoding undone
 * Owns       nothing; spans point into the target
 */
#ifndef PROGRESSD_PROTO_HTTP_TARGET_H
#define PROGRESSD_PROTO_HTTP_TARGET_H

#include "proto/json.h"

struct http_target {
    struct span path;  /* percent-encoded, as it came; never empty */
    struct span query; /* what follows the `?`, or {NULL, 0} */
};

/* Divides a target in origin form or absolute form (of which the authority is dropped). NULL and
 * *ret_target, or what is wrong. */
const char *http_target_divide(struct span text, struct http_target *ret_target) MUST_CHECK;

enum http_target_outcome { HTTP_TARGET_BAD = 1 };

/* Decodes %XX (RFC 3986, 2.1). 0 and *ret_len, or HTTP_TARGET_BAD: an incomplete or non-hex
 * escape, or a result longer than `size`. */
int http_percent_decode(struct span text, char *buffer, size_t size, size_t *ret_len) MUST_CHECK;

#endif
