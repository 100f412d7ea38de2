#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "proto/ws_frame.h"
#include "tests/support/ws_payload.h"

#define FIN 0x80
#define MAX_MESSAGE (1u << 17)
#define INPUT_MAX (1u << 18)

/* ── Input: frames as a peer of either role sends them ───────────────────────────────────────── */

struct input {
    enum ws_peer peer;
    size_t len;
    uint8_t *data;
};

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

static struct input input_new(enum ws_peer peer)
{
    return (struct input){peer, 0, malloc(INPUT_MAX)};
}

static void put(struct input *input, const void *data, size_t len)
{
    cr_assert_leq(input->len + len, INPUT_MAX);
    memcpy(input->data + input->len, data, len);
    input->len += len;
}

static void put_frame(struct input *input, uint8_t first, const void *payload, size_t len)
{
    uint8_t header[WS_HEADER_MAX];
    bool masked = input->peer == WS_PEER_CLIENT;
    size_t header_len = ws_frame_header(header, WS_BINARY, len, masked ? mask : NULL);

    header[0] = first;
    put(input, header, header_len);
    put(input, payload, len);
    for (size_t i = 0; masked && i < len; i++) {
        input->data[input->len - len + i] ^= mask[i % 4];
    }
}

/* ── What the parser tells, as text ──────────────────────────────────────────────────────────── */

struct record {
    char text[4096];
    size_t len;
};

static void note(struct record *record, const char *text, size_t len)
{
    cr_assert_lt(record->len + len, sizeof(record->text));
    memcpy(record->text + record->len, text, len);
    record->len += len;
    record->text[record->len] = '\0';
}

static char letter(size_t i)
{
    return (char)('a' + i % 26);
}

static void note_event(struct record *record, const struct ws_event *event)
{
    static const char *names[] = {[WS_TEXT] = "text",
                                  [WS_BINARY] = "binary",
                                  [WS_CLOSE] = "close",
                                  [WS_PING] = "ping",
                                  [WS_PONG] = "pong"};
    char head[64];
    int len = snprintf(head, sizeof(head), "%s", names[event->opcode]);

    if (event->close_code) {
        len += snprintf(head + len, sizeof(head) - len, " %u", event->close_code);
    }
    note(record, head, len);
    if (event->len > 60) { /* a long payload is the alphabet over and over */
        len = snprintf(head, sizeof(head), " [%u]", event->len);
        note(record, head, len);
        for (size_t i = 0; i < event->len; i++) {
            cr_assert_eq(event->payload[i], letter(i), "byte %zu", i);
        }
    } else if (event->len > 0 && event->opcode != WS_CLOSE) {
        note(record, " ", 1);
        note(record, (const char *)event->payload, event->len);
    } else if (event->len > 2) {
        note(record, " ", 1);
        note(record, (const char *)event->payload + 2, event->len - 2);
    }
    note(record, "; ", 2);
}

static void note_end(struct record *record, int r)
{
    const char *text = r == WS_PROTOCOL_ERROR ? "protocol error"
                       : r == WS_INVALID_UTF8 ? "invalid UTF-8"
                       : r == WS_TOO_BIG      ? "too big"
                       : r == -ENOMEM         ? "out of memory"
                                              : "?";
    note(record, text, strlen(text));
}

/* ── Feeding ─────────────────────────────────────────────────────────────────────────────────── */

/* Feeds one piece, from memory of just its size, that is gone afterwards. 0, or how it ended. */
static int feed_piece(struct ws_parser *parser, const uint8_t *data, size_t len,
                      struct record *record)
{
    uint8_t *copy = malloc(len ? len : 1);
    size_t at = 0, used;
    struct ws_event event;
    int r;

    memcpy(copy, data, len);
    do {
        r = ws_parser_feed(parser, copy + at, len - at, &used, &event);
        if (r == 0 || r == WS_EVENT) {
            cr_assert_leq(used, len - at);
            at += used;
        }
        if (r == WS_EVENT) {
            note_event(record, &event);
        }
    } while (r == WS_EVENT);
    if (r == 0) {
        cr_assert_eq(at, len);
        cr_assert_eq(ws_parser_is_midway(parser), parser->midway != NULL,
                     "memory is held only midway");
    }
    free(copy);
    return r;
}

