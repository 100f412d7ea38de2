/* How far a program is, read from what it prints.
 *
 * Receives   its output, piece by piece as it comes, from command_run
 * Hands on   the percentage it told last
 * Owns       nothing
 *
 *   ffmpeg    the blocks of `-progress`: out_time_us (or out_time_ms, which counts microseconds
 *             too), then progress=…, over the duration: the one given, or the longest that a line
 *             "Duration: 00:01:02.50" names
 *   percent   the last number before a percent sign, of those that percent_choice takes for
 *             progress: "42%", "42.5 %". One above 100 (by more than what sums of fractions are off
 *             by), a negative one and the tail of a word ("x86%", "1,042%") are passed over, and so
 *             are escape sequences between. It is taken at once, without waiting for the line's
 *             end, since programs that rewrite their line begin it with \r or \b as often as they
 *             end it so
 *   lines     each \n counts, against a total
 *
 * Standard output and standard error are read apart, since they arrive in any order. A byte order
 * mark at the beginning of one is passed over.
 *
 * The percentage may fall: the program may have begun again.
 */
#ifndef PROGRESSD_CLIENT_CLI_PROGRESS_READER_H
#define PROGRESSD_CLIENT_CLI_PROGRESS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cli/percent_choice.h"

enum progress_format { PROGRESS_NONE, PROGRESS_FFMPEG, PROGRESS_PERCENT, PROGRESS_LINES };

enum progress_stream { PROGRESS_STDOUT, PROGRESS_STDERR, PROGRESS_STREAMS };

/* A longer line is cut; all that is looked for stands at its beginning. */
#define PROGRESS_LINE_MAX 128

/* What of a percentage stands before the next byte. */
enum percent_state {
    PERCENT_NOTHING,
    PERCENT_WORD,     /* of which no number is taken, until it ends */
    PERCENT_WHOLE,    /* "42" */
    PERCENT_POINT,    /* "42." */
    PERCENT_FRACTION, /* "42.5" */
    PERCENT_SPACE,    /* "42 " or "42.5 " */
    PERCENT_ESCAPE,   /* ESC */
    PERCENT_CONTROL,  /* ESC [, until a letter */
};

struct progress_source {
    size_t mark_len; /* bytes of a byte order mark that have come; 3: no more are expected */
    char line[PROGRESS_LINE_MAX + 1];
    size_t len;
    bool has_time;
    double time_s; /* out_time of the block that comes in */
    enum percent_state state;
    double number, place; /* and what its next decimal counts */
    uint32_t words;       /* the letters before it, see percent_choice.h */
    bool is_rewritten;    /* the line began with \r or \b */
};

struct progress_reader {
    enum progress_format format;
    double whole;     /* what 100 % is: lines, or seconds; 0: not known yet */
    bool whole_given; /* so the program's own words don't count */
    double lines;
    double percentage; /* 0 to 100, or -1 while the program has told none */
    struct percent_choice choice;
    struct progress_source sources[PROGRESS_STREAMS];
};

/* `whole`: for PROGRESS_LINES how many there will be, for PROGRESS_FFMPEG the duration in seconds,
 * 0 if it is to be read. `one_stream`: only one of the streams will be fed. */
void progress_reader_init(struct progress_reader *reader, enum progress_format format, double whole,
                          bool one_stream);

/* Reads on. Whether a percentage was told, which is reader->percentage now. */
bool progress_reader_feed(struct progress_reader *reader, enum progress_stream stream,
                          const char *data, size_t len);

#endif
