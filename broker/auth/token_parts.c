#include "broker/auth/token_parts.h"

#include <string.h>
#include <strings.h>

int token_members(struct json_value object, const char *const names[], size_t count,
                  struct json_value ret_values[])
{
    size_t position = 0;
    struct span name;
    struct json_value value;

    memset(ret_values, 0, count * sizeof(*ret_values));
    while (json_next_member(object, &position, &name, &value) == 0) {
        for (size_t i = 0; i < count; i++) {
            if (!json_string_is(name, names[i])) {
                continue;
            }
            if (ret_values[i].raw.at) {
                return TOKEN_MALFORMED;
            }
            ret_values[i] = value;
        }
    }
    return 0;
}

static bool is_absent(const struct json_value *value)
{
    return !value->raw.at || value->kind == JSON_NULL;
}

/* Whether the media type is that of a JWT, or of one that gives access (RFC 9068). Without case,
 * and `application/` may be left out (RFC 7515, 4.1.9). Others are tokens for other purposes. */
static bool is_jwt(const struct json_value *type)
{
    char name[sizeof("application/at+jwt")] = "";
    const char *subtype = name;
    size_t len;

    if (type->kind != JSON_STRING ||
        json_string_decode(type->raw, name, sizeof(name) - 1, &len) != 0 || strlen(name) != len) {
        return false;
    }
    if (strncasecmp(name, "application/", strlen("application/")) == 0) {
        subtype += strlen("application/");
    }
    return strcasecmp(subtype, "JWT") == 0 || strcasecmp(subtype, "at+jwt") == 0;
}

static int read_header(struct span header, struct token_parts *parts)
{
    enum { ALG, KID, TYP, CRIT, COUNT };
    static const char *const names[COUNT] = {"alg", "kid", "typ", "crit"};
    struct json_value object, values[COUNT];
    size_t offset;

    if (json_check_lenient(header, &object, &offset) != 0 || object.kind != JSON_OBJECT ||
        token_members(object, names, COUNT, values) != 0) {
        return TOKEN_MALFORMED;
    }
    if (values[ALG].kind != JSON_STRING || values[CRIT].raw.at ||
        (!is_absent(&values[KID]) && values[KID].kind != JSON_STRING) ||
        (!is_absent(&values[TYP]) && !is_jwt(&values[TYP]))) {
        return TOKEN_MALFORMED;
    }
    parts->algorithm = values[ALG].raw;
    parts->kid = is_absent(&values[KID]) ? (struct span){NULL, 0} : values[KID].raw;
    return 0;
}

/* Where the part at `from` ends: at the next dot, or at the token's end. */
static size_t end_of_part(struct span token, size_t from)
{
    const char *dot = memchr(token.at + from, '.', token.len - from);

    return dot ? (size_t)(dot - token.at) : token.len;
}

/* Decodes the parts, one behind the other. */
static int decode_parts(struct span token, struct token_parts *parts, struct span ret_parts[3])
{
    uint8_t *free_from = parts->decoded;
    size_t from = 0;

    for (int i = 0; i < 3; i++) {
        const size_t end = end_of_part(token, from);
        size_t decoded_len;

        if ((i < 2) != (end < token.len) ||
            base64_decode(BASE64_URL, token.at + from, end - from, free_from, &decoded_len) != 0) {
            return TOKEN_MALFORMED;
        }
        ret_parts[i] = (struct span){(char *)free_from, decoded_len};
        free_from += decoded_len;
        if (i < 2) {
            parts->signed_text = (struct span){token.at, end};
            from = end + 1;
        }
    }
    return 0;
}

int token_parts_read(struct span token, struct token_parts *ret_parts)
{
    struct span decoded[3];
    struct json_value claims;
    size_t offset;

    if (token.len > TOKEN_MAX || decode_parts(token, ret_parts, decoded) != 0 ||
        read_header(decoded[0], ret_parts) != 0 ||
        json_check_lenient(decoded[1], &claims, &offset) != 0) {
        return TOKEN_MALFORMED;
    }
    ret_parts->claims = claims.raw;
    ret_parts->signature = decoded[2];
    return 0;
}
