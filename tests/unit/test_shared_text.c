#include "proto/shared_text.h"

#include <criterion/criterion.h>

#include "common/mem.h"
#include "proto/ws_frame.h"

/* Each side of each length at which a frame's head grows. */
static const size_t lens[] = {0,     1,     2,     124,   125,   126,   127,   128,
                              129,   130,   131,   132,   65533, 65534, 65535, 65536,
                              65537, 65538, 65539, 65540, 65541, 65545, 65546, 100000};

Test(shared_text, is_the_text_before_and_after_it_became_a_frame)
{
    char *data = mem_alloc(100000);

    for (size_t i = 0; i < 100000; i++) {
        data[i] = (char)('a' + i % 26);
    }
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        const struct span text = {data, lens[i]};
        struct bytes *shared = shared_text_new(text);
        struct bytes *expected = ws_frame_new(WS_TEXT, data, (uint32_t)lens[i]);

        cr_assert(span_equals(shared_text(shared), text), "%zu", lens[i]);
        for (int twice = 0; twice < 2; twice++) {
            const struct bytes *frame = shared_text_frame(shared);

            cr_assert_eq(frame->len, expected->len, "no larger than a frame, at %zu", lens[i]);
            cr_assert_eq(memcmp(frame->data, expected->data, frame->len), 0, "%zu", lens[i]);
            cr_assert(span_equals(shared_text(shared), text), "%zu", lens[i]);
        }
        bytes_unref(expected);
        bytes_unref(shared);
    }
    mem_free(data);
}

Test(shared_text, out_of_memory_is_none)
{
    mem_fail_nth(1);
    cr_assert_null(shared_text_new(SPAN_OF("a")));
    mem_fail_nth(0);
}
