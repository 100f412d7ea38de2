#include "broker/auth/jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <string.h>

#include "broker/auth/token_parts.h"
#include "common/mem.h"
#include "common/pem_key.h"

#define NUMBER_MAX 1024 /* bytes: an RSA key of 8192 bits */
#define NUMBER_TEXT_MAX 1400
#define KID_SIZE 129
#define EXPONENT_MAX 8 /* bytes; a larger one takes too long */

enum { KTY, KID, USE, ALG, CRV, N, E, X, Y, D, K, MEMBERS };
static const char *const member_names[MEMBERS] = {"kty", "kid", "use", "alg", "crv", "n",
                                                  "e",   "x",   "y",   "d",   "k"};

static const struct {
    const char *type, *curve, *group;
    size_t size; /* of a coordinate */
    enum jwt_key_algorithm algorithm;
} kinds[] = {
    {"RSA", NULL, NULL, 0, JWT_KEY_RS256},
    {"EC", "P-256", "prime256v1", 32, JWT_KEY_ES256},
    {"EC", "P-384", "secp384r1", 48, JWT_KEY_ES384},
    {"EC", "P-521", "secp521r1", 66, JWT_KEY_ES512},
    {"OKP", "Ed25519", "ED25519", 32, JWT_KEY_EDDSA},
};

static bool member_is(const struct json_value *value, const char *text)
{
    return value->raw.at && value->kind == JSON_STRING && json_string_is(value->raw, text);
}

/* ── Keys ────────────────────────────────────────────────────────────────────────────────────── */

