/* The socket between the supervisor and a child: short lines of text, both ways.
 *
 * Receives   lines to send
 * Hands on   the other side's lines, and its end
 * Owns       the pipe handle
 *
 * The child's end of the socket closes with the process, and so does the supervisor's: that is how
 * each learns that the other is gone, however it went.
 *
 * Life: control_init() … control_close() … on_closed, once; no other event after control_close().
 */
#ifndef PROGRESSD_BROKER_LOOP_CONTROL_H
#define PROGRESSD_BROKER_LOOP_CONTROL_H

#include <uv.h>

#include "common/result.h"

struct control;

struct control_events {
    /* A line without its end. */
    void (*on_line)(struct control *control, const char *line);
    /* The other side is gone, or says something that no side of ours would. */
    void (*on_end)(struct control *control);
    void (*on_closed)(struct control *control);
};

/* Longer lines are nobody's. */
#define CONTROL_LINE_MAX 64

struct control {
    uv_pipe_t pipe;
    const struct control_events *events;
    char buffer[CONTROL_LINE_MAX];
    size_t len;
};

/* Prepares the pipe, for uv_spawn() or control_open(). */
void control_init(struct control *control, uv_loop_t *loop, const struct control_events *events);

/* Takes a connected socket over. 0 or a UV_E*. */
int control_open(struct control *control, int fd) MUST_CHECK;

/* Begins to read. 0 or a UV_E*. */
int control_start(struct control *control) MUST_CHECK;

/* Sends a line, given without its end. One that can't be sent at once is lost: the other side is
 * gone then, or stands still, which its owner finds out by other means. */
void control_send(struct control *control, const char *line);

/* May be called twice. */
void control_close(struct control *control);

#endif
