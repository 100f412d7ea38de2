#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/progress_line.h"

static const char *rendered(const struct progress_line *line, size_t width, bool utf8, bool colours)
{
    static struct text text;

    text_deinit(&text);
    progress_line_write(&text, line, &(struct progress_line_style){width, utf8, colours});
    return text.data ? text.data : "";
}

static const struct progress_line whole = {"upload", 50, 65, 128000};

Test(progress_line, a_wide_terminal_shows_everything)
{
    cr_expect_str_eq(
        rendered(&whole, 80, false, false),
        "upload  ####################--------------------   50.0 %  1:05 left  128 kB/s");
}

Test(progress_line, without_a_width_there_is_no_bar)
{
    cr_expect_str_eq(rendered(&whole, 0, true, false), "upload   50.0 %  1:05 left  128 kB/s");
}

Test(progress_line, what_is_unknown_is_left_out)
{
    struct progress_line line = {"waiting", -1, -1, -1};

    cr_expect_str_eq(rendered(&line, 79, true, true), "waiting");
    line.percentage = 7;
    cr_expect_str_eq(rendered(&line, 0, true, true), "waiting    7.0 %");
}

Test(progress_line, the_bar_moves_by_eighths_in_utf8)
{
    struct progress_line line = {"x", 0, -1, -1};

    cr_expect_str_eq(rendered(&line, 20, true, false), "x  ░░░░░░░░    0.0 %");
    line.percentage = 100;
    cr_expect_str_eq(rendered(&line, 60, true, false),
                     "x  ████████████████████████████████████████  100.0 %");
    line.percentage = 51.25; /* of 40 columns 20 and a half */
    cr_expect_str_eq(rendered(&line, 60, true, false),
                     "x  ████████████████████▌░░░░░░░░░░░░░░░░░░░   51.2 %");
}

Test(progress_line, it_fits_any_width)
{
    static const struct progress_line lines[] = {
        {"upload", 50, 65, 128000},
        {"a stage with a very long name that hardly fits", 99.96, 360000, 1e30},
        {"", 0, 0, 0},
        {"waiting", -1, -1, -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        for (size_t width = 9; width < 200; width++) {
            cr_expect_leq(strlen(rendered(&lines[i], width, false, false)), width,
                          "line %zu, width %zu: %s", i, width,
                          rendered(&lines[i], width, false, false));
        }
    }
}

Test(progress_line, speed_goes_first_then_the_time_left_then_the_bar)
{
    cr_expect_not_null(strstr(rendered(&whole, 48, false, false), "left"));
    cr_expect_str_eq(rendered(&whole, 30, false, false), "upload   50.0 %  1:05 left");
    cr_expect_str_eq(rendered(&whole, 20, false, false), "upload   50.0 %");
    cr_expect_str_eq(rendered(&whole, 13, false, false), "upl~   50.0 %");
}

Test(progress_line, colours_come_in_pairs)
{
    const char *line = rendered(&whole, 79, true, true);

    cr_expect_not_null(strstr(line, "\x1b[36m"));
    cr_expect_not_null(strstr(line, "\x1b[0m   50.0 %"));
}

Test(progress_line, durations_are_minutes_or_hours)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0:00"},       {3.99, "0:03"},      {65, "1:05"},           {3599, "59:59"},
                 {3600, "1:00:00"}, {90061, "25:01:01"}, {1e300, "277777:46:40"}};
    char text[DURATION_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        duration_format(cases[i].seconds, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(progress_line, speeds_have_units_that_keep_them_short)
{
    static const struct {
        double speed;
        const char *text;
    } cases[] = {
        {0, "0 B/s"},        {0.4, "0 B/s"},       {2.6, "3 B/s"},       {999, "999 B/s"},
        {999.4, "999 B/s"},  {999.6, "1.0 kB/s"},  {1000, "1.0 kB/s"},   {9940, "9.9 kB/s"},
        {9960, "10 kB/s"},   {128000, "128 kB/s"}, {999400, "999 kB/s"}, {999600, "1.0 MB/s"},
        {1.3e6, "1.3 MB/s"}, {42e9, "42 GB/s"},    {7e12, "7.0 TB/s"},   {999.9e15, "1000 PB/s"},
        {1e300, "1000 PB/s"}};
    char text[SPEED_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        speed_format(cases[i].speed, text);
        cr_expect_str_eq(text, cases[i].text, "%s", text);
    }
}