/* Feeds pieces of `first`, then of `piece` bytes, and notes what comes of it. */
static void feed(const struct input *input, uint32_t max_message, size_t first, size_t piece,
                 struct record *record)
{
    struct ws_parser parser;
    size_t at = 0, len = first;
    int r = 0;

    record->len = 0;
    record->text[0] = '\0';
    ws_parser_init(&parser, input->peer, max_message);
    while (r == 0 && at < input->len) {
        len = len < input->len - at ? len : input->len - at;
        r = feed_piece(&parser, input->data + at, len, record);
        at += len;
        len = piece;
    }
    if (r) {
        note_end(record, r);
    } else if (ws_parser_is_midway(&parser)) {
        note(record, "more", 4);
    }
    ws_parser_deinit(&parser);
}

/* Whole, byte by byte, and split at each position (of long input: near both ends) it comes to the
 * same. */
static void expect(const struct input *input, uint32_t max_message, const char *expected)
{
    struct record record;

    feed(input, max_message, input->len, input->len, &record);
    cr_assert_str_eq(record.text, expected, "whole: %s\nexpected: %s", record.text, expected);
    feed(input, max_message, 1, 1, &record);
    cr_assert_str_eq(record.text, expected, "bytewise: %s\nexpected: %s", record.text, expected);
    for (size_t split = 1; split < input->len; split++) {
        feed(input, max_message, split, input->len, &record);
        cr_assert_str_eq(record.text, expected, "split at %zu: %s\nexpected: %s", split,
                         record.text, expected);
        if (split == 40 && input->len > 2000) {
            split = input->len - 40;
        }
    }
}

struct spec {
    uint8_t first;
    const char *payload;
    size_t len;
};

#define FRAME(first, literal)               \
    {                                       \
        first, literal, sizeof(literal) - 1 \
    }

/* Expects the same from a client and from a server. */
#define expect_frames(expected, ...)                       \
    do {                                                   \
        const struct spec specs_[] = {__VA_ARGS__};        \
        expect_specs(expected, specs_, ARRAY_LEN(specs_)); \
    } while (0)

static void expect_specs(const char *expected, const struct spec *specs, size_t count)
{
    for (enum ws_peer peer = WS_PEER_CLIENT; peer <= WS_PEER_SERVER; peer++) {
        struct input input = input_new(peer);
        for (size_t i = 0; i < count; i++) {
            put_frame(&input, specs[i].first, specs[i].payload, specs[i].len);
        }
        expect(&input, MAX_MESSAGE, expected);
        free(input.data);
    }
}

#define expect_raw(peer, expected, literal) \
    expect_bytes(peer, expected, literal, sizeof(literal) - 1)

static void expect_bytes(enum ws_peer peer, const char *expected, const void *data, size_t len)
{
    struct input input = input_new(peer);

    put(&input, data, len);
    expect(&input, MAX_MESSAGE, expected);
    free(input.data);
}

/* ── RFC 6455, 5.7: the standard's examples ──────────────────────────────────────────────────── */

