#include "proto/progress_library.h"

#include <inttypes.h>

#include "proto/progress_lua.h" /* generated: the body and version */

const uint32_t progress_library_version = PROGRESS_LIBRARY_VERSION;

void progress_library(struct text *text, uint32_t state_ttl_s, uint32_t max_payload)
{
    assert(state_ttl_s >= 1 && state_ttl_s <= STATE_TTL_MAX_S);
    assert(max_payload >= PAYLOAD_MAX_LEAST && max_payload <= PAYLOAD_MAX_MOST);
    text_printf(text,
                "#!lua name=" PROGRESS_LIBRARY_NAME "\n"
                "-- progressd library version=%" PRIu32 " state_ttl=%" PRIu32
                " max_payload=%" PRIu32 "\n"
                "local STATE_TTL, MAX_PAYLOAD = %" PRIu32 ", %" PRIu32 "\n",
                progress_library_version, state_ttl_s, max_payload, state_ttl_s, max_payload);
    text_puts(text, progress_library_body);
}

int progress_library_head(struct span code, struct library_head *ret_head)
{
    uint64_t version, state_ttl_s, max_payload;

    /* Newer versions may have more settings behind these. */
    if (!span_take(&code, "#!lua name=" PROGRESS_LIBRARY_NAME "\n-- progressd library version=") ||
        !span_take_number(&code, UINT32_MAX, &version) || !span_take(&code, " state_ttl=") ||
        !span_take_number(&code, UINT32_MAX, &state_ttl_s) || !span_take(&code, " max_payload=") ||
        !span_take_number(&code, UINT32_MAX, &max_payload) ||
        (!span_begins_with(code, "\n") && !span_begins_with(code, " "))) {
        return PROGRESS_LIBRARY_INVALID;
    }
    *ret_head =
        (struct library_head){(uint32_t)version, (uint32_t)state_ttl_s, (uint32_t)max_payload};
    return 0;
}
