#include <criterion/criterion.h>
#include <string.h>

#include "common/siphash.h"

static const uint8_t key[SIPHASH_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

Test(siphash, the_papers_example_comes_out)
{
    uint8_t data[15];
    for (uint8_t i = 0; i < sizeof(data); i++) {
        data[i] = i;
    }
    cr_assert_eq(siphash(key, data, 15), 0xa129ca6149be45e5);
}

Test(siphash, the_reference_vectors_around_a_words_end_come_out)
{
    /* vectors_sip64 of the authors' reference implementation: data of 0, 1, … bytes */
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {9, 0x9e0082df0ba9e4b0},
    };
    uint8_t data[16];
    for (uint8_t i = 0; i < sizeof(data); i++) {
        data[i] = i;
    }
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        cr_assert_eq(siphash(key, data, vectors[i].len), vectors[i].hash, "%zu bytes",
                     vectors[i].len);
    }
}

Test(siphash, another_key_gives_another_hash)
{
    uint8_t other[SIPHASH_KEY_LEN];
    memcpy(other, key, sizeof(other));
    other[15] ^= 0x80;
    cr_assert_neq(siphash(key, "task", 4), siphash(other, "task", 4));
}

Test(siphash, where_the_data_lies_does_not_matter)
{
    uint8_t memory[64];
    for (size_t offset = 0; offset < 16; offset++) {
        memcpy(memory + offset, "progress:transcription-42", 25);
        cr_assert_eq(siphash(key, memory + offset, 25),
                     siphash(key, "progress:transcription-42", 25));
    }
}
