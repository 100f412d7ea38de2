#include "broker/auth/token_parts.h"

#include <string.h>
#include <strings.h>

int token_members(struct json_value object, const char *const names[], size_t count,
                  struct json_value ret_values[])
{
    size_t position = 0;
    struct span name;
    struct json_value value;

    memset(ret_values, 0, count * sizeof *ret_values);
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
    return !value->raw.at;
}

/* The media type's name is compared without case (RFC 7515, 4.1.9). */
static bool is_jwt(const struct json_value *type)
{
    char name[8];
    size_t len;

    return type->kind == JSON_STRING &&
           json_string_decode(type->raw, name, sizeof name, &len) == 0 && len == 3 &&
           strncasecmp(name, "JWT", 3) == 0;
}

static int read_header(struct span header, struct token_parts *parts)
{
    enum { ALG, KID, TYP, CRIT, COUNT };
    static const char *const names[COUNT] = {"alg", "kid", "typ", "crit"};
    struct json_value object, values[COUNT];
    size_t offset;

    if (json_check(header, &object, &offset) != 0 || object.kind != JSON_OBJECT ||
        token_members(object, names, COUNT, values) != 0) {
        return TOKEN_MALFORMED;
    }
    if (values[ALG].kind != JSON_STRING || !is_absent(&values[CRIT]) ||
        (!is_absent(&values[KID]) && values[KID].kind != JSON_STRING) ||
        (!is_absent(&values[TYP]) && !is_jwt(&values[TYP]))) {
        return TOKEN_MALFORMED;
    }
    parts->algorithm = values[ALG].raw;
    parts->kid = values[KID].raw;
    return 0;
}

/* Decodes the parts, one behind the other. */
static int decode_parts(struct token_parts *parts, struct span ret_parts[3])
{
    const char *at = parts->text;
    uint8_t *free_from = parts->decoded;

    for (int i = 0; i < 3; i++) {
        size_t len = strcspn(at, "."), decoded_len;

        if ((i < 2) != (at[len] == '.') ||
            base64_decode(BASE64_URL, at, len, free_from, &decoded_len) != 0) {
            return TOKEN_MALFORMED;
        }
        ret_parts[i] = (struct span){(char *)free_from, decoded_len};
        free_from += decoded_len;
        at += len + 1;
    }
    return 0;
}

int token_parts_read(struct span token, struct token_parts *ret_parts)
{
    struct span decoded[3];
    struct json_value claims;
    size_t offset;

    if (token.len > TOKEN_MAX || memchr(token.at, '\0', token.len)) {
        return TOKEN_MALFORMED;
    }
    memcpy(ret_parts->text, token.at, token.len);
    ret_parts->text[token.len] = '\0';
    if (decode_parts(ret_parts, decoded) != 0 || read_header(decoded[0], ret_parts) != 0 ||
        json_check(decoded[1], &claims, &offset) != 0) {
        return TOKEN_MALFORMED;
    }
    ret_parts->claims = claims.raw;
    ret_parts->signature_len = decoded[2].len;
    return 0;
}
