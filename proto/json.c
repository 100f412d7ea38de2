/* Two ways over a text. The scanner (scan_*) trusts nothing and is bounded by the text's end; it
 * goes over each byte once. The walkers (behind json_next_member) rely on what the scanner has
 * found: strings are closed, brackets match, and a container's last byte is its bracket. */
#include "proto/json.h"

#include "proto/utf8.h"

enum char_class {
    PLAIN = 1, /* stands for itself within a string */
    SPACE = 2,
    DIGIT = 4,
    HEX_LETTER = 8,
};

static const uint8_t char_classes[256] = {
    ['\t'] = SPACE,
    ['\n'] = SPACE,
    ['\r'] = SPACE,
    [' '] = PLAIN | SPACE,
    ['!'] = PLAIN,
    ['#' ... '/'] = PLAIN,
    ['0' ... '9'] = PLAIN | DIGIT,
    [':' ... '@'] = PLAIN,
    ['A' ... 'F'] = PLAIN | HEX_LETTER,
    ['G' ... '['] = PLAIN,
    [']' ... '`'] = PLAIN,
    ['a' ... 'f'] = PLAIN | HEX_LETTER,
    ['g' ... 0x7F] = PLAIN,
};

static bool is(char c, unsigned classes)
{
    return char_classes[(uint8_t)c] & classes;
}

static bool is_high_surrogate(unsigned unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_surrogate(unsigned unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

static unsigned hex_value(char c)
{
    return is(c, DIGIT) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

static enum json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 'n':
        return JSON_NULL;
    case 't':
    case 'f':
        return JSON_BOOL;
    default:
        return JSON_NUMBER;
    }
}

/* ── The scanner ─────────────────────────────────────────────────────────────────────────────── */

/* A scan_ function returns true with `at` behind what it scanned, or false with `at` on the byte
 * at fault. */
struct scanner {
    const char *at, *end;
    unsigned max_depth;
    bool takes_lone_surrogates;
};

static bool scan_value(struct scanner *scanner, unsigned depth);

static bool next_is(const struct scanner *scanner, char c)
{
    return scanner->at < scanner->end && *scanner->at == c;
}

static bool take(struct scanner *scanner, char c)
{
    if (!next_is(scanner, c)) {
        return false;
    }
    scanner->at++;
    return true;
}

static void scan_space(struct scanner *scanner)
{
    while (scanner->at < scanner->end && is(*scanner->at, SPACE)) {
        scanner->at++;
    }
}

/* XXXX of \uXXXX. */
static bool scan_code_unit(struct scanner *scanner, unsigned *ret_unit)
{
    unsigned unit = 0;

    for (int i = 0; i < 4; i++) {
        if (scanner->at == scanner->end || !is(*scanner->at, DIGIT | HEX_LETTER)) {
            return false;
        }
        unit = unit << 4 | hex_value(*scanner->at++);
    }
    *ret_unit = unit;
    return true;
}

/* \uXXXX from its `u` on, and the second one of a pair. Half a pair is at fault as a whole. */
static bool scan_unicode_escape(struct scanner *scanner)
{
    const char *backslash = scanner->at - 1;
    unsigned unit, low;

    scanner->at++;
    if (!scan_code_unit(scanner, &unit)) {
        return false;
    }
    if (scanner->takes_lone_surrogates) {
        return true;
    }
    if (is_high_surrogate(unit)) {
        if (take(scanner, '\\') && take(scanner, 'u')) {
            if (!scan_code_unit(scanner, &low)) {
                return false;
            }
            if (is_low_surrogate(low)) {
                return true;
            }
        }
        scanner->at = backslash;
        return false;
    }
    if (is_low_surrogate(unit)) {
        scanner->at = backslash;
        return false;
    }
    return true;
}

static bool scan_escape(struct scanner *scanner)
{
    scanner->at++;
    if (scanner->at == scanner->end) {
        return false;
    }
    switch (*scanner->at) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        scanner->at++;
        return true;
    case 'u':
        return scan_unicode_escape(scanner);
    default:
        return false;
    }
}