Test(ws_frame, the_examples_of_rfc_6455_are_read)
{
    expect_raw(WS_PEER_SERVER, "text Hello; ", "\x81\x05\x48\x65\x6c\x6c\x6f");
    expect_raw(WS_PEER_CLIENT, "text Hello; ", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    expect_raw(WS_PEER_SERVER, "text Hello; ", "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f");
    expect_raw(WS_PEER_SERVER, "ping Hello; ", "\x89\x05\x48\x65\x6c\x6c\x6f");
    expect_raw(WS_PEER_CLIENT, "pong Hello; ", "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

Test(ws_frame, messages_and_control_frames_come_in_order)
{
    expect_frames("text one; ping; binary two; pong x; text; binary; close 1000 bye; ",
                  FRAME(FIN | WS_TEXT, "one"), FRAME(FIN | WS_PING, ""),
                  FRAME(FIN | WS_BINARY, "two"), FRAME(FIN | WS_PONG, "x"),
                  FRAME(FIN | WS_TEXT, ""), FRAME(FIN | WS_BINARY, ""),
                  FRAME(FIN | WS_CLOSE, "\x03\xe8"
                                        "bye"));
}

Test(ws_frame, every_form_of_length_is_read)
{
    static const size_t lengths[] = {125, 126, 127, 128, 255, 256, 65535, 65536, MAX_MESSAGE};
    char *payload = malloc(MAX_MESSAGE), expected[64];

    for (size_t i = 0; i < MAX_MESSAGE; i++) {
        payload[i] = letter(i);
    }
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        snprintf(expected, sizeof(expected), "text [%zu]; ping !; ", lengths[i]);
        expect_frames(expected, {FIN | WS_TEXT, payload, lengths[i]}, FRAME(FIN | WS_PING, "!"));
    }
    free(payload);
}

Test(ws_frame, fragments_make_one_message)
{
    expect_frames("text one, two, three; binary ab; ", FRAME(WS_TEXT, "one, "),
                  FRAME(WS_CONTINUATION, "two, "), FRAME(FIN | WS_CONTINUATION, "three"),
                  FRAME(WS_BINARY, "a"), FRAME(FIN | WS_CONTINUATION, "b"));
}

Test(ws_frame, empty_fragments_are_fragments)
{
    expect_frames("text; text mid; ", FRAME(WS_TEXT, ""), FRAME(WS_CONTINUATION, ""),
                  FRAME(FIN | WS_CONTINUATION, ""), FRAME(WS_TEXT, ""),
                  FRAME(WS_CONTINUATION, "mid"), FRAME(FIN | WS_CONTINUATION, ""));
}

Test(ws_frame, control_frames_between_fragments_come_at_once)
{
    expect_frames("ping a; pong b; text one two; ping c; ", FRAME(WS_TEXT, "one"),
                  FRAME(FIN | WS_PING, "a"), FRAME(WS_CONTINUATION, " "), FRAME(FIN | WS_PONG, "b"),
                  FRAME(FIN | WS_CONTINUATION, "two"), FRAME(FIN | WS_PING, "c"));
}

Test(ws_frame, a_close_frame_between_fragments_comes_at_once)
{
    expect_frames("close 1001; more", FRAME(WS_TEXT, "one"), FRAME(FIN | WS_CLOSE, "\x03\xe9"));
}

Test(ws_frame, what_is_cut_off_is_midway)
{
    expect_raw(WS_PEER_CLIENT, "more", "\x81");
    expect_raw(WS_PEER_CLIENT, "more", "\x81\x80\x01\x02\x03");
    expect_raw(WS_PEER_CLIENT, "more", "\x82\xff");
    expect_raw(WS_PEER_SERVER, "more", "\x89\x7d");
    expect_raw(WS_PEER_SERVER, "more", "\x01\x00");
    expect_raw(WS_PEER_SERVER, "text a; more", "\x81\x01\x61\x81\x02\x61");
}

Test(ws_frame, an_idle_parser_is_small)
{
    cr_assert_leq(sizeof(struct ws_parser), 16);
}

Test(ws_frame, a_message_that_lies_whole_in_the_data_is_not_copied)
{
    uint8_t data[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\x01\x02\x03\x04\x81";
    struct ws_parser parser;
    struct ws_event event;
    size_t used;

    ws_parser_init(&parser, WS_PEER_CLIENT, 5);
    mem_fail_nth(1);
    cr_assert_eq(ws_parser_feed(&parser, data, sizeof(data) - 1, &used, &event), WS_EVENT);
    cr_assert_eq(used, 11);
    cr_assert_eq(event.payload, data + 6);
    cr_assert_eq(ws_parser_feed(&parser, data + 11, 6, &used, &event), WS_EVENT);
    cr_assert_eq(used, 6);
    cr_assert_null(parser.midway);
    mem_fail_nth(0);
}

/* ── Memory ──────────────────────────────────────────────────────────────────────────────────── */

Test(ws_frame, an_announced_length_is_not_believed)
{
    uint8_t data[11] = "\x82\x7f\0\0\0\0\x7f\xff\xff\xff";
    struct ws_parser parser;
    struct ws_event event;
    size_t used, block;

    ws_parser_init(&parser, WS_PEER_SERVER, INT32_MAX);
    cr_assert_eq(ws_parser_feed(&parser, data, 10, &used, &event), 0);
    block = malloc_usable_size(parser.midway);
    cr_assert_leq(block, 256);
    for (size_t come = 1; come <= 100000; come++) {
        cr_assert_eq(ws_parser_feed(&parser, data, 1, &used, &event), 0);
        cr_assert_leq(malloc_usable_size(parser.midway), block + 2 * come + 32);
    }
    ws_parser_deinit(&parser);
}

Test(ws_frame, a_message_never_takes_more_memory_than_its_maximum)
{
    uint8_t data[] = "\x01\x40"
                     "0123456789012345678901234567890123456789012345678901234567890123";
    struct ws_parser parser;
    struct ws_event event;
    size_t used;

    ws_parser_init(&parser, WS_PEER_SERVER, 1000);
    for (unsigned i = 0; i < 15; i++) {
        data[0] = i == 0 ? WS_TEXT : WS_CONTINUATION;
        cr_assert_eq(ws_parser_feed(&parser, data, 66, &used, &event), 0);
        cr_assert_leq(malloc_usable_size(parser.midway), 1000 + 256);
    }
    ws_parser_deinit(&parser);
}

Test(ws_frame, many_small_fragments_make_memory_grow_in_few_steps)
{
    uint8_t first[] = {WS_TEXT, 1, 'a'}, next[] = {WS_CONTINUATION, 1, 'b'};
    struct ws_parser parser;
    struct ws_event event;
    size_t used, block = 0, steps = 0;

    ws_parser_init(&parser, WS_PEER_SERVER, 1u << 20);
    for (unsigned i = 0; i < 10000; i++) {
        cr_assert_eq(ws_parser_feed(&parser, i == 0 ? first : next, 3, &used, &event), 0);
        if (malloc_usable_size(parser.midway) != block) {
            block = malloc_usable_size(parser.midway);
            steps++;
        }
    }
    cr_assert_leq(steps, 15);
    ws_parser_deinit(&parser);
}

Test(ws_frame, running_out_of_memory_is_returned_wherever_it_happens)
{
    for (enum ws_peer peer = WS_PEER_CLIENT; peer <= WS_PEER_SERVER; peer++) {
        struct input input = input_new(peer);
        struct record record;
        unsigned n = 0;
        put_frame(&input, FIN | WS_PING, "ping", 4);
        put_frame(&input, WS_TEXT, "some text", 9);
        put_frame(&input, FIN | WS_PONG, "pong", 4);
        put_frame(&input, FIN | WS_CONTINUATION, ", and more of it", 16);
        do {
            mem_fail_nth(++n);
            feed(&input, MAX_MESSAGE, 1, 1, &record);
            mem_fail_nth(0);
        } while (strstr(record.text, "out of memory"));
        cr_assert_str_eq(record.text, "ping ping; pong pong; text some text, and more of it; ");
        cr_assert_geq(n, 4, "only %u allocations were made to fail", n - 1);
        free(input.data);
    }
}

/* ── What is refused ─────────────────────────────────────────────────────────────────────────── */

Test(ws_frame, reserved_bits_are_refused_at_the_first_byte)
{
    for (unsigned bits = 1; bits < 8; bits++) {
        for (unsigned opcode = 0; opcode < 16; opcode++) {
            uint8_t byte = FIN | bits << 4 | opcode;
            expect_bytes(WS_PEER_CLIENT, "protocol error", &byte, 1);
        }
    }
}

Test(ws_frame, reserved_opcodes_are_refused_at_the_first_byte)
{
    static const uint8_t reserved[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};

    for (size_t i = 0; i < sizeof(reserved); i++) {
        uint8_t bytes[2] = {reserved[i], FIN | reserved[i]};
        expect_bytes(WS_PEER_CLIENT, "protocol error", &bytes[0], 1);
        expect_bytes(WS_PEER_SERVER, "protocol error", &bytes[1], 1);
    }
}

Test(ws_frame, a_client_must_mask_and_a_server_must_not)
{
    expect_raw(WS_PEER_CLIENT, "protocol error", "\x81\x05");
    expect_raw(WS_PEER_CLIENT, "protocol error", "\x81\x00");
    expect_raw(WS_PEER_CLIENT, "protocol error", "\x89\x00");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x81\x85");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x88\x80");
}

Test(ws_frame, control_frames_are_neither_fragmented_nor_long)
{
    for (uint8_t opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
        uint8_t bytes[2] = {opcode, 0};
        expect_bytes(WS_PEER_SERVER, "protocol error", bytes, 1);
        for (uint8_t length = 126; length <= 127; length++) {
            bytes[0] = FIN | opcode;
            bytes[1] = length;
            expect_bytes(WS_PEER_SERVER, "protocol error", bytes, 2);
        }
    }
}

Test(ws_frame, a_control_frame_of_125_bytes_is_read)
{
    char payload[125];

    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = letter(i);
    }
    expect_frames("ping [125]; pong [125]; text a; ", {FIN | WS_PING, payload, 125},
                  {FIN | WS_PONG, payload, 125}, FRAME(FIN | WS_TEXT, "a"));
}

Test(ws_frame, a_continuation_needs_a_message_under_way)
{
    expect_frames("protocol error", FRAME(FIN | WS_CONTINUATION, "x"));
    expect_frames("protocol error", FRAME(WS_CONTINUATION, "x"));
    expect_frames("text a; protocol error", FRAME(FIN | WS_TEXT, "a"),
                  FRAME(FIN | WS_CONTINUATION, "x"));
    expect_frames("text ab; protocol error", FRAME(WS_TEXT, "a"), FRAME(FIN | WS_CONTINUATION, "b"),
                  FRAME(FIN | WS_CONTINUATION, "c"));
}

Test(ws_frame, a_message_under_way_must_be_continued)
{
    expect_frames("protocol error", FRAME(WS_TEXT, "a"), FRAME(FIN | WS_TEXT, "b"));
    expect_frames("protocol error", FRAME(WS_TEXT, ""), FRAME(WS_TEXT, "b"));
    expect_frames("ping; protocol error", FRAME(WS_BINARY, "a"), FRAME(FIN | WS_PING, ""),
                  FRAME(FIN | WS_BINARY, "b"));
}

Test(ws_frame, lengths_must_be_minimal)
{
    expect_raw(WS_PEER_SERVER, "protocol error", "\x81\x7e\x00\x00");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x81\x7e\x00\x7d");
    expect_raw(WS_PEER_SERVER, "more", "\x81\x7e\x00\x7e");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x81\x7f\0\0\0\0\0\0\0\x05");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x81\x7f\0\0\0\0\0\0\xff\xff");
    expect_raw(WS_PEER_SERVER, "more", "\x81\x7f\0\0\0\0\0\x01\0\0");
    expect_raw(WS_PEER_CLIENT, "protocol error", "\x81\xfe\x00\x7d");
}

