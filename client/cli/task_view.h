/* What a watcher knows of a task: the messages it was sent, merged.
 *
 * Receives   messages, stages and revs
 * Hands on   what there is to show; each stage that is over, once
 * Owns       the texts of the end
 *
 * A message is taken up if its `n` is larger than the held one, so it doesn't matter by which
 * transport, how often, or in which order it comes. Another run voids all that was held.
 *
 * Stages come from two sides: the list that `subscribed` and polls carry, and the messages. What
 * the list covers, messages up to its rev, enters no stage again.
 */
#ifndef PROGRESSD_CLIENT_CLI_TASK_VIEW_H
#define PROGRESSD_CLIENT_CLI_TASK_VIEW_H

#include "common/text.h"
#include "proto/json.h"
#include "proto/message_tables.h"
#include "proto/rev.h"

enum task_view_status {
    TASK_VIEW_WAITING, /* no message yet */
    TASK_VIEW_RUNNING,
    TASK_VIEW_RETRYING, /* it failed, and may go on */
    TASK_VIEW_COMPLETE,
    TASK_VIEW_FAILED,
};

struct task_view_stage {
    char name[STAGE_MAX + 1]; /* "": none */
    int64_t entered_ms;       /* since 1970; -1: unknown */
    int64_t left_ms;          /* likewise */
};

#define TASK_VIEW_UNKNOWN (-1.0)

struct task_view {
    enum task_view_status status;
    struct rev rev; /* of what is held; n is 0 before any message is */
    double percentage, speed, remaining_s, duration_s; /* or TASK_VIEW_UNKNOWN */
    int64_t estimated_ms;                              /* when remaining_s was told, since 1970 */
    struct task_view_stage stage;
    char stage_timestamp[TIMESTAMP_MAX + 1]; /* as it came: tells where in a list the stage is */
    uint64_t listed_n;                       /* stages up to this n have come as a list */
    struct task_view_stage over[STAGES_MAX]; /* not taken yet, oldest first */
    size_t over_count;
    struct text result_url, error_code, error_message;
};

/* What a message was. */
enum task_view_news {
    TASK_VIEW_NOTHING,  /* old, or of a type without meaning here */
    TASK_VIEW_PROGRESS, /* something to show has changed */
    TASK_VIEW_ERROR,    /* the job failed, and may go on */
    TASK_VIEW_RESET,    /* all that was held is void */
    TASK_VIEW_ENDED,
};

enum task_view_outcome { TASK_VIEW_INVALID = 1 };

void task_view_init(struct task_view *view);
void task_view_deinit(struct task_view *view);

/* Takes up a message of a task, a checked JSON object, at the time `now_ms` (since 1970). 0 and
 * *ret_news; TASK_VIEW_INVALID when it is no such message; -ENOMEM. */
int task_view_message(struct task_view *view, struct json_value message, int64_t now_ms,
                      enum task_view_news *ret_news) MUST_CHECK;

/* Takes up the list of stages that comes with a rev, a string or null. 0 and *ret_news: RESET when
 * the rev is of another run, PROGRESS, or NOTHING; or TASK_VIEW_INVALID. */
int task_view_stages(struct task_view *view, struct json_value rev, struct json_value stages,
                     enum task_view_news *ret_news) MUST_CHECK;

/* The oldest stage that is over and wasn't taken yet. */
bool task_view_take_stage(struct task_view *view, struct task_view_stage *ret_stage);

/* The time left at `now_ms`, in seconds, or TASK_VIEW_UNKNOWN. */
double task_view_remaining_s(const struct task_view *view, int64_t now_ms);

static inline bool task_view_is_over(const struct task_view *view)
{
    return view->status == TASK_VIEW_COMPLETE || view->status == TASK_VIEW_FAILED;
}

#endif