/* A run of bytes from 0x80, which must be whole characters. */
static bool scan_non_ascii(struct scanner *scanner)
{
    const char *run = scanner->at;
    uint32_t state = UTF8_ACCEPT;

    while (scanner->at < scanner->end && (uint8_t)*scanner->at >= 0x80) {
        scanner->at++;
    }
    if (utf8_is_valid(run, (size_t)(scanner->at - run))) {
        return true;
    }
    for (; run < scanner->at; run++) {
        state = utf8_check(state, run, 1);
        if (state == UTF8_REJECT) {
            scanner->at = run;
        }
    }
    return false; /* a cut character's fault is the byte behind it */
}

static bool scan_string(struct scanner *scanner)
{
    if (!take(scanner, '"')) {
        return false;
    }
    while (scanner->at < scanner->end) {
        if (is(*scanner->at, PLAIN)) {
            scanner->at++;
        } else if (*scanner->at == '"') {
            scanner->at++;
            return true;
        } else if (*scanner->at == '\\') {
            if (!scan_escape(scanner)) {
                return false;
            }
        } else if ((uint8_t)*scanner->at < 0x20 || !scan_non_ascii(scanner)) {
            return false;
        }
    }
    return false;
}

static bool scan_digits(struct scanner *scanner)
{
    const char *first = scanner->at;

    while (scanner->at < scanner->end && is(*scanner->at, DIGIT)) {
        scanner->at++;
    }
    return scanner->at > first;
}

/* A number that goes on behind a leading zero is left there, for the caller to stumble over. */
static bool scan_number(struct scanner *scanner)
{
    take(scanner, '-');
    if (!take(scanner, '0') && !scan_digits(scanner)) {
        return false;
    }
    if (take(scanner, '.') && !scan_digits(scanner)) {
        return false;
    }
    if (take(scanner, 'e') || take(scanner, 'E')) {
        if (!take(scanner, '+')) {
            take(scanner, '-');
        }
        return scan_digits(scanner);
    }
    return true;
}

static bool scan_literal(struct scanner *scanner, const char *literal)
{
    for (; *literal; literal++) {
        if (!take(scanner, *literal)) {
            return false;
        }
    }
    return true;
}

static bool scan_array(struct scanner *scanner, unsigned depth)
{
    scanner->at++;
    scan_space(scanner);
    if (take(scanner, ']')) {
        return true;
    }
    do {
        if (!scan_value(scanner, depth)) {
            return false;
        }
    } while (take(scanner, ','));
    return take(scanner, ']');
}

static bool scan_object(struct scanner *scanner, unsigned depth)
{
    scanner->at++;
    scan_space(scanner);
    if (take(scanner, '}')) {
        return true;
    }
    do {
        scan_space(scanner);
        if (!scan_string(scanner)) {
            return false;
        }
        scan_space(scanner);
        if (!take(scanner, ':') || !scan_value(scanner, depth)) {
            return false;
        }
    } while (take(scanner, ','));
    return take(scanner, '}');
}

/* A value within `depth` others, and the white space around it. */
static bool scan_value(struct scanner *scanner, unsigned depth)
{
    bool valid;

    scan_space(scanner);
    if (scanner->at == scanner->end) {
        return false;
    }
    switch (*scanner->at) {
    case '{':
        valid = depth < scanner->max_depth && scan_object(scanner, depth + 1);
        break;
    case '[':
        valid = depth < scanner->max_depth && scan_array(scanner, depth + 1);
        break;
    case '"':
        valid = scan_string(scanner);
        break;
    case 'n':
        valid = scan_literal(scanner, "null");
        break;
    case 't':
        valid = scan_literal(scanner, "true");
        break;
    case 'f':
        valid = scan_literal(scanner, "false");
        break;
    default:
        valid = scan_number(scanner);
        break;
    }
    if (valid) {
        scan_space(scanner);
    }
    return valid;
}

static struct span trim(struct span text)
{
    while (is(*text.at, SPACE)) {
        text.at++;
        text.len--;
    }
    while (is(text.at[text.len - 1], SPACE)) {
        text.len--;
    }
    return text;
}

