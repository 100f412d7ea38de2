/* What the frame codec costs: nanoseconds for a small text frame, GB/s of its loops.
 *
 *   ninja -C build-release tests/bench/ws_frame_bench && build-release/tests/bench/ws_frame_bench
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/utf8.h"
#include "proto/ws_frame.h"

#define SECONDS_EACH 0.5
#define FRAMES 64 /* in one read */

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
static volatile uint32_t sink; /* keeps results from being optimised away */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Masked text frames of `payload_len` bytes, FRAMES of them in a row. */
static size_t make_frames(uint8_t *buffer, uint32_t payload_len)
{
    size_t len = 0;

    for (unsigned i = 0; i < FRAMES; i++) {
        len += ws_frame_header(buffer + len, WS_TEXT, payload_len, mask);
        memset(buffer + len, 'x', payload_len);
        ws_mask(buffer + len, payload_len, mask, 0);
        len += payload_len;
    }
    return len;
}

/* Reads the frames, in pieces of `piece` bytes. The parser unmasks where it reads, so that each
 * round begins with a copy, whose cost is told beside. */
static void read_frames(struct ws_parser *parser, uint8_t *data, size_t len, size_t piece)
{
    struct ws_event event;
    size_t used;

    for (size_t at = 0; at < len; at += piece) {
        size_t end = at + piece < len ? at + piece : len, from = at;
        int r;
        do {
            r = ws_parser_feed(parser, data + from, end - from, &used, &event);
            from += used;
            sink += r == WS_EVENT ? event.len : 0;
        } while (r == WS_EVENT);
        if (r != 0) {
            abort();
        }
    }
}

static void bench_frames(const char *name, uint32_t payload_len, size_t piece)
{
    static uint8_t frames[FRAMES * (WS_HEADER_MAX + 4096)], data[sizeof(frames)];
    size_t len = make_frames(frames, payload_len), rounds = 0;
    struct ws_parser parser;
    double begin = now(), end, copying;

    ws_parser_init(&parser, WS_PEER_CLIENT, 65536);
    do {
        for (unsigned i = 0; i < 100; i++, rounds++) {
            memcpy(data, frames, len);
            read_frames(&parser, data, len, piece ? piece : len);
        }
        end = now();
    } while (end - begin < SECONDS_EACH);
    ws_parser_deinit(&parser);

    copying = now();
    for (size_t i = 0; i < rounds; i++) {
        memcpy(data, frames, len);
        sink += data[i % len];
    }
    copying = now() - copying;
    printf("%-44s %7.1f ns a frame\n", name,
           (end - begin - copying) * 1e9 / (double)(rounds * FRAMES));
}

static void run_mask(uint8_t *data, size_t len)
{
    ws_mask(data, len, mask, 1);
}

static void run_utf8(uint8_t *data, size_t len)
{
    sink += utf8_check(UTF8_ACCEPT, data, len);
}

static void bench_loop(const char *name, void (*run)(uint8_t *, size_t), uint8_t *data, size_t len)
{
    size_t rounds = 0;
    double begin = now(), end;

    do {
        for (unsigned i = 0; i < 1000; i++, rounds++) {
            run(data, len);
        }
        end = now();
    } while (end - begin < SECONDS_EACH);
    printf("%-44s %7.2f GB/s %9.1f ns\n", name, (double)rounds * (double)len / (end - begin) / 1e9,
           (end - begin) * 1e9 / (double)rounds);
}

static void fill(uint8_t *data, size_t len, const char *pattern)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)pattern[i % strlen(pattern)];
    }
}

int main(void)
{
    static uint8_t data[16384];

    printf("sizeof(struct ws_parser): %zu bytes\n", sizeof(struct ws_parser));
    bench_frames("text frame of 40 bytes, whole", 40, 0);
    bench_frames("text frame of 120 bytes, whole", 120, 0);
    bench_frames("text frame of 1000 bytes, whole", 1000, 0);
    bench_frames("text frame of 120 bytes, reads of 100 bytes", 120, 100);

    bench_loop("ws_mask, 125 bytes", run_mask, data, 125);
    bench_loop("ws_mask, 16 KiB", run_mask, data, sizeof(data));
    fill(data, sizeof(data), "{\"type\":\"progress_update\"}");
    bench_loop("utf8_check, ASCII, 125 bytes", run_utf8, data, 125);
    bench_loop("utf8_check, ASCII, 16 KiB", run_utf8, data, sizeof(data));
    fill(data, sizeof(data), "\xc3\xa4h und \xc3\xb6h, all\xc3\xa4hlich");
    bench_loop("utf8_check, German, 16 KiB", run_utf8, data, sizeof(data));
    fill(data, sizeof(data), "\xe3\x81\x82\xe3\x81\x84");
    bench_loop("utf8_check, Japanese, 16 KiB", run_utf8, data, sizeof(data));
    return 0;
}
