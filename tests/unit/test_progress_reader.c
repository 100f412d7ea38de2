#include "client/cli/progress_reader.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MOST_TOLD 16

/* What was told, in order. */
struct told {
    double percentages[MOST_TOLD];
    int count;
};

static void feed(struct progress_reader *reader, enum progress_stream stream, const char *text,
                 size_t len, struct told *told)
{
    if (progress_reader_feed(reader, stream, text, len)) {
        cr_assert_lt(told->count, MOST_TOLD);
        told->percentages[told->count++] = reader->percentage;
    }
}

/* Of text that is fed byte by byte; fed whole, the last of them must be the same. */
static struct told read_all(enum progress_format format, double whole, const char *text)
{
    const size_t len = strlen(text);
    struct progress_reader reader;
    struct told bytes = {0}, once = {0};

    progress_reader_init(&reader, format, whole, false);
    cr_assert_float_eq(reader.percentage, -1, 1e-9);
    feed(&reader, PROGRESS_STDERR, text, len, &once);
    progress_reader_init(&reader, format, whole, false);
    for (size_t i = 0; i < len; i++) {
        feed(&reader, PROGRESS_STDERR, text + i, 1, &bytes);
    }
    cr_assert_eq(once.count, bytes.count > 0, "%s", text);
    if (once.count) {
        cr_assert_float_eq(once.percentages[0], bytes.percentages[bytes.count - 1], 1e-9);
    }
    return bytes;
}

static void expect(enum progress_format format, double whole, const char *text, int count,
                   const double *percentages)
{
    const struct told told = read_all(format, whole, text);

    cr_assert_eq(told.count, count, "%s: %d were told", text, told.count);
    for (int i = 0; i < count; i++) {
        cr_assert_float_eq(told.percentages[i], percentages[i], 1e-6, "%s: %f", text,
                           told.percentages[i]);
    }
}

#define EXPECT(format, whole, text, ...)                                          \
    expect(format, whole, text, sizeof((double[]){__VA_ARGS__}) / sizeof(double), \
           (double[]){__VA_ARGS__})
#define EXPECT_NONE(format, whole, text) expect(format, whole, text, 0, NULL)

/* ── Percentages ─────────────────────────────────────────────────────────────────────────────── */

Test(progress_reader, finds_percentages_wherever_they_stand)
{
    EXPECT(PROGRESS_PERCENT, 0, "42%", 42);
    EXPECT(PROGRESS_PERCENT, 0, "whisper_print_progress_callback: progress =  5%\n", 5);
    EXPECT(PROGRESS_PERCENT, 0, "[download]  1.5% of 10MiB at 3.2MiB/s\r[download]  42.35% of",
           42.35);
    EXPECT(PROGRESS_PERCENT, 0, "42.5 % done", 42.5);
    EXPECT(PROGRESS_PERCENT, 0, "(100%)[0%]=7%", 100, 0, 7);
    EXPECT(PROGRESS_PERCENT, 0, "3 42%", 42);
    EXPECT(PROGRESS_PERCENT, 0, "file 3/41%\nfile 3/42%", 42);
    EXPECT(PROGRESS_PERCENT, 0,
           "\xe8\xbf\x9b\xe5\xba\xa6"
           "42%",
           42);
    EXPECT(PROGRESS_PERCENT, 0, "007%", 7);
    EXPECT(PROGRESS_PERCENT, 0, "100.0%", 100);
}

Test(progress_reader, follows_a_line_that_is_rewritten)
{
    EXPECT(PROGRESS_PERCENT, 0, "\r  1%|    | 1/9\r 50%|##  | 5/9\r100%|####| 9/9\n", 1, 50, 100);
    EXPECT(PROGRESS_PERCENT, 0, " 1%\b\b\b 2%\b\b\b 3%", 1, 2, 3);
    EXPECT(PROGRESS_PERCENT, 0, "10%...20%..30%", 10, 20, 30);
}

Test(progress_reader, reads_past_colours)
{
    EXPECT(PROGRESS_PERCENT, 0, "\033[32m42%\033[0m", 42);
    EXPECT(PROGRESS_PERCENT, 0, "\033[1;32m42\033[0m%  \033[K43%", 43);
    EXPECT(PROGRESS_PERCENT, 0, "\033M42%", 42);
}

Test(progress_reader, takes_no_number_that_is_not_a_percentage)
{
    EXPECT_NONE(PROGRESS_PERCENT, 0, "101% 150% 4200% 99999999999999999999999999%");
    EXPECT_NONE(PROGRESS_PERCENT, 0, "-5% x86% a_1% 1,042% v1.2.3%");
    EXPECT_NONE(PROGRESS_PERCENT, 0, "% %d 5 42 percent 42.% 42  % 42\n%");
    EXPECT_NONE(PROGRESS_PERCENT, 0, "");
}

Test(progress_reader, takes_what_is_a_rounding_above_100_for_100)
{
    EXPECT(PROGRESS_PERCENT, 0, "100.00000000000007%", 100);
    EXPECT_NONE(PROGRESS_PERCENT, 0, "100.1%");
}

Test(progress_reader, passes_over_a_byte_order_mark)
{
    EXPECT(PROGRESS_PERCENT, 0,
           "\xef\xbb\xbf"
           "42%",
           42);
    EXPECT(PROGRESS_FFMPEG, 0,
           "\xef\xbb\xbf"
           "Duration: 00:01:40.00\nout_time_us=25000000\nprogress=end\n",
           25);
}

Test(progress_reader, reads_long_fractions)
{
    EXPECT(PROGRESS_PERCENT, 0, "33.333333333333333333333333333333333333333333333333333%",
           100.0 / 3);
}