Test(ws_frame, a_length_of_64_bits_is_a_protocol_error)
{
    expect_raw(WS_PEER_SERVER, "protocol error", "\x82\x7f\x80\0\0\0\0\0\0\0");
    expect_raw(WS_PEER_SERVER, "protocol error", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
    expect_raw(WS_PEER_SERVER, "too big", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff");
}

Test(ws_frame, a_message_too_big_is_told_by_the_header_before_the_mask)
{
    expect_raw(WS_PEER_CLIENT, "too big", "\x81\xff\0\0\0\0\0\x02\0\x01");
    expect_raw(WS_PEER_CLIENT, "more", "\x81\xff\0\0\0\0\0\x02\0\0");
}

Test(ws_frame, the_maximum_counts_over_all_fragments)
{
    for (enum ws_peer peer = WS_PEER_CLIENT; peer <= WS_PEER_SERVER; peer++) {
        struct input input = input_new(peer);
        put_frame(&input, WS_TEXT, "12345", 5);
        put_frame(&input, WS_CONTINUATION, "678", 3);
        put_frame(&input, FIN | WS_PING, "not counted", 11);
        put_frame(&input, FIN | WS_CONTINUATION, "90", 2);
        expect(&input, 10, "ping not counted; text 1234567890; ");
        expect(&input, 9, "ping not counted; too big");
        expect(&input, 7, "too big");
        free(input.data);
    }
}

Test(ws_frame, a_maximum_of_nothing_lets_empty_messages_through)
{
    struct input input = input_new(WS_PEER_SERVER);

    put(&input, "\x81\x00\x81\x01", 4);
    expect(&input, 0, "text; too big");
    free(input.data);
}

/* ── UTF-8 (8.1) ─────────────────────────────────────────────────────────────────────────────── */

Test(ws_frame, text_must_be_valid_utf8)
{
    expect_frames("text \xce\xba\xe1\xbd\xb9; ", FRAME(FIN | WS_TEXT, "\xce\xba\xe1\xbd\xb9"));
    expect_frames("invalid UTF-8", FRAME(FIN | WS_TEXT, "ab\xff"));
    expect_frames("invalid UTF-8", FRAME(FIN | WS_TEXT, "\xed\xa0\x80"));
    expect_frames("invalid UTF-8", FRAME(FIN | WS_TEXT, "cut off \xe1\xbd"));
    expect_frames("text a; invalid UTF-8", FRAME(FIN | WS_TEXT, "a"), FRAME(WS_TEXT, "\x80"));
}

Test(ws_frame, binary_need_not_be_utf8)
{
    expect_frames("binary \xff\xfe\x80; binary \xc0\xc1; ", FRAME(FIN | WS_BINARY, "\xff\xfe\x80"),
                  FRAME(WS_BINARY, "\xc0"), FRAME(FIN | WS_CONTINUATION, "\xc1"));
}

Test(ws_frame, a_character_may_be_cut_by_fragments_and_control_frames)
{
    expect_frames("ping \xff; text \xf0\x9f\x8e\xa4!; ", FRAME(WS_TEXT, "\xf0"),
                  FRAME(WS_CONTINUATION, "\x9f"), FRAME(FIN | WS_PING, "\xff"),
                  FRAME(WS_CONTINUATION, ""), FRAME(WS_CONTINUATION, "\x8e"),
                  FRAME(FIN | WS_CONTINUATION, "\xa4!"));
}

Test(ws_frame, a_character_must_be_whole_at_the_end_of_the_message)
{
    expect_frames("invalid UTF-8", FRAME(WS_TEXT, "\xf0\x9f"), FRAME(WS_CONTINUATION, "\x8e"),
                  FRAME(FIN | WS_CONTINUATION, ""));
}

Test(ws_frame, the_next_message_begins_with_a_clean_slate)
{
    expect_frames("binary \xf0; text ok; text \xc3\xa4; ", FRAME(WS_BINARY, ""),
                  FRAME(FIN | WS_CONTINUATION, "\xf0"), FRAME(WS_TEXT, "o"),
                  FRAME(FIN | WS_CONTINUATION, "k"), FRAME(WS_TEXT, "\xc3"),
                  FRAME(FIN | WS_CONTINUATION, "\xa4"));
}

Test(ws_frame, invalid_text_is_told_at_its_first_bad_byte_within_a_frame)
{
    static const char text[] = "\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90";
    uint8_t frame[] = {WS_TEXT, 100};
    struct ws_parser parser;
    struct ws_event event;
    size_t used;

    ws_parser_init(&parser, WS_PEER_SERVER, MAX_MESSAGE);
    cr_assert_eq(ws_parser_feed(&parser, frame, 2, &used, &event), 0);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        uint8_t byte = text[i];
        int expected = i == sizeof(text) - 2 ? WS_INVALID_UTF8 : 0;
        cr_assert_eq(ws_parser_feed(&parser, &byte, 1, &used, &event), expected, "byte %zu", i);
    }
    ws_parser_deinit(&parser);
}

/* ── Closing (5.5.1, 7.4) ────────────────────────────────────────────────────────────────────── */

Test(ws_frame, a_close_frame_has_no_payload_or_a_code)
{
    expect_frames("close 1005; ", FRAME(FIN | WS_CLOSE, ""));
    expect_frames("protocol error", FRAME(FIN | WS_CLOSE, "\x03"));
    expect_frames("close 1000; ", FRAME(FIN | WS_CLOSE, "\x03\xe8"));
    expect_frames("close 4401 no token; ", FRAME(FIN | WS_CLOSE, "\x11\x31no token"));
}

Test(ws_frame, a_close_reason_is_utf8)
{
    expect_frames("close 1000 \xc3\xa4; ", FRAME(FIN | WS_CLOSE, "\x03\xe8\xc3\xa4"));
    expect_frames("invalid UTF-8", FRAME(FIN | WS_CLOSE, "\x03\xe8\xc3"));
    expect_frames("invalid UTF-8", FRAME(FIN | WS_CLOSE, "\x03\xe8\xed\xa0\x80"));
}

static bool may_be_sent(unsigned code)
{
    static const uint16_t registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                          1009, 1010, 1011, 1012, 1013, 1014};

    for (size_t i = 0; i < ARRAY_LEN(registered); i++) {
        if (code == registered[i]) {
            return true;
        }
    }
    return code >= 3000 && code < 5000;
}

