#include "client/cli/progress_line.h"

#include <stdio.h>
#include <string.h>

#include "client/cli/printable.h"

#define GAP "  "
#define BAR_MAX 40
#define BAR_MIN 8
#define LABEL_MAX 24 /* columns, where there is room for a bar */
#define DURATION_MAX_S 1e9
#define SPEED_MOST 1e18

void duration_format(double seconds, char ret_text[DURATION_SIZE])
{
    unsigned long whole = (unsigned long)(seconds < DURATION_MAX_S ? seconds : DURATION_MAX_S);

    if (whole >= 3600) {
        snprintf(ret_text, DURATION_SIZE, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60,
                 whole % 60);
    } else {
        snprintf(ret_text, DURATION_SIZE, "%lu:%02lu", whole / 60, whole % 60);
    }
}

void speed_format(double bytes_a_second, char ret_text[SPEED_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double speed = bytes_a_second < SPEED_MOST ? bytes_a_second : SPEED_MOST;
    size_t unit = 0;

    while (unit + 1 < ARRAY_LEN(units) && speed >= 999.5) { /* which would be shown as 1000 */
        speed /= 1000;
        unit++;
    }
    snprintf(ret_text, SPEED_SIZE, "%.*f %s/s", unit > 0 && speed < 9.95 ? 1 : 0, speed,
             units[unit]);
}

/* ── The bar ─────────────────────────────────────────────────────────────────────────────────── */

static void repeat(struct text *text, const char *piece, size_t times)
{
    while (times-- > 0) {
        text_puts(text, piece);
    }
}

/* In UTF-8 the bar's end moves by eighths of a column. */
static void write_bar(struct text *text, double percentage, size_t columns,
                      const struct progress_line_style *style)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t filled = (size_t)(percentage / 100 * (double)columns * 8);
    size_t full = filled / 8, part = style->utf8 ? filled % 8 : 0;

    text_puts(text, style->colours ? "\x1b[36m" : "");
    repeat(text, style->utf8 ? "█" : "#", full);
    text_puts(text, eighths[part]);
    text_puts(text, style->colours ? "\x1b[2m" : "");
    repeat(text, style->utf8 ? "░" : "-", columns - full - (part > 0));
    text_puts(text, style->colours ? "\x1b[0m" : "");
}

/* ── The line ────────────────────────────────────────────────────────────────────────────────── */

/* What stands behind the bar: of the parts, as many as fit into `columns`. The first always does.
 */
static void write_numbers(struct text *text, const struct progress_line *line, size_t columns)
{
    char parts[3][48] = {"", "", ""}, duration[DURATION_SIZE], speed[SPEED_SIZE];

    if (line->percentage >= 0) {
        snprintf(parts[0], sizeof(parts[0]), GAP "%5.1f %%", line->percentage);
    }
    if (line->remaining_s >= 0) {
        duration_format(line->remaining_s, duration);
        snprintf(parts[1], sizeof(parts[1]), GAP "%s left", duration);
    }
    if (line->speed >= 0) {
        speed_format(line->speed, speed);
        snprintf(parts[2], sizeof(parts[2]), GAP "%s", speed);
    }
    for (size_t i = 0, used = 0; i < ARRAY_LEN(parts); i++) {
        used += strlen(parts[i]);
        if (i > 0 && used > columns) {
            break;
        }
        text_puts(text, parts[i]);
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void progress_line_write(struct text *text, const struct progress_line *line,
                         const struct progress_line_style *style)
{
    const size_t width = style->width > 0 ? style->width : SIZE_MAX;
    const size_t least = line->percentage >= 0 ? strlen(GAP "100.0 %") : 0;
    struct text numbers = TEXT_EMPTY;
    size_t label_room = width > least ? width - least : 0;

    if (style->width > 0 && least > 0 && width >= LABEL_MAX + BAR_MIN + least) {
        label_room = LABEL_MAX;
    }
    size_t label = printable_append(text, line->label, label_room, style->utf8);
    write_numbers(&numbers, line, width > label ? width - label : 0);
    size_t used = label + numbers.len + strlen(GAP);
    if (style->width > 0 && line->percentage >= 0 && used + BAR_MIN <= width) {
        text_puts(text, GAP);
        write_bar(text, line->percentage, smaller(width - used, BAR_MAX), style);
    }
    text_append(text, numbers.data, numbers.len);
    text_deinit(&numbers);
}
