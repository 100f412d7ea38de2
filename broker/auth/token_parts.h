/* A JSON Web Token taken apart, before anybody trusts it (RFC 7515, RFC 7519).
 *
 * Receives   a token's text
 * Hands on   what the header says, the text of the claims, and what was signed
 * Owns       the decoded parts; borrows the text
 */
#ifndef PROGRESSD_BROKER_AUTH_TOKEN_PARTS_H
#define PROGRESSD_BROKER_AUTH_TOKEN_PARTS_H

#include "common/base64.h"
#include "proto/json.h"

/* Characters of the longest token. */
#define TOKEN_MAX 16384

struct token_parts {
    uint8_t decoded[BASE64_DECODED_SIZE(TOKEN_MAX)]; /* header, claims and signature in a row */
    struct span algorithm;                           /* a raw JSON string; so is kid */
    struct span kid;                                 /* {NULL, 0}: the token names no key */
    struct span claims;                              /* JSON, as json_check_lenient() takes it */
    struct span signed_text;                         /* of the token: all before the last dot */
    struct span signature;                           /* bytes; none in a token that isn't signed */
};

enum token_parts_outcome { TOKEN_MALFORMED = 1 };

/* Takes a token of at most TOKEN_MAX characters apart: three parts in base64url; the header an
 * object with `alg`, a string, and perhaps `kid`, a string or null, and `typ`, null or one of JWT,
 * at+jwt (RFC 9068) and these behind application/, in any case; none of these twice, and no `crit`,
 * since no extension is understood here. What else the header has isn't looked at. 0 and
 * *ret_parts, whose spans point into itself and into `token`; or TOKEN_MALFORMED, *ret_parts
 * undefined. */
int token_parts_read(struct span token, struct token_parts *ret_parts) MUST_CHECK;

/* Looks for `count` members of a checked object by name; what isn't there has raw {NULL, 0}.
 * 0, or TOKEN_MALFORMED when one of them is there twice. */
int token_members(struct json_value object, const char *const names[], size_t count,
                  struct json_value ret_values[]) MUST_CHECK;

#endif