Test(ws_frame, only_codes_that_may_be_sent_are_accepted)
{
    for (unsigned code = 0; code <= UINT16_MAX; code++) {
        uint8_t frame[4] = {FIN | WS_CLOSE, 2, code >> 8, code & 0xff};
        struct ws_parser parser;
        struct ws_event event;
        size_t used;
        ws_parser_init(&parser, WS_PEER_SERVER, 0);
        cr_assert_eq(ws_parser_feed(&parser, frame, sizeof(frame), &used, &event),
                     may_be_sent(code) ? WS_EVENT : WS_PROTOCOL_ERROR, "code %u", code);
        cr_assert_eq(ws_close_code_is_valid(code), may_be_sent(code), "code %u", code);
    }
}

/* ── The other direction ─────────────────────────────────────────────────────────────────────── */

Test(ws_frame, masking_gives_what_the_naive_loop_gives)
{
    uint8_t data[128], expected[128];

    for (size_t from = 0; from < 16; from++) {
        for (size_t len = 0; len <= 100; len++) {
            for (size_t offset = 0; offset < 9; offset++) {
                for (size_t i = 0; i < sizeof(data); i++) {
                    data[i] = expected[i] = (uint8_t)(i * 7 + len);
                }
                for (size_t i = 0; i < len; i++) {
                    expected[from + i] ^= mask[(offset + i) % 4];
                }
                ws_mask(data + from, len, mask, offset);
                cr_assert_arr_eq(data, expected, sizeof(data), "from %zu, %zu bytes, offset %zu",
                                 from, len, offset);
            }
        }
    }
}

