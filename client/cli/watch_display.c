#include "client/cli/watch_display.h"

#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/printable.h"
#include "client/cli/progress_line.h"
#include "client/cli/wire.h"

#define REDRAW_MS 50         /* the fastest that a terminal's line is drawn */
#define COUNTDOWN_MS 1000    /* how often the time left is shown anew */
#define PLAIN_MS 1000        /* the fastest that plain lines follow each other */
#define WIDTH_OTHERWISE 80   /* of a terminal that doesn't tell */
#define TEXT_COLUMNS_MAX 512 /* of a text of the job's */

enum mark { MARK_OVER, MARK_FAILED, MARK_ERROR, MARK_RESET, MARK_NOTE };

static const struct {
    const char *utf8, *ascii, *colour;
} marks[] = {
    [MARK_OVER] = {"✓", "+", "\x1b[32m"},  [MARK_FAILED] = {"✗", "x", "\x1b[31m"},
    [MARK_ERROR] = {"!", "!", "\x1b[33m"}, [MARK_RESET] = {"↺", "~", "\x1b[33m"},
    [MARK_NOTE] = {"·", "-", "\x1b[2m"},
};

void watch_display_init(struct watch_display *display, bool json)
{
    const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool draws = isatty(STDOUT_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;

    *display = (struct watch_display){
        .mode = json    ? WATCH_DISPLAY_JSON
                : draws ? WATCH_DISPLAY_TERMINAL
                        : WATCH_DISPLAY_PLAIN,
        .utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        .colours = draws && !(no_color && *no_color),
    };
    task_view_init(&display->view);
}

void watch_display_deinit(struct watch_display *display)
{
    task_view_deinit(&display->view);
}

/* ── Lines ───────────────────────────────────────────────────────────────────────────────────── */

static int64_t watch_display_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One write for a whole line, so that nothing else comes into the middle of it. Standard output's
 * failure is seen when the program ends. */
static void display_print(struct text *text)
{
    if (!text_failed(text) && text->len > 0) {
        fwrite(text->data, 1, text->len, stdout);
        fflush(stdout);
    }
    text_deinit(text);
}

static void append_time_of_day(struct text *text, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    char buffer[16];
    struct tm tm;

    if (localtime_r(&seconds, &tm) && strftime(buffer, sizeof(buffer), "%H:%M:%S", &tm) > 0) {
        text_puts(text, buffer);
    }
}

/* What begins a line that stays: time and mark. On a terminal it takes the place of the one that
 * is drawn. */
static void begin_line(const struct watch_display *display, struct text *text, enum mark mark,
                       int64_t ms)
{
    text_puts(text, display->mode == WATCH_DISPLAY_TERMINAL ? "\r\x1b[K" : "");
    append_time_of_day(text, ms);
    text_printf(text, " %s%s%s ", display->colours ? marks[mark].colour : "",
                display->utf8 ? marks[mark].utf8 : marks[mark].ascii,
                display->colours ? "\x1b[0m" : "");
}

static void append_foreign(const struct watch_display *display, struct text *text,
                           const struct text *foreign)
{
    printable_append(text, foreign->data ? foreign->data : "", TEXT_COLUMNS_MAX, display->utf8);
}

static void append_duration(struct text *text, const char *before, double seconds)
{
    char duration[DURATION_SIZE];

    if (seconds >= 0) {
        duration_format(seconds, duration);
        text_printf(text, "%s%s", before, duration);
    }
}

static void print_stage(const struct watch_display *display, const struct task_view_stage *stage)
{
    struct text text = TEXT_EMPTY;
    bool known = stage->entered_ms >= 0 && stage->left_ms >= 0;

    begin_line(display, &text, MARK_OVER,
               stage->left_ms >= 0 ? stage->left_ms : watch_display_now_ms());
    printable_append(&text, stage->name, STAGE_MAX, display->utf8);
    append_duration(&text, "  ",
                    known ? (double)(stage->left_ms - stage->entered_ms) / 1000
                          : TASK_VIEW_UNKNOWN);
    text_puts(&text, "\n");
    display_print(&text);
}

static void print_error(const struct watch_display *display, enum mark mark, const char *what,
                        const char *after)
{
    struct text text = TEXT_EMPTY;

    begin_line(display, &text, mark, watch_display_now_ms());
    text_puts(&text, what);
    append_foreign(display, &text, &display->view.error_code);
    text_puts(&text, ": ");
    append_foreign(display, &text, &display->view.error_message);
    text_printf(&text, "%s\n", after);
    display_print(&text);
}

static void print_completion(const struct watch_display *display)
{
    struct text text = TEXT_EMPTY;

    begin_line(display, &text, MARK_OVER, watch_display_now_ms());
    text_puts(&text, "complete");
    append_duration(&text, " in ", display->view.duration_s);
    text_puts(&text, display->view.result_url.len > 0 ? "  " : "");
    append_foreign(display, &text, &display->view.result_url);
    text_puts(&text, "\n");
    display_print(&text);
}

static void print_reset(const struct watch_display *display)
{
    struct text text = TEXT_EMPTY;

    begin_line(display, &text, MARK_RESET, watch_display_now_ms());
    text_puts(&text, "the task begins anew\n");
    display_print(&text);
}

/* ── The state ───────────────────────────────────────────────────────────────────────────────── */

static void display_write_state(const struct watch_display *display, struct text *text,
                                size_t width)
{
    const struct task_view *view = &display->view;
    const bool runs = view->status == TASK_VIEW_RUNNING;
    const struct progress_line line = {
        .label = view->status == TASK_VIEW_WAITING    ? "waiting for the job"
                 : view->status == TASK_VIEW_RETRYING ? "waiting for the job to go on"
                 : view->stage.name[0] != '\0'        ? view->stage.name
                                                      : "running",
        .percentage = view->percentage,
        .remaining_s = task_view_remaining_s(view, watch_display_now_ms()),
        .speed = runs ? view->speed : TASK_VIEW_UNKNOWN,
    };

    progress_line_write(text, &line,
                        &(struct progress_line_style){width, display->utf8, display->colours});
}

/* The last column stays free: some terminals wrap when it is written. */
static size_t terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
        return size.ws_col - 1u;
    }
    return WIDTH_OTHERWISE - 1;
}

