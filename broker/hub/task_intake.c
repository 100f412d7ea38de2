#include "broker/hub/task_intake.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

#define MODULE "task_intake"

struct held {
    struct list link;
    struct bytes *text;
};

void intake_init(struct intake *intake, struct task *task, const struct intake_border *border)
{
    *intake = (struct intake){.task = task, .border = border};
    list_init(&intake->held);
}

/* Whether there is news. */
static bool intake_settle(struct intake *intake, int rc)
{
    if (rc < 0) {
        log_event(LOG_ERROR, MODULE, "out of memory, a message waits for the next resync");
    }
    intake->must_read |= rc < 0 || rc == TASK_DOUBT;
    return rc == TASK_NEWS || rc < 0; /* a part of a hash may have been taken */
}

static void drop(const struct intake *intake, enum metric metric, uint32_t count, const char *why)
{
    if (count > 0) {
        log_event(LOG_WARN, MODULE, "dropped what progress_publish would not have made",
                  LOG_TEXT("task", intake->task->id), LOG_TEXT("why", why));
        metric_add(intake->border->metrics, metric, count);
    }
}

bool intake_message(struct intake *intake, struct span text)
{
    const struct task *task = intake->task;
    struct task_message message;

    if (task_message_parse(text, &message) != 0 ||
        !span_equals(message.task_id, (struct span){task->id, task->id_len})) {
        drop(intake, METRIC_DROPPED_INVALID, 1, "invalid message");
        return false;
    }
    if (message.rev.n > redis_clock_n_max(&intake->border->clock)) {
        drop(intake, METRIC_DROPPED_FUTURE, 1, "n from the future");
        intake->must_read = true; /* unless it is our idea of the time that is wrong */
        return false;
    }
    return intake_settle(intake, task_take(intake->task, &message, text));
}

/* ── Held messages ───────────────────────────────────────────────────────────────────────────── */

void intake_drop_held(struct intake *intake)
{
    while (!list_is_empty(&intake->held)) {
        struct held *held = CONTAINER_OF(list_first(&intake->held), struct held, link);

        list_remove(&held->link);
        bytes_unref(held->text);
        mem_free(held);
    }
    intake->held_count = 0;
    intake->overflowed = false;
}

static struct held *held_new(struct span text)
{
    struct held *held = mem_zalloc(1, sizeof(*held));

    if (!held) {
        return NULL;
    }
    held->text = bytes_copy(text.at, (uint32_t)text.len);
    if (!held->text) {
        mem_free(held);
        return NULL;
    }
    list_init(&held->link);
    return held;
}

void intake_hold(struct intake *intake, struct span text)
{
    struct held *held = NULL;

    if (intake->overflowed) {
        return;
    }
    if (intake->held_count < INTAKE_HELD_MAX) {
        held = held_new(text);
    }
    if (!held) {
        intake_drop_held(intake);
        intake->overflowed = true;
        return;
    }
    list_append(&intake->held, &held->link);
    intake->held_count++;
}

bool intake_is_incomplete(const struct intake *intake)
{
    return intake->overflowed;
}

bool intake_must_read(const struct intake *intake)
{
    return intake->must_read;
}

bool intake_held(struct intake *intake)
{
    bool news = false;

    LIST_EACH (link, &intake->held) {
        const struct bytes *text = CONTAINER_OF(link, struct held, link)->text;

        news |= intake_message(intake, (struct span){(const char *)text->data, text->len});
    }
    intake_drop_held(intake);
    return news;
}

bool intake_hash(struct intake *intake, const struct redis_answer *answer, uint64_t *ret_alive_us)
{
    const struct task *task = intake->task;
    struct task_hash hash;

    task_hash_begin(&hash, (struct span){task->id, task->id_len},
                    redis_clock_n_max(&intake->border->clock));
    for (size_t i = 0; i + 1 < redis_answer_count(answer); i += 2) {
        task_hash_add(&hash, redis_answer_element(answer, i), redis_answer_element(answer, i + 1));
    }
    task_hash_finish(&hash);
    drop(intake, METRIC_DROPPED_INVALID, hash.dropped - hash.from_future, "invalid field");
    drop(intake, METRIC_DROPPED_FUTURE, hash.from_future, "n from the future in the hash");
    *ret_alive_us = hash.alive_deadline;
    intake->must_read = false;
    return intake_settle(intake, task_take_hash(intake->task, &hash));
}
