/* What the fuzz targets have in common.
 *
 * A target is one function from bytes to nothing: what it finds wrong, it asserts. With
 * -Dfuzz=true libFuzzer calls it; else replay_main.c calls it with the files of its corpus, as an
 * ordinary test.
 */
#ifndef PROGRESSD_TESTS_FUZZ_FUZZ_H
#define PROGRESSD_TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/result.h"

/* The target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Like assert(), also in builds without it, and as libFuzzer likes it. */
#define FUZZ_ASSERT(condition)                                                           \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: %s doesn't hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                     \
        }                                                                                \
    } while (0)

/* The bytes that a target hasn't used yet. */
struct fuzz_input {
    const uint8_t *at;
    size_t len;
};

/* The next byte, or 0 at the end: for the target's own choices. */
static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->len == 0) {
        return 0;
    }
    input->len--;
    return *input->at++;
}

/* Where to cut a stream: sizes that the input chose, over and over. */
struct fuzz_cuts {
    uint8_t sizes[8];
    size_t count, next;
};

/* A byte says how many sizes follow. */
static inline struct fuzz_cuts fuzz_cuts_take(struct fuzz_input *input)
{
    struct fuzz_cuts cuts = {.count = 1 + fuzz_byte(input) % sizeof(cuts.sizes)};

    for (size_t i = 0; i < cuts.count; i++) {
        cuts.sizes[i] = fuzz_byte(input);
    }
    return cuts;
}

/* The next piece of a stream of which `left` bytes are left: at least one, at most all of them. */
static inline size_t fuzz_cut(struct fuzz_cuts *cuts, size_t left)
{
    size_t size = 1 + (size_t)cuts->sizes[cuts->next++ % cuts->count];

    return size < left ? size : left;
}

#endif
