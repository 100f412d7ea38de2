#include "broker/loop/parent.h"

#include <signal.h>

static void on_control_line(struct control *control, const char *line)
{
    struct parent *parent = CONTAINER_OF(control, struct parent, control);

    parent->events->on_order(parent->owner, line);
}

static void on_control_end(struct control *control)
{
    struct parent *parent = CONTAINER_OF(control, struct parent, control);

    parent->events->on_end(parent->owner, PARENT_GONE);
}

static void on_control_closed(struct control *control)
{
}

static const struct control_events control_events = {
    .on_line = on_control_line,
    .on_end = on_control_end,
    .on_closed = on_control_closed,
};

static void on_parent_signal(struct signals *signals, int number)
{
    struct parent *parent = CONTAINER_OF(signals, struct parent, signals);

    if (number == SIGTERM) {
        parent->events->on_end(parent->owner, PARENT_TERMINATE);
    }
}

int parent_open(struct parent *parent, struct loop *loop, int control_fd,
                const struct parent_events *events, void *owner)
{
    parent->events = events;
    parent->owner = owner;
    signals_open(&parent->signals, loop, (const int[]){SIGTERM, SIGINT, 0}, on_parent_signal);
    control_init(&parent->control, &loop->uv, &control_events);
    int rc = control_open(&parent->control, control_fd);
    return rc < 0 ? rc : control_start(&parent->control);
}

void parent_tell(struct parent *parent, const char *line)
{
    control_send(&parent->control, line);
}

void parent_close(struct parent *parent)
{
    signals_close(&parent->signals);
    control_close(&parent->control);
}
