#include <criterion/criterion.h>
#include <string.h>

#include "proto/utf8.h"

/* RFC 3629 said the long way: decode, then look at the code point. Returns the length of the
 * character at `at`, or 0. */
static size_t character_len(const uint8_t *at, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = at[0] < 0x80             ? 1
                  : (at[0] & 0xe0) == 0xc0 ? 2
                  : (at[0] & 0xf0) == 0xe0 ? 3
                  : (at[0] & 0xf8) == 0xf0 ? 4
                                           : 0;
    uint32_t code = need == 1 ? at[0] : at[0] & (0x7fu >> need);

    if (need == 0 || need > len) {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code < least[need] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    return need;
}

static bool is_valid_said_the_long_way(const uint8_t *at, size_t len)
{
    while (len > 0) {
        size_t used = character_len(at, len);
        if (used == 0) {
            return false;
        }
        at += used;
        len -= used;
    }
    return true;
}

/* Every prefix, whole and byte by byte, gives the same state. */
static void assert_pieces_agree(const uint8_t *text, size_t len)
{
    uint32_t bytewise = UTF8_ACCEPT;

    for (size_t i = 0; i <= len; i++) {
        uint32_t front = utf8_check(UTF8_ACCEPT, text, i);
        cr_assert_eq(front, bytewise, "the first %zu bytes", i);
        cr_assert_eq(utf8_check(front, text + i, len - i), utf8_check(UTF8_ACCEPT, text, len));
        if (i < len) {
            bytewise = utf8_check(bytewise, text + i, 1);
        }
    }
}

Test(utf8, nothing_is_valid_text)
{
    cr_assert(utf8_is_valid("", 0));
    cr_assert(utf8_is_valid(NULL, 0));
}

Test(utf8, all_strings_of_up_to_three_bytes_are_judged_as_rfc_3629_says)
{
    for (uint32_t n = 0; n < 1u << 24; n++) {
        uint8_t text[3] = {n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff};
        for (size_t from = 0; from < 3 && (from == 0 || text[from - 1] == 0); from++) {
            bool expected = is_valid_said_the_long_way(text + from, 3 - from);
            if (utf8_is_valid(text + from, 3 - from) != expected) {
                cr_assert_fail("%02x %02x %02x from %zu", text[0], text[1], text[2], from);
            }
        }
    }
}

Test(utf8, all_four_byte_characters_are_judged_as_rfc_3629_says)
{
    static const uint8_t tails[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0, 0xff};

    for (uint32_t n = 0; n < 1u << 16; n++) {
        for (size_t i = 0; i < sizeof(tails) * sizeof(tails); i++) {
            uint8_t text[4] = {n >> 8 & 0xff, n & 0xff, tails[i / sizeof(tails)],
                               tails[i % sizeof(tails)]};
            if (utf8_is_valid(text, 4) != is_valid_said_the_long_way(text, 4)) {
                cr_assert_fail("%02x %02x %02x %02x", text[0], text[1], text[2], text[3]);
            }
        }
    }
}

Test(utf8, text_may_come_in_any_pieces)
{
    static const char *texts[] = {
        "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
        "0123456789abcdef0123456789abcde\xf0\x9f\x8e\xa4tail",
        "\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf",
        "0123456789abcdef\xf4\x90\x80\x80 and what follows is lost",
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_pieces_agree((const uint8_t *)texts[i], strlen(texts[i]));
    }
}

Test(utf8, a_character_cut_off_is_neither_accepted_nor_rejected)
{
    for (size_t len = 1; len < 4; len++) {
        uint32_t state = utf8_check(UTF8_ACCEPT, "\xf0\x9f\x8e\xa4", len);
        cr_assert_neq(state, UTF8_ACCEPT);
        cr_assert_neq(state, UTF8_REJECT);
    }
}

Test(utf8, what_cannot_become_valid_is_rejected_at_its_first_such_byte)
{
    static const struct {
        const char *text;
        size_t bad; /* how many bytes it takes */
    } cases[] = {
        {"\x80", 1},     {"\xc0", 1},         {"\xc1", 1},          {"\xf5", 1},
        {"\xff", 1},     {"\xe0\x9f", 2},     {"\xed\xa0", 2},      {"\xf0\x8f", 2},
        {"\xf4\x90", 2}, {"\xe1\x80\xc0", 3}, {"\xf1\x80\x80 ", 4}, {"\xc2\xc2", 2},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t before = utf8_check(UTF8_ACCEPT, cases[i].text, cases[i].bad - 1);
        cr_assert_neq(before, UTF8_REJECT, "case %zu", i);
        cr_assert_eq(utf8_check(before, cases[i].text + cases[i].bad - 1, 1), UTF8_REJECT,
                     "case %zu", i);
    }
}

Test(utf8, a_bad_byte_is_seen_at_every_place_of_a_long_text)
{
    uint8_t text[100];

    for (size_t len = 1; len <= sizeof(text); len++) {
        memset(text, 'a', sizeof(text));
        cr_assert(utf8_is_valid(text, len));
        for (size_t i = 0; i < len; i++) {
            text[i] = 0x80;
            cr_assert_eq(utf8_check(UTF8_ACCEPT, text, len), UTF8_REJECT, "%zu of %zu", i, len);
            text[i] = 'a';
        }
    }
}

Test(utf8, a_rejected_text_stays_rejected)
{
    cr_assert_eq(utf8_check(UTF8_REJECT, "plain text of more than one block", 33), UTF8_REJECT);
}
