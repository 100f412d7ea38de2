/* A header is understood the same however little of it is there at first, and never reads on.
 *
 * Input: the start of a connection.
 */
#include <string.h>

#include "fuzz.h"
#include "proto/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct proxy_header whole;
    size_t used = 0;
    int rc = proxy_header_parse(data, len, &whole, &used);

    FUZZ_ASSERT(rc == 0 || rc == PROXY_HEADER_MORE || rc == PROXY_HEADER_INVALID);
    FUZZ_ASSERT(rc != PROXY_HEADER_MORE || len < PROXY_HEADER_MAX);
    if (rc == 0) {
        FUZZ_ASSERT(used > 0 && used <= len && used <= PROXY_HEADER_MAX);
        FUZZ_ASSERT(whole.ip_len == 0 || whole.ip_len == 4 || whole.ip_len == 16);
    }
    for (size_t part = 0; part < len; part++) {
        /* Memory of its own, so that reading on is seen. */
        uint8_t *piece = malloc(part + 1);
        struct proxy_header header;
        size_t part_used;

        memcpy(piece, data, part);
        int part_rc = proxy_header_parse(piece, part, &header, &part_used);
        if (rc == 0) {
            FUZZ_ASSERT(part_rc == (part < used ? PROXY_HEADER_MORE : 0));
        } else if (rc == PROXY_HEADER_MORE) {
            FUZZ_ASSERT(part_rc == PROXY_HEADER_MORE);
        }
        free(piece);
    }
    return 0;
}