/* ── ffmpeg ──────────────────────────────────────────────────────────────────────────────────── */

#define BLOCK(time) \
    "frame=1\nout_time_us=" time "\nout_time_ms=" time "\nspeed=2x\nprogress=continue\n"

Test(progress_reader, reads_blocks_of_ffmpeg_over_the_duration_it_names)
{
    EXPECT(PROGRESS_FFMPEG, 0,
           "  Duration: 00:01:40.00, start: 0.000000, bitrate: 256 kb/s\n" BLOCK("25000000")
               BLOCK("100000000"),
           25, 100);
}

Test(progress_reader, goes_by_the_longest_input)
{
    EXPECT(
        PROGRESS_FFMPEG, 0,
        "Duration: 00:00:10.00,\nDuration: 01:00:00.5, x\nDuration: 00:30:00\n" BLOCK("1800250000"),
        50);
}

Test(progress_reader, goes_by_the_duration_that_was_given)
{
    EXPECT(PROGRESS_FFMPEG, 200, "  Duration: 00:01:40.00\n" BLOCK("50000000"), 25);
    EXPECT(PROGRESS_FFMPEG, 200, BLOCK("50000000"), 25);
}

Test(progress_reader, tells_nothing_before_the_duration_is_known)
{
    EXPECT_NONE(PROGRESS_FFMPEG, 0, BLOCK("50000000") "Duration: N/A, bitrate: N/A\n" BLOCK("5"));
    EXPECT_NONE(PROGRESS_FFMPEG, 0, "Duration: 00:00:00.00\n" BLOCK("5"));
    EXPECT_NONE(PROGRESS_FFMPEG, 0, "Duration: 1:2\nDuration: 5\nDuration: -1:0:0\n" BLOCK("5"));
    EXPECT_NONE(PROGRESS_FFMPEG, 0, "Duration: ");
}

Test(progress_reader, passes_over_blocks_without_a_time)
{
    EXPECT(PROGRESS_FFMPEG, 10, BLOCK("N/A") BLOCK("5000000") "progress=end\n", 50);
    EXPECT_NONE(PROGRESS_FFMPEG, 10, "out_time_us=\nprogress=end\nout_time_us=5x\nprogress=end\n");
}

Test(progress_reader, knows_older_versions_of_ffmpeg)
{
    EXPECT(PROGRESS_FFMPEG, 10, "out_time_ms=2500000\nprogress=continue\n", 25);
}

Test(progress_reader, keeps_within_0_and_100)
{
    EXPECT(PROGRESS_FFMPEG, 10, BLOCK("-21333") BLOCK("10240000"), 0, 100);
    EXPECT(PROGRESS_FFMPEG, 10, BLOCK("99999999999999999999999"), 100);
    EXPECT(PROGRESS_LINES, 2, "1\n2\n3\n", 50, 100, 100);
}

Test(progress_reader, ends_a_line_of_ffmpeg_at_a_carriage_return_too)
{
    EXPECT(PROGRESS_FFMPEG, 10, "size= 1kB time=00:00:01\rout_time_us=5000000\r\nprogress=end\r\n",
           50);
}

Test(progress_reader, cuts_lines_that_are_too_long)
{
    char text[4096];
    const int len = snprintf(text, sizeof(text), "  Duration: 00:00:10.00, %02000d\n", 0);

    snprintf(text + len, sizeof(text) - (size_t)len, "%0200d%s\n%s", 0, "out_time_us=1",
             BLOCK("5000000"));
    EXPECT(PROGRESS_FFMPEG, 0, text, 50);
}

/* ── Lines ───────────────────────────────────────────────────────────────────────────────────── */

Test(progress_reader, counts_lines_against_a_total)
{
    EXPECT(PROGRESS_LINES, 4, "a\nb 100%\r\n\nlast\n", 25, 50, 75, 100);
    EXPECT_NONE(PROGRESS_LINES, 4, "not yet\ra line");
}

Test(progress_reader, reads_nothing_where_it_was_told_so)
{
    EXPECT_NONE(PROGRESS_NONE, 0, "42%\nDuration: 00:00:10.00\n" BLOCK("5000000"));
}

Test(progress_reader, keeps_the_outputs_apart)
{
    struct progress_reader reader;

    progress_reader_init(&reader, PROGRESS_PERCENT, 0, false);
    cr_assert(!progress_reader_feed(&reader, PROGRESS_STDOUT, "\r42", 3));
    cr_assert(!progress_reader_feed(&reader, PROGRESS_STDERR, "%", 1));
    cr_assert(progress_reader_feed(&reader, PROGRESS_STDOUT, "%", 1));
    cr_assert_float_eq(reader.percentage, 42, 1e-9);

    progress_reader_init(&reader, PROGRESS_FFMPEG, 0, false);
    cr_assert(!progress_reader_feed(&reader, PROGRESS_STDERR, "Duration: 00:00:10.0\nout_", 25));
    cr_assert(
        progress_reader_feed(&reader, PROGRESS_STDOUT, "out_time_us=1000000\nprogress=end\n", 33));
    cr_assert_float_eq(reader.percentage, 10, 1e-9);
}

Test(progress_reader, bears_any_byte)
{
    const enum progress_format formats[] = {PROGRESS_NONE, PROGRESS_FFMPEG, PROGRESS_PERCENT,
                                            PROGRESS_LINES};
    char bytes[4096];
    unsigned seed = 1;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (char)(seed >> 16);
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct progress_reader reader;

        progress_reader_init(&reader, formats[i], 1, false);
        progress_reader_feed(&reader, PROGRESS_STDOUT, bytes, sizeof(bytes));
        cr_assert(reader.percentage == -1 || (reader.percentage >= 0 && reader.percentage <= 100));
    }
}
