/* What `watch` prints: a line that is drawn again and again on a terminal, plain lines elsewhere,
 * or the messages themselves.
 *
 * Receives   messages, lists of stages and notes
 * Hands on   text, to standard output
 * Owns       the view of the task
 *
 * On a terminal what is worth keeping (a stage that is over, a note) is left behind above the line.
 */
#ifndef PROGRESSD_CLIENT_CLI_WATCH_DISPLAY_H
#define PROGRESSD_CLIENT_CLI_WATCH_DISPLAY_H

#include "client/cli/task_view.h"

enum watch_display_mode {
    WATCH_DISPLAY_TERMINAL,
    WATCH_DISPLAY_PLAIN,
    WATCH_DISPLAY_JSON, /* notes go to standard error */
};

struct watch_display {
    struct task_view view;
    enum watch_display_mode mode;
    bool utf8, colours;
    bool changed;     /* the view, since it was shown */
    int64_t shown_at; /* wire_clock() */
};

/* Takes the mode from standard output (and TERM, the locale, NO_COLOR), unless `json`. */
void watch_display_init(struct watch_display *display, bool json);
void watch_display_deinit(struct watch_display *display);

/* The list of stages that comes with `subscribed` and polls. 0, or TASK_VIEW_INVALID. */
int watch_display_stages(struct watch_display *display, struct json_value rev,
                         struct json_value stages) MUST_CHECK;

/* A message of the task. 0; TASK_VIEW_INVALID; -ENOMEM. */
int watch_display_message(struct watch_display *display, struct json_value message) MUST_CHECK;

/* A message that isn't a task's: shown only where messages themselves are. */
void watch_display_other(struct watch_display *display, struct json_value message);

/* What the user should know of the way to the server. */
void watch_display_note(struct watch_display *display, const char *format, ...) PRINTF_LIKE(2, 3);

/* When watch_display_tick() wants to be called next (wire_clock()), and the call itself: shows what
 * was held back, and lets the time left run. */
int64_t watch_display_due(const struct watch_display *display);
void watch_display_tick(struct watch_display *display);

/* Leaves the terminal with a line of its own for whoever comes next. */
void watch_display_end(struct watch_display *display);

#endif
