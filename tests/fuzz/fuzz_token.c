/* A token is taken or refused for a reason, and never taken beyond what it says; what libjwt finds
 * rightly signed has no wrong signature here.
 *
 * Input: a byte that chooses, then a token's text; or a header, a NUL and claims, which are signed
 * with the right key.
 */
#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "broker/auth/auth.h"
#include "broker/auth/token_parts.h"
#include "common/mem.h"
#include "fuzz.h"

#define NOW_US INT64_C(1700000000000000)

static uint8_t secret[] = "a secret that is long enough for HS256";

static struct auth *new_auth(void)
{
    struct jwt_key key = {NULL, JWT_KEY_HS256, secret, sizeof(secret) - 1};
    const struct config config = {.jwt_keys = {&key, 1}, .jwt_leeway_ms = 30000};

    return auth_new(&config, NULL);
}

static size_t sign(const uint8_t *header, size_t header_len, const uint8_t *claims,
                   size_t claims_len, char *token)
{
    uint8_t signature[EVP_MAX_MD_SIZE];
    unsigned signature_len;
    size_t len = base64_encode(BASE64_URL, header, header_len, token);

    token[len++] = '.';
    len += base64_encode(BASE64_URL, claims, claims_len, token + len);
    HMAC(EVP_sha256(), secret, sizeof(secret) - 1, (uint8_t *)token, len, signature,
         &signature_len);
    token[len++] = '.';
    return len + base64_encode(BASE64_URL, signature, signature_len, token + len);
}

static bool libjwt_takes(const char *text, size_t len)
{
    char *copy = mem_strndup(text, len);
    jwt_t *jwt = NULL;
    bool taken = copy && jwt_decode(&jwt, copy, secret, sizeof(secret) - 1) == 0 &&
                 jwt_get_alg(jwt) == JWT_ALG_HS256;

    jwt_free(jwt);
    mem_free(copy);
    return taken;
}

static void check(const char *text, size_t len)
{
    struct auth *auth = new_auth();
    struct token *token = NULL;
    enum auth_failure why = AUTH_FAILURE_COUNT;
    const struct span span = {text, len};

    if (auth_verify(auth, span, NOW_US, NULL, &token, &why) == 0) {
        struct token *again = NULL;

        FUZZ_ASSERT(token->valid_until_us > NOW_US && token->valid_from_us <= NOW_US);
        FUZZ_ASSERT(token->names_len > 0);
        FUZZ_ASSERT(auth_verify(auth, span, NOW_US, NULL, &again, &why) == 0 && again == token);
        token_unref(again);
        token_unref(token);
    } else {
        FUZZ_ASSERT(why < AUTH_FORBIDDEN);
        FUZZ_ASSERT(why != AUTH_SIGNATURE || !libjwt_takes(text, len));
    }
    auth_free(auth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static char token[TOKEN_MAX];
    struct fuzz_input input = {data, len};

    if (fuzz_byte(&input) != 's') {
        check((const char *)input.at, input.len);
        return 0;
    }
    const uint8_t *nul = memchr(input.at, '\0', input.len);
    if (!nul || input.len > TOKEN_MAX / 2) {
        return 0;
    }
    const size_t header_len = (size_t)(nul - input.at);
    check(token, sign(input.at, header_len, nul + 1, input.len - header_len - 1, token));
    return 0;
}
