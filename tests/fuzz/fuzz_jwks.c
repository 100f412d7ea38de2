/* Whatever a key set says, its keys are ones that the broker itself would take.
 *
 * Input: the text of a set.
 */
#include "broker/auth/jwks.h"
#include "broker/auth/signature.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct jwks jwks;
    struct text left_out = TEXT_EMPTY;
    const char *why = NULL;

    int rc = jwks_read((struct span){(const char *)data, len}, &jwks, &left_out, &why);
    FUZZ_ASSERT(rc == 0 || (rc == JWKS_INVALID && why));
    for (size_t i = 0; rc == 0 && i < jwks.count; i++) {
        struct signature_key *key = NULL;

        FUZZ_ASSERT(!jwt_key_is_shared(jwks.keys[i].algorithm));
        FUZZ_ASSERT(signature_key_new(&jwks.keys[i], &key) == 0);
        signature_key_free(key);
    }
    if (rc == 0) {
        FUZZ_ASSERT(jwks.count > 0 && jwks.count <= JWKS_KEYS_MAX);
        jwks_deinit(&jwks);
    }
    text_deinit(&left_out);
    return 0;
}
