#include "client/cli/printable.h"

#include <string.h>
#include <wchar.h>

#include "proto/utf8.h"

struct glyph {
    char bytes[5];
    size_t columns;
};

/* The character's code point; its bytes are valid UTF-8. */
static wchar_t printable_decode(const char *bytes, size_t len)
{
    static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    wchar_t character = (unsigned char)bytes[0] & lead_bits[len];

    for (size_t i = 1; i < len; i++) {
        character = character << 6 | ((unsigned char)bytes[i] & 0x3F);
    }
    return character;
}

/* How many bytes the character at `at` has; 0 when they aren't valid UTF-8. */
static size_t character_length(const char *at)
{
    for (size_t len = 1; len <= 4 && at[len - 1] != '\0'; len++) {
        if (utf8_is_valid(at, len)) {
            return len;
        }
    }
    return 0;
}

/* What is shown for the character at `*at`, which is moved behind it. */
static struct glyph next_glyph(const char **at, bool utf8)
{
    struct glyph glyph = {"?", 1};
    size_t len = character_length(*at);
    wchar_t character = len > 0 ? printable_decode(*at, len) : 0;
    /* wcwidth() knows only what the locale does; what it can't tell is taken for narrow. */
    int width = character < 0x80 ? 1 : wcwidth(character);

    /* Besides ASCII's controls there are those from 0x80 to 0x9F, and the marks that change the
     * direction of what follows. */
    bool is_control = character < 0x20 || (character >= 0x7F && character < 0xA0) ||
                      (character >= 0x200E && character <= 0x200F) ||
                      (character >= 0x2028 && character <= 0x202E) ||
                      (character >= 0x2066 && character <= 0x2069);
    if (!is_control && (utf8 || character < 0x80)) {
        memcpy(glyph.bytes, *at, len);
        glyph.bytes[len] = '\0';
        glyph.columns = width >= 0 ? (size_t)width : 1;
    }
    *at += len > 0 ? len : 1;
    return glyph;
}

static size_t columns_of(const char *source, bool utf8)
{
    size_t columns = 0;

    while (*source) {
        columns += next_glyph(&source, utf8).columns;
    }
    return columns;
}

size_t printable_append(struct text *text, const char *source, size_t columns, bool utf8)
{
    bool cut = columns_of(source, utf8) > columns;
    size_t used = 0, room = cut && columns > 0 ? columns - 1 : columns;

    while (*source) {
        struct glyph glyph = next_glyph(&source, utf8);

        if (used + glyph.columns > room) {
            break;
        }
        text_puts(text, glyph.bytes);
        used += glyph.columns;
    }
    if (cut && columns > 0) {
        text_puts(text, utf8 ? "…" : "~");
        used++;
    }
    return used;
}
