#include "broker/loop/control.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void control_init(struct control *control, uv_loop_t *loop, const struct control_events *events)
{
    uv_pipe_init(loop, &control->pipe, 0);
    control->events = events;
    control->len = 0;
}

int control_open(struct control *control, int fd)
{
    return uv_pipe_open(&control->pipe, fd);
}

static bool is_closing(const struct control *control)
{
    return uv_is_closing((const uv_handle_t *)&control->pipe);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct control *control = CONTAINER_OF(handle, struct control, pipe);

    *buf = uv_buf_init(control->buffer + control->len,
                       (unsigned)(sizeof(control->buffer) - control->len));
}

/* Hands on the whole lines, and keeps what is left. */
static void take_lines(struct control *control)
{
    size_t at = 0;
    char *end;

    while (!is_closing(control) &&
           (end = memchr(control->buffer + at, '\n', control->len - at)) != NULL) {
        *end = '\0';
        control->events->on_line(control, control->buffer + at);
        at = (size_t)(end - control->buffer) + 1;
    }
    control->len -= at;
    memmove(control->buffer, control->buffer + at, control->len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct control *control = CONTAINER_OF(stream, struct control, pipe);

    if (n > 0) {
        control->len += (size_t)n;
        take_lines(control);
    }
    /* A full buffer without a line end has no room left: UV_ENOBUFS. */
    if (n < 0 && !is_closing(control)) {
        uv_read_stop(stream);
        control->events->on_end(control);
    }
}

int control_start(struct control *control)
{
    return uv_read_start((uv_stream_t *)&control->pipe, on_alloc, on_read);
}

void control_send(struct control *control, const char *line)
{
    char text[CONTROL_LINE_MAX];
    uv_buf_t buf = uv_buf_init(text, 0);
    int len = snprintf(text, sizeof(text), "%s\n", line);

    assert(len > 0 && (size_t)len < sizeof(text));
    buf.len = (size_t)len;
    if (!is_closing(control)) {
        (void)uv_try_write((uv_stream_t *)&control->pipe, &buf, 1);
    }
}

static void control_on_handle_closed(uv_handle_t *handle)
{
    struct control *control = CONTAINER_OF(handle, struct control, pipe);

    control->events->on_closed(control);
}

void control_close(struct control *control)
{
    if (!is_closing(control)) {
        uv_close((uv_handle_t *)&control->pipe, control_on_handle_closed);
    }
}
