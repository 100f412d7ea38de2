#include "client/cli/progress_reader.h"

#include <criterion/criterion.h>
#include <string.h>

/* What a program prints: on which output, what, and which percentage is held afterwards. */
struct printed {
    enum progress_stream stream;
    const char *text;
    double held; /* -1: none yet */
};

static void check(bool one_stream, const struct printed *printed, size_t count)
{
    struct progress_reader reader;

    progress_reader_init(&reader, PROGRESS_PERCENT, 0, one_stream);
    for (size_t i = 0; i < count; i++) {
        progress_reader_feed(&reader, printed[i].stream, printed[i].text, strlen(printed[i].text));
        cr_assert_float_eq(reader.percentage, printed[i].held, 1e-9, "%zu: %s: %f", i,
                           printed[i].text, reader.percentage);
    }
}

#define CHECK(one_stream, ...)                         \
    check(one_stream, (struct printed[]){__VA_ARGS__}, \
          sizeof((struct printed[]){__VA_ARGS__}) / sizeof(struct printed))

#define OUT PROGRESS_STDOUT
#define ERR PROGRESS_STDERR
#define WHISPER "whisper_print_progress_callback: progress = "

Test(percent_choice, what_is_said_is_no_progress)
{
    CHECK(false, {OUT, "I am 100% sure.\n", -1}, {ERR, " 10%", 10}, {OUT, "I am 100% sure.\n", 10},
          {ERR, "\r 20%", 20}, {OUT, "and 50% of us\n", 20}, {OUT, "and 60% of us\n", 20});
}

Test(percent_choice, whispers_progress_is_known_and_its_transcript_is_none)
{
    CHECK(false, {OUT, "[00:00:00.000 --> 00:00:02.000]   50% of all\n", -1},
          {OUT, "[00:00:02.000 --> 00:00:04.000]   100% of all\n", 100}, {ERR, WHISPER " 5%\n", 5},
          {OUT, "[00:00:04.000 --> 00:00:06.000]   90%\n", 5}, {ERR, "use 40%\n", 5},
          {ERR, "use 41%\n", 5}, {ERR, WHISPER "10%\n", 10});
}

Test(percent_choice, words_count_when_they_come_again_with_another_number)
{
    CHECK(false, {ERR, "using 50% of memory\n", -1}, {ERR, "using 50% of memory\n", -1},
          {ERR, "[download]  1.5% of 10MiB\r", -1}, {ERR, "[download]  3.0% of 10MiB\r", 3},
          {ERR, "using 60% of memory\n", 3}, {ERR, "[download]  4.0% of 10MiB\r", 4});
}

Test(percent_choice, standard_error_takes_the_place_of_standard_output)
{
    CHECK(false, {OUT, "1%\n", -1}, {OUT, "2%\n", 2}, {ERR, "done 3%\n", 2}, {ERR, "done 4%\n", 4},
          {OUT, "5%\n", 4}, {ERR, "6%\n", 6}, {ERR, "done 7%\n", 6});
}

Test(percent_choice, a_line_of_standard_output_that_is_rewritten_counts_at_once)
{
    CHECK(false, {OUT, "\r  1%|   |", 1}, {ERR, "done 50%\n", 1}, {ERR, "done 60%\n", 1},
          {OUT, "\r  2%|   |", 2});
}

Test(percent_choice, the_only_output_needs_no_second_number)
{
    CHECK(true, {OUT, "10%\n", 10}, {OUT, "I am 100% sure, and 50%", 10}, {OUT, "\n20%", 20});
}

Test(percent_choice, more_patterns_than_are_remembered_do_no_harm)
{
    struct progress_reader reader;
    char text[] = "aa 10%\n";

    progress_reader_init(&reader, PROGRESS_PERCENT, 0, false);
    for (int i = 0; i < 26 * 26; i++) {
        text[0] = (char)('a' + i / 26);
        text[1] = (char)('a' + i % 26);
        cr_assert_not(progress_reader_feed(&reader, ERR, text, strlen(text)));
    }
    text[3] = '2';
    cr_assert(progress_reader_feed(&reader, ERR, text, strlen(text)));
}
