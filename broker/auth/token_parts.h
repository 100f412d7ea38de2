/* A JSON Web Token taken apart, before anybody trusts it (RFC 7515, RFC 7519).
 *
 * Receives   a token's text, from auth
 * Hands on   what the header says, and the text of the claims
 * Owns       copies, within the struct
 */
#ifndef PROGRESSD_BROKER_AUTH_TOKEN_PARTS_H
#define PROGRESSD_BROKER_AUTH_TOKEN_PARTS_H

#include "common/base64.h"
#include "proto/json.h"
#include "proto/message.h" /* TOKEN_MAX */

struct token_parts {
    char text[TOKEN_MAX + 1];                        /* the token, with a NUL behind */
    uint8_t decoded[BASE64_DECODED_SIZE(TOKEN_MAX)]; /* header, claims and signature in a row */
    struct span algorithm;                           /* a raw JSON string; so is kid */
    struct span kid;                                 /* {NULL, 0}: the token names no key */
    struct span claims;                              /* valid JSON */
    size_t signature_len;                            /* bytes; 0 in a token that isn't signed */
};

enum token_parts_outcome { TOKEN_MALFORMED = 1 };

/* Takes a token apart: three parts in base64url; the header an object with `alg`, a string, and
 * perhaps `kid`, a string, and `typ`, which is JWT; none of these twice, and no `crit`, since no
 * extension is understood here. 0 and *ret_parts, whose spans point into itself; or
 * TOKEN_MALFORMED, *ret_parts undefined. */
int token_parts_read(struct span token, struct token_parts *ret_parts) MUST_CHECK;

/* Looks for `count` members of a checked object by name; what isn't there has raw {NULL, 0}.
 * 0, or TOKEN_MALFORMED when one of them is there twice. */
int token_members(struct json_value object, const char *const names[], size_t count,
                  struct json_value ret_values[]) MUST_CHECK;

#endif
