/* How a task stands, as one line of text that fits a width.
 *
 * Receives   a task's stage, percentage and times
 * Hands on   the line, without its end
 * Owns       nothing
 *
 *   transcribing  ███████▌░░░░░░░░░░  42.0 %  1:05 left  128 kB/s
 *
 * What doesn't fit goes, in this order: speed, time left, the bar; a long stage is cut.
 */
#ifndef PROGRESSD_CLIENT_CLI_PROGRESS_LINE_H
#define PROGRESSD_CLIENT_CLI_PROGRESS_LINE_H

#include "common/text.h"

struct progress_line_style {
    size_t width; /* columns; 0: no limit, and no bar */
    bool utf8, colours;
};

/* Numbers below 0 are unknown, and left out. */
struct progress_line {
    const char *label;                     /* the stage, or what is waited for */
    double percentage, remaining_s, speed; /* in bytes a second */
};

void progress_line_write(struct text *text, const struct progress_line *line,
                         const struct progress_line_style *style);

/* "0:03", "1:02:03"; a fraction of a second is dropped. */
#define DURATION_SIZE 32
void duration_format(double seconds, char ret_text[DURATION_SIZE]);

/* "128 kB/s", "1.3 MB/s": two digits or more, and steps of a thousand. */
#define SPEED_SIZE 32
void speed_format(double bytes_a_second, char ret_text[SPEED_SIZE]);

#endif
