/* A DFA whose whole row fits a word: for each byte, `rows` holds the next state of every state,
 * six bits each, at the bit position that is the state's own number. So a step is one load, which
 * doesn't depend on the state, and one shift, which does.
 *
 * The states follow the Unicode standard's table 3-7 (Well-Formed UTF-8 Byte Sequences): four
 * lead bytes restrict the byte behind them, which keeps out overlong forms (E0, F0), surrogates
 * (ED) and what lies beyond U+10FFFF (F4).
 */
#include "proto/utf8.h"

#include <string.h>

enum state {
    ACCEPT = UTF8_ACCEPT,
    REJECT = UTF8_REJECT,
    TAIL_1 = 12, /* one continuation byte to come */
    TAIL_2 = 18,
    TAIL_3 = 24,
    AFTER_E0 = 30,
    AFTER_ED = 36,
    AFTER_F0 = 42,
    AFTER_F4 = 48,
};

#define STATE_MASK 63u

/* A row leads every state to REJECT, but for those that GO() somewhere else. */
#define ALL_REJECT (REJECT * UINT64_C(0x1041041041041))
#define GO(from, to) ((uint64_t)((to) ^ REJECT) << (from))
#define TAIL (ALL_REJECT ^ GO(TAIL_1, ACCEPT) ^ GO(TAIL_2, TAIL_1) ^ GO(TAIL_3, TAIL_2))
#define LEAD(state) (ALL_REJECT ^ GO(ACCEPT, state))

static const uint64_t rows[256] = {
    [0x00 ... 0x7f] = LEAD(ACCEPT),
    [0x80 ... 0x8f] = TAIL ^ GO(AFTER_ED, TAIL_1) ^ GO(AFTER_F4, TAIL_2),
    [0x90 ... 0x9f] = TAIL ^ GO(AFTER_ED, TAIL_1) ^ GO(AFTER_F0, TAIL_2),
    [0xa0 ... 0xbf] = TAIL ^ GO(AFTER_E0, TAIL_1) ^ GO(AFTER_F0, TAIL_2),
    [0xc0 ... 0xc1] = ALL_REJECT,
    [0xc2 ... 0xdf] = LEAD(TAIL_1),
    [0xe0] = LEAD(AFTER_E0),
    [0xe1 ... 0xec] = LEAD(TAIL_2),
    [0xed] = LEAD(AFTER_ED),
    [0xee ... 0xef] = LEAD(TAIL_2),
    [0xf0] = LEAD(AFTER_F0),
    [0xf1 ... 0xf3] = LEAD(TAIL_3),
    [0xf4] = LEAD(AFTER_F4),
    [0xf5 ... 0xff] = ALL_REJECT,
};

#define BLOCK 16

static bool block_is_ascii(const uint8_t *at)
{
    uint64_t words[2];

    memcpy(words, at, sizeof(words));
    return ((words[0] | words[1]) & UINT64_C(0x8080808080808080)) == 0;
}

static uint32_t step(uint32_t state, uint8_t byte)
{
    return (uint32_t)(rows[byte] >> state) & STATE_MASK;
}

uint32_t utf8_check(uint32_t state, const void *data, size_t len)
{
    const uint8_t *at = data;

    for (; len >= BLOCK; at += BLOCK, len -= BLOCK) {
        if (state == ACCEPT && block_is_ascii(at)) {
            continue;
        }
        for (unsigned i = 0; i < BLOCK; i++) {
            state = step(state, at[i]);
        }
    }
    for (; len > 0; at++, len--) {
        state = step(state, *at);
    }
    return state;
}