Test(ws_frame, headers_take_the_shortest_form)
{
    static const struct {
        uint64_t len;
        size_t header_len;
        const char *header;
    } cases[] = {
        {0, 2, "\x81\x00"},
        {125, 2, "\x81\x7d"},
        {126, 4, "\x81\x7e\x00\x7e"},
        {65535, 4, "\x81\x7e\xff\xff"},
        {65536, 10, "\x81\x7f\0\0\0\0\0\x01\0\0"},
        {INT64_MAX, 10, "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"},
    };
    uint8_t header[WS_HEADER_MAX];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = cases[i].header_len;
        cr_assert_eq(ws_frame_header(header, WS_TEXT, cases[i].len, NULL), len);
        cr_assert_arr_eq(header, cases[i].header, len);
        cr_assert_eq(ws_frame_header(header, WS_TEXT, cases[i].len, mask), len + 4);
        cr_assert_eq(header[1] & 0x80, 0x80);
        cr_assert_arr_eq(header + len, mask, 4);
    }
}

Test(ws_frame, a_frame_made_is_read_back)
{
    static const uint32_t lengths[] = {0, 1, 125, 126, 65535, 65536};
    uint8_t *payload = malloc(65536);

    for (size_t i = 0; i < 65536; i++) {
        payload[i] = letter(i);
    }
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct bytes *frame = ws_frame_new(WS_TEXT, payload, lengths[i]);
        struct ws_parser parser;
        struct ws_event event;
        uint32_t len;
        size_t used;
        cr_assert_arr_eq(ws_payload(frame, &len), payload, lengths[i]);
        cr_assert_eq(len, lengths[i]);
        ws_parser_init(&parser, WS_PEER_SERVER, 65536);
        cr_assert_eq(ws_parser_feed(&parser, frame->data, frame->len, &used, &event), WS_EVENT);
        cr_assert_eq(used, frame->len);
        cr_assert_eq(event.len, lengths[i]);
        bytes_unref(frame);
    }
    free(payload);
}

Test(ws_frame, a_close_frame_made_is_read_back)
{
    char reason[WS_CLOSE_REASON_MAX + 1];
    struct bytes *frame;

    memset(reason, 'r', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    frame = ws_frame_new_close(1012, reason);
    cr_assert_eq(frame->len, 127);
    cr_assert_arr_eq(frame->data, "\x88\x7d\x03\xf4rrr", 7);
    bytes_unref(frame);

    frame = ws_frame_new_close(4401, "");
    expect_bytes(WS_PEER_SERVER, "close 4401; ", frame->data, frame->len);
    bytes_unref(frame);
}

Test(ws_frame, a_frame_without_memory_is_null)
{
    mem_fail_nth(1);
    cr_assert_null(ws_frame_new(WS_TEXT, "x", 1));
    mem_fail_nth(1);
    cr_assert_null(ws_frame_new_close(1000, ""));
    mem_fail_nth(0);
    cr_assert_null(ws_frame_new(WS_TEXT, "x", UINT32_MAX));
}
