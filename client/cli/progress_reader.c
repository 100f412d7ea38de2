#include "client/cli/progress_reader.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_MOST 1e6      /* whatever is above isn't told apart */
#define PERCENT_MOST 100.001 /* what is above 100 is 100: sums of fractions are a little off */

#define MARK "\xef\xbb\xbf"
#define MARK_LEN 3

void progress_reader_init(struct progress_reader *reader, enum progress_format format, double whole,
                          bool one_stream)
{
    *reader = (struct progress_reader){
        .format = format,
        .whole = whole,
        .whole_given = whole > 0,
        .percentage = -1,
    };
    percent_choice_init(&reader->choice, one_stream);
    for (int i = 0; i < PROGRESS_STREAMS; i++) {
        reader->sources[i].words = PERCENT_NO_WORDS;
    }
}

static double at_most_100(double percentage)
{
    return percentage > 100 ? 100 : percentage;
}

static bool tell_share(struct progress_reader *reader, double share)
{
    if (reader->whole <= 0) {
        return false;
    }
    const double percentage = share / reader->whole * 100;
    reader->percentage = percentage < 0 ? 0 : at_most_100(percentage);
    return true;
}

/* ── ffmpeg ──────────────────────────────────────────────────────────────────────────────────── */

/* What follows `beginning` in the line, or NULL. */
static const char *after(const char *line, const char *beginning)
{
    const size_t len = strlen(beginning);

    return strncmp(line, beginning, len) == 0 ? line + len : NULL;
}

/* "01:02:03.45" as seconds; -1 for anything else ("N/A"). */
static double read_clock(const char *text)
{
    double seconds = 0;
    char *end;

    for (int part = 0; part < 3; part++) {
        if (text[0] < '0' || text[0] > '9') {
            return -1;
        }
        seconds = seconds * 60 + strtod(text, &end);
        if (part < 2 && *end != ':') {
            return -1;
        }
        text = end + 1;
    }
    return seconds;
}

static void read_duration(struct progress_reader *reader, const char *text)
{
    const double seconds = read_clock(text);

    if (!reader->whole_given && seconds > reader->whole) {
        reader->whole = seconds;
    }
}

static void reader_read_time(struct progress_source *source, const char *text)
{
    char *end;
    const long long microseconds = strtoll(text, &end, 10);

    source->has_time = end != text && *end == '\0';
    source->time_s = (double)microseconds / 1e6;
}

/* Whether the line told a percentage. */
static bool read_ffmpeg_line(struct progress_reader *reader, struct progress_source *source)
{
    const char *line = source->line + strspn(source->line, " ");
    const char *value;

    if ((value = after(line, "Duration: "))) {
        read_duration(reader, value);
    } else if ((value = after(line, "out_time_us=")) || (value = after(line, "out_time_ms="))) {
        reader_read_time(source, value);
    } else if (after(line, "progress=") && source->has_time) {
        source->has_time = false;
        return tell_share(reader, source->time_s);
    }
    return false;
}

static bool feed_ffmpeg(struct progress_reader *reader, struct progress_source *source, char byte)
{
    if (byte != '\n' && byte != '\r') {
        if (source->len < PROGRESS_LINE_MAX) {
            source->line[source->len++] = byte;
        }
        return false;
    }
    source->line[source->len] = '\0';
    source->len = 0;
    return read_ffmpeg_line(reader, source);
}

/* ── Percentages ─────────────────────────────────────────────────────────────────────────────── */

static enum percent_state after_digit(struct progress_source *source, double digit)
{
    switch (source->state) {
    case PERCENT_WORD:
        return PERCENT_WORD;
    case PERCENT_WHOLE:
        source->number = source->number * 10 + digit;
        return source->number > NUMBER_MOST ? PERCENT_WORD : PERCENT_WHOLE;
    case PERCENT_POINT:
    case PERCENT_FRACTION:
        source->number += digit * source->place;
        source->place /= 10;
        return PERCENT_FRACTION;
    default:
        source->number = digit;
        source->place = 0.1;
        return PERCENT_WHOLE;
    }
}

