#include "common/bytes.h"

#include <string.h>

#include "common/mem.h"

struct bytes *bytes_new(uint32_t len)
{
    struct bytes *bytes = mem_alloc(sizeof(*bytes) + len);
    if (!bytes) {
        return NULL;
    }
    bytes->refs = 1;
    bytes->len = len;
    return bytes;
}

struct bytes *bytes_copy(const void *data, uint32_t len)
{
    struct bytes *bytes = bytes_new(len);
    if (bytes && len > 0) {
        memcpy(bytes->data, data, len);
    }
    return bytes;
}

struct bytes *bytes_ref(struct bytes *bytes)
{
    if (bytes) {
        assert(bytes->refs > 0 && bytes->refs < UINT32_MAX);
        bytes->refs++;
    }
    return bytes;
}

void bytes_unref(struct bytes *bytes)
{
    if (!bytes) {
        return;
    }
    assert(bytes->refs > 0);
    if (--bytes->refs == 0) {
        mem_free(bytes);
    }
}