/* A number in base64url. Its length; 0: it is none, or too long. */
static size_t read_number(const struct json_value *value, uint8_t number[NUMBER_MAX])
{
    char text[NUMBER_TEXT_MAX];
    uint8_t decoded[BASE64_DECODED_SIZE(NUMBER_TEXT_MAX)];
    size_t text_len, len;

    if (!value->raw.at || value->kind != JSON_STRING ||
        json_string_decode(value->raw, text, sizeof(text), &text_len) != 0 ||
        base64_decode(BASE64_URL, text, text_len, decoded, &len) != 0 || len > NUMBER_MAX) {
        return 0;
    }
    memcpy(number, decoded, len);
    return len;
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (!parameters || !context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return key;
}

static EVP_PKEY *rsa_from(const struct json_value values[])
{
    uint8_t modulus[NUMBER_MAX], exponent[NUMBER_MAX];
    const size_t n_len = read_number(&values[N], modulus),
                 e_len = read_number(&values[E], exponent);

    if (n_len == 0 || e_len == 0 || e_len > EXPONENT_MAX) {
        return NULL;
    }
    BIGNUM *n = BN_bin2bn(modulus, (int)n_len, NULL), *e = BN_bin2bn(exponent, (int)e_len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (n && e && build && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        key = key_from("RSA", build);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *ec_from(const struct json_value values[], const char *group, size_t size)
{
    uint8_t x[NUMBER_MAX], y[NUMBER_MAX], point[1 + 2 * 66] = {4}; /* uncompressed */
    EVP_PKEY *key = NULL;

    if (read_number(&values[X], x) != size || read_number(&values[Y], y) != size) {
        return NULL;
    }
    memcpy(point + 1, x, size);
    memcpy(point + 1 + size, y, size);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size) ==
            1) {
        key = key_from("EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return key;
}

static EVP_PKEY *okp_from(const struct json_value values[], const char *type, size_t size)
{
    uint8_t x[NUMBER_MAX];

    return read_number(&values[X], x) == size
               ? EVP_PKEY_new_raw_public_key_ex(NULL, type, NULL, x, size)
               : NULL;
}

/* The key's text in PEM becomes the jwt_key's. */
static bool write_pem(EVP_PKEY *parsed, struct jwt_key *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    bool done = false;

    if (bio && PEM_write_bio_PUBKEY(bio, parsed) == 1) {
        const long len = BIO_get_mem_data(bio, &pem);

        key->secret = len > 0 ? mem_alloc((size_t)len) : NULL;
        if (key->secret) {
            memcpy(key->secret, pem, (size_t)len);
            key->secret_len = (size_t)len;
            done = true;
        }
    }
    BIO_free(bio);
    return done;
}

/* ── Members of the set ──────────────────────────────────────────────────────────────────────── */

/* In place of a reason. */
static const char *const taken = NULL;

static const char *read_algorithm(const struct json_value *alg, struct jwt_key *key)
{
    if (!alg->raw.at) {
        return taken; /* its kind's */
    }
    for (int i = JWT_KEY_RS256; i < JWT_KEY_ALGORITHMS; i++) {
        if (member_is(alg, jwt_key_algorithm_name(i))) {
            key->algorithm = i;
            return taken;
        }
    }
    return "its alg is none of those that are taken";
}

static const char *read_kid(const struct json_value *kid, struct jwt_key *key)
{
    char text[KID_SIZE];
    size_t len;

    if (!kid->raw.at) {
        return taken;
    }
    if (kid->kind != JSON_STRING || json_string_decode(kid->raw, text, sizeof(text), &len) != 0 ||
        len == 0 || memchr(text, '\0', len)) {
        return "its kid is no text of 1 to 128 bytes";
    }
    key->kid = mem_strndup(text, len);
    return key->kid ? taken : "out of memory";
}

static const char *read_key(const struct json_value values[], struct jwt_key *key,
                            char why[JWT_KEY_WHY_SIZE])
{
    EVP_PKEY *parsed = NULL;
    const char *reason = "its kty or crv is none of those that are taken";

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!member_is(&values[KTY], kinds[i].type) ||
            (kinds[i].curve && !member_is(&values[CRV], kinds[i].curve))) {
            continue;
        }
        key->algorithm = kinds[i].algorithm;
        parsed = !kinds[i].curve           ? rsa_from(values)
                 : kinds[i].type[0] == 'E' ? ec_from(values, kinds[i].group, kinds[i].size)
                                           : okp_from(values, kinds[i].group, kinds[i].size);
        reason = parsed ? read_algorithm(&values[ALG], key) : "its numbers are no key";
        break;
    }
    if (!reason && pem_key_check(parsed, key->algorithm, why) != 0) {
        reason = why;
    }
    if (!reason && !write_pem(parsed, key)) {
        reason = "out of memory";
    }
    EVP_PKEY_free(parsed);
    ERR_clear_error();
    return reason;
}

static const char *read_member(const struct json_value *member, struct jwt_key *key,
                               char why[JWT_KEY_WHY_SIZE])
{
    struct json_value values[MEMBERS];

    if (member->kind != JSON_OBJECT || token_members(*member, member_names, MEMBERS, values) != 0) {
        return "it is no object, or has a member twice";
    }
    if (values[D].raw.at) {
        return "it is a private key, which nobody but the issuer should have";
    }
    if (values[K].raw.at || member_is(&values[KTY], "oct")) {
        return "it is a symmetric key, which a set of public keys can't hold";
    }
    if (values[USE].raw.at && !member_is(&values[USE], "sig")) {
        return "its use is not sig";
    }
    const char *reason = read_kid(&values[KID], key);
    return reason ? reason : read_key(values, key, why);
}

static bool has_kid(const struct jwks *jwks, const char *kid)
{
    for (size_t i = 0; i < jwks->count; i++) {
        const char *other = jwks->keys[i].kid;

        if (kid && other ? strcmp(kid, other) == 0 : kid == other) {
            return true;
        }
    }
    return false;
}

static void take_member(const struct json_value *member, size_t number, struct jwks *jwks,
                        struct text *left_out)
{
    struct jwt_key key = {0};
    char why[JWT_KEY_WHY_SIZE];
    const char *reason = read_member(member, &key, why);

    if (!reason && has_kid(jwks, key.kid)) {
        reason = "another one has its kid, or has none either";
    }
    if (!reason && jwks->count == JWKS_KEYS_MAX) {
        reason = "there are more than 64";
    }
    if (reason) {
        text_printf(left_out, "key %zu: %s\n", number, reason);
        jwt_key_deinit(&key);
        return;
    }
    jwks->keys[jwks->count++] = key;
}

int jwks_read(struct span text, struct jwks *ret_jwks, struct text *left_out, const char **ret_why)
{
    struct json_value set, keys, member;
    size_t position = 0, offset, number = 0;

    if (text.len > JWKS_SIZE_MAX) {
        *ret_why = "it is longer than 262144 bytes";
        return JWKS_INVALID;
    }
    if (json_check_lenient(text, &set, &offset) != 0 || set.kind != JSON_OBJECT ||
        json_find(set, "keys", &keys) != 0 || keys.kind != JSON_ARRAY) {
        *ret_why = "it is no JSON object with an array `keys`";
        return JWKS_INVALID;
    }
    ret_jwks->count = 0;
    while (json_next_element(keys, &position, &member) == 0) {
        take_member(&member, ++number, ret_jwks, left_out);
    }
    if (ret_jwks->count == 0) {
        *ret_why = "none of its keys can be used";
        return JWKS_INVALID;
    }
    return 0;
}

void jwks_deinit(struct jwks *jwks)
{
    while (jwks->count > 0) {
        jwt_key_deinit(&jwks->keys[--jwks->count]);
    }
}