static bool is_number(enum percent_state state)
{
    return state == PERCENT_WHOLE || state == PERCENT_FRACTION;
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static enum percent_state after_other(const struct progress_source *source, char byte)
{
    if (is_letter(byte) || byte == '_' || byte == '-' || byte == ',') {
        return PERCENT_WORD;
    }
    if (byte == '.' && is_number(source->state)) {
        return source->state == PERCENT_WHOLE ? PERCENT_POINT : PERCENT_WORD;
    }
    if (byte == '.' && source->state == PERCENT_WORD) {
        return PERCENT_WORD;
    }
    return byte == ' ' && is_number(source->state) ? PERCENT_SPACE : PERCENT_NOTHING;
}

static enum percent_state percent_next(struct progress_source *source, char byte)
{
    if (source->state == PERCENT_ESCAPE) {
        return byte == '[' ? PERCENT_CONTROL : PERCENT_NOTHING;
    }
    if (source->state == PERCENT_CONTROL) {
        return byte >= '@' && byte <= '~' ? PERCENT_NOTHING : PERCENT_CONTROL;
    }
    if (byte == '\033') {
        return PERCENT_ESCAPE;
    }
    return byte >= '0' && byte <= '9' ? after_digit(source, byte - '0') : after_other(source, byte);
}

/* Keeps the letters before the next number. Those of escape sequences don't count. */
static void follow_words(struct progress_source *source, char byte)
{
    if (byte == '\n' || byte == '\r' || byte == '\b') {
        source->is_rewritten = byte != '\n';
        source->words = PERCENT_NO_WORDS;
    } else if (byte == '%') {
        source->words = PERCENT_NO_WORDS;
    } else if (is_letter(byte) && source->state != PERCENT_ESCAPE &&
               source->state != PERCENT_CONTROL) {
        source->words = percent_words_add(source->words, byte);
    }
}

static bool feed_percent(struct progress_reader *reader, enum progress_stream stream, char byte)
{
    struct progress_source *source = &reader->sources[stream];
    const struct percent_sight sight = {
        .words = source->words,
        .is_stderr = stream == PROGRESS_STDERR,
        .is_rewritten = source->is_rewritten,
        .percentage = at_most_100(source->number),
    };
    const bool told = byte == '%' && (is_number(source->state) || source->state == PERCENT_SPACE) &&
                      source->number < PERCENT_MOST && percent_choice_take(&reader->choice, &sight);

    if (told) {
        reader->percentage = sight.percentage;
    }
    follow_words(source, byte);
    source->state = percent_next(source, byte);
    return told;
}

/* ── Lines ───────────────────────────────────────────────────────────────────────────────────── */

static bool feed_lines(struct progress_reader *reader, char byte)
{
    if (byte != '\n') {
        return false;
    }
    reader->lines++;
    return tell_share(reader, reader->lines);
}

/* Whether the byte belongs to a byte order mark at the stream's beginning. */
static bool is_mark(struct progress_source *source, char byte)
{
    if (source->mark_len < MARK_LEN && byte == MARK[source->mark_len]) {
        source->mark_len++;
        return true;
    }
    source->mark_len = MARK_LEN;
    return false;
}

static bool feed_byte(struct progress_reader *reader, enum progress_stream stream, char byte)
{
    struct progress_source *source = &reader->sources[stream];

    if (is_mark(source, byte)) {
        return false;
    }
    switch (reader->format) {
    case PROGRESS_NONE:
        return false;
    case PROGRESS_FFMPEG:
        return feed_ffmpeg(reader, source, byte);
    case PROGRESS_PERCENT:
        return feed_percent(reader, stream, byte);
    case PROGRESS_LINES:
        return feed_lines(reader, byte);
    }
    return false;
}

bool progress_reader_feed(struct progress_reader *reader, enum progress_stream stream,
                          const char *data, size_t len)
{
    bool told = false;

    for (size_t i = 0; i < len; i++) {
        told |= feed_byte(reader, stream, data[i]);
    }
    return told;
}