static void show_state(struct watch_display *display)
{
    struct text text = TEXT_EMPTY;

    display->changed = false;
    display->shown_at = wire_clock();
    if (task_view_is_over(&display->view)) {
        return;
    }
    if (display->mode == WATCH_DISPLAY_TERMINAL) {
        text_puts(&text, "\r");
        display_write_state(display, &text, terminal_width());
        text_puts(&text, "\x1b[K");
    } else {
        append_time_of_day(&text, watch_display_now_ms());
        text_puts(&text, " ");
        display_write_state(display, &text, 0);
        text_puts(&text, "\n");
    }
    display_print(&text);
}

int64_t watch_display_due(const struct watch_display *display)
{
    switch (display->mode) {
    case WATCH_DISPLAY_TERMINAL:
        return display->shown_at + (display->changed ? REDRAW_MS : COUNTDOWN_MS);
    case WATCH_DISPLAY_PLAIN:
        return display->changed ? display->shown_at + PLAIN_MS : INT64_MAX;
    case WATCH_DISPLAY_JSON:
        break;
    }
    return INT64_MAX;
}

void watch_display_tick(struct watch_display *display)
{
    if (wire_clock() >= watch_display_due(display)) {
        show_state(display);
    }
}

/* ── News ────────────────────────────────────────────────────────────────────────────────────── */

static void print_end(const struct watch_display *display)
{
    if (display->view.status == TASK_VIEW_COMPLETE) {
        print_completion(display);
    } else {
        print_error(display, MARK_FAILED, "failed with ", "");
    }
}

static void show_news(struct watch_display *display, enum task_view_news news)
{
    struct task_view_stage stage;

    if (display->mode == WATCH_DISPLAY_JSON || news == TASK_VIEW_NOTHING) {
        return;
    }
    if (news == TASK_VIEW_RESET) {
        print_reset(display);
    }
    while (task_view_take_stage(&display->view, &stage)) {
        print_stage(display, &stage);
    }
    if (news == TASK_VIEW_ERROR) {
        print_error(display, MARK_ERROR, "", " (it may go on)");
    }
    display->changed = true;
    if (news == TASK_VIEW_ENDED) {
        print_end(display);
        display->changed = false;
    } else {
        watch_display_tick(display);
    }
}

int watch_display_stages(struct watch_display *display, struct json_value rev,
                         struct json_value stages)
{
    enum task_view_news news;
    int rc = task_view_stages(&display->view, rev, stages, &news);

    if (rc == 0) {
        display->shown_at = wire_clock(); /* the messages that follow tell more */
        show_news(display, news);
    }
    return rc;
}

int watch_display_message(struct watch_display *display, struct json_value message)
{
    enum task_view_news news;
    const uint64_t held_n = display->view.rev.n;
    int rc = task_view_message(&display->view, message, watch_display_now_ms(), &news);

    if (rc) {
        return rc;
    }
    if (display->view.rev.n > held_n) {
        watch_display_other(display, message);
    }
    show_news(display, news);
    return 0;
}

/* One message is one line: a line end in it, which JSON has only between its tokens, is a space. */
void watch_display_other(struct watch_display *display, struct json_value message)
{
    struct text text = TEXT_EMPTY;

    if (display->mode != WATCH_DISPLAY_JSON) {
        return;
    }
    text_append(&text, message.raw.at, message.raw.len);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n' || text.data[i] == '\r') {
            text.data[i] = ' ';
        }
    }
    text_puts(&text, "\n");
    display_print(&text);
}

void watch_display_note(struct watch_display *display, const char *format, ...)
{
    struct text text = TEXT_EMPTY;
    char note[512];
    va_list args;

    va_start(args, format);
    vsnprintf(note, sizeof(note), format, args);
    va_end(args);
    if (display->mode == WATCH_DISPLAY_JSON) {
        fprintf(stderr, "%s\n", note);
        return;
    }
    begin_line(display, &text, MARK_NOTE, watch_display_now_ms());
    printable_append(&text, note, sizeof(note), display->utf8);
    text_puts(&text, "\n");
    display_print(&text);
    if (display->mode == WATCH_DISPLAY_TERMINAL) {
        show_state(display);
    }
}

void watch_display_end(struct watch_display *display)
{
    if (display->mode == WATCH_DISPLAY_TERMINAL) {
        fputs("\r\x1b[K", stdout);
        fflush(stdout);
    }
}