static int scan_text(struct span text, struct scanner scanner, struct json_value *ret_value,
                     size_t *ret_offset)
{
    scanner.at = text.at;
    scanner.end = text.len > 0 ? text.at + text.len : text.at;
    if (!scan_value(&scanner, 0) || scanner.at < scanner.end) {
        *ret_offset = (size_t)(scanner.at - text.at);
        return JSON_INVALID;
    }
    ret_value->raw = trim(text);
    ret_value->kind = kind_of(ret_value->raw.at[0]);
    return 0;
}

int json_check(struct span text, struct json_value *ret_value, size_t *ret_offset)
{
    return scan_text(text, (struct scanner){.max_depth = JSON_MAX_DEPTH}, ret_value, ret_offset);
}

int json_check_lenient(struct span text, struct json_value *ret_value, size_t *ret_offset)
{
    return scan_text(
        text, (struct scanner){.max_depth = JSON_LENIENT_DEPTH, .takes_lone_surrogates = true},
        ret_value, ret_offset);
}

/* ── Walking a checked text ──────────────────────────────────────────────────────────────────── */

static const char *skip_space(const char *at)
{
    while (is(*at, SPACE)) {
        at++;
    }
    return at;
}

static const char *skip_string(const char *at)
{
    at++;
    while (*at != '"') {
        at += *at == '\\' ? 2 : 1;
    }
    return at + 1;
}

static const char *skip_container(const char *at)
{
    unsigned depth = 0;

    do {
        switch (*at) {
        case '"':
            at = skip_string(at);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        }
        at++;
    } while (depth > 0);
    return at;
}

/* Literals and numbers end where what may follow them in a container begins. */
static const char *skip_scalar(const char *at)
{
    while (*at != ',' && *at != ']' && *at != '}' && !is(*at, SPACE)) {
        at++;
    }
    return at;
}

/* The value at `at` within a container. */
static struct json_value value_at(const char *at)
{
    struct json_value value = {.kind = kind_of(*at)};
    const char *end;

    switch (value.kind) {
    case JSON_STRING:
        end = skip_string(at);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        end = skip_container(at);
        break;
    default:
        end = skip_scalar(at);
        break;
    }
    value.raw = (struct span){at, (size_t)(end - at)};
    return value;
}

/* Where the item behind `position` begins, or NULL. There stands the opening bracket or a comma
 * before an item, or the closing bracket. */
static const char *next_item(struct json_value container, size_t position)
{
    const char *last = container.raw.at + container.raw.len - 1;
    const char *at = skip_space(container.raw.at + position);

    if (at == last) {
        return NULL;
    }
    at = skip_space(at + 1);
    return at == last ? NULL : at;
}

int json_next_member(struct json_value object, size_t *position, struct span *ret_name,
                     struct json_value *ret_value)
{
    const char *name, *name_end, *colon;

    assert(object.kind == JSON_OBJECT);
    name = next_item(object, *position);
    if (!name) {
        return JSON_END;
    }
    name_end = skip_string(name);
    colon = skip_space(name_end);
    *ret_name = (struct span){name, (size_t)(name_end - name)};
    *ret_value = value_at(skip_space(colon + 1));
    *position = (size_t)(ret_value->raw.at - object.raw.at) + ret_value->raw.len;
    return 0;
}

int json_next_element(struct json_value array, size_t *position, struct json_value *ret_value)
{
    const char *element;

    assert(array.kind == JSON_ARRAY);
    element = next_item(array, *position);
    if (!element) {
        return JSON_END;
    }
    *ret_value = value_at(element);
    *position = (size_t)(element - array.raw.at) + ret_value->raw.len;
    return 0;
}

int json_find(struct json_value object, const char *name, struct json_value *ret_value)
{
    struct json_value value;
    struct span found;
    size_t position = 0;
    int result = JSON_END;

    while (json_next_member(object, &position, &found, &value) == 0) {
        if (json_string_is(found, name)) {
            *ret_value = value;
            result = 0;
        }
    }
    return result;
}
