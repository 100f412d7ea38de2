#include <criterion/criterion.h>
#include <string.h>

#include "common/base64.h"

/* RFC 4648, 10. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static int decode(enum base64_alphabet alphabet, const char *text)
{
    uint8_t buffer[64];
    size_t len;

    return base64_decode(alphabet, text, strlen(text), buffer, &len);
}

Test(base64, encodes_and_decodes_the_vectors_of_the_standard)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = base64_encode(BASE64_STANDARD, vectors[i][0], strlen(vectors[i][0]), text);

        cr_assert_eq(len, strlen(vectors[i][1]));
        cr_assert_str_eq(text, vectors[i][1]);
        cr_assert_eq(base64_decode(BASE64_STANDARD, text, len, bytes, &len), 0);
        cr_assert_eq(len, strlen(vectors[i][0]));
        cr_assert_arr_eq(bytes, vectors[i][0], len);
    }
}

Test(base64, the_alphabet_for_urls_has_its_own_digits_and_no_padding)
{
    char text[16];

    base64_encode(BASE64_URL, "\xfb\xff\xfe", 3, text);
    cr_assert_str_eq(text, "-__-");
    base64_encode(BASE64_URL, "f", 1, text);
    cr_assert_str_eq(text, "Zg");
    cr_assert_eq(decode(BASE64_URL, "-__-"), 0);
    cr_assert_eq(decode(BASE64_URL, "+//+"), BASE64_INVALID);
    cr_assert_eq(decode(BASE64_URL, "Zg=="), BASE64_INVALID);
    cr_assert_eq(decode(BASE64_STANDARD, "-__-"), BASE64_INVALID);
}

Test(base64, every_byte_survives_at_every_length)
{
    uint8_t bytes[256], back[BASE64_DECODED_SIZE(BASE64_ENCODED_SIZE(256))];
    char text[BASE64_ENCODED_SIZE(256)];

    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(255 - i);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (int alphabet = BASE64_STANDARD; alphabet <= BASE64_URL; alphabet++) {
            size_t text_len = base64_encode(alphabet, bytes, len, text), back_len = 0;

            cr_assert_lt(text_len, BASE64_ENCODED_SIZE(len));
            cr_assert_eq(base64_decode(alphabet, text, text_len, back, &back_len), 0);
            cr_assert_eq(back_len, len);
            cr_assert_eq(memcmp(back, bytes, len), 0);
        }
    }
}

Test(base64, what_is_no_base64_is_refused)
{
    static const char *const texts[] = {"Z",     "Zg",    "Zg=",        "Zm8",  "Zg===", "=",
                                        "====",  "Z===",  "Zg=g",       "=Zg=", "Zm9v=", "Zm 8",
                                        "Zm8\n", "Zm9vZ", "Zm\xc3\xa9", "Z!=="};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_eq(decode(BASE64_STANDARD, texts[i]), BASE64_INVALID, "%s", texts[i]);
    }
    cr_assert_eq(decode(BASE64_URL, "Z"), BASE64_INVALID);
}

Test(base64, a_second_text_for_the_same_bytes_is_refused)
{
    cr_assert_eq(decode(BASE64_URL, "Zg"), 0);
    cr_assert_eq(decode(BASE64_URL, "Zh"), BASE64_INVALID); /* a bit is left over, and set */
    cr_assert_eq(decode(BASE64_STANDARD, "Zm9="), BASE64_INVALID);
}
