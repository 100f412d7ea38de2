#include "broker/hub/task_intake.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

#define MODULE "task_intake"

struct held {
    struct list link;
    struct bytes *text;
};

void intake_init(struct intake *intake, struct task *task)
{
    *intake = (struct intake){.task = task};
    list_init(&intake->held);
}

/* Whether there is something new to tell. */
static bool is_news(struct intake *intake, int result)
{
    if (result < 0) {
        intake->failed = true;
        log_event(LOG_ERROR, MODULE, "out of memory, a message waits for the next resync");
    }
    return result == TASK_NEWS;
}

bool intake_message(struct intake *intake, struct span text)
{
    const struct task *task = intake->task;
    struct task_message message;

    if (task_message_parse(text, &message) != 0 || message.task_id.len != task->id_len ||
        memcmp(message.task_id.at, task->id, task->id_len) != 0) {
        log_event(LOG_DEBUG, MODULE, "not a message of progress_publish, passed over",
                  LOG_TEXT("task", task->id));
        return false;
    }
    return is_news(intake, task_take(intake->task, &message, text));
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

bool intake_has_failed(const struct intake *intake)
{
    return intake->failed;
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

/* ── The hash ────────────────────────────────────────────────────────────────────────────────── */

/* What a hash holds, in place; the messages by their n. */
struct snapshot {
    struct span messages[TASK_MESSAGE_TYPES];
    uint64_t n_of[TASK_MESSAGE_TYPES];
    size_t count;
    struct span run, n, stages, alive;
};

static void snapshot_add_message(struct snapshot *snapshot, struct span text)
{
    struct task_message message;
    size_t at = snapshot->count;

    if (at == ARRAY_LEN(snapshot->messages) || task_message_parse(text, &message) != 0) {
        return;
    }
    for (; at > 0 && snapshot->n_of[at - 1] > message.rev.n; at--) {
        snapshot->messages[at] = snapshot->messages[at - 1];
        snapshot->n_of[at] = snapshot->n_of[at - 1];
    }
    snapshot->messages[at] = text;
    snapshot->n_of[at] = message.rev.n;
    snapshot->count++;
}

/* The answer is an array of names and values in turn. */
static void snapshot_read(struct snapshot *snapshot, const struct redis_answer *answer)
{
    memset(snapshot, 0, sizeof(*snapshot));
    for (size_t i = 0; i + 1 < redis_answer_count(answer); i += 2) {
        struct span value = redis_answer_element(answer, i + 1);
        enum task_message_type type;

        switch (hash_field_of(redis_answer_element(answer, i), &type)) {
        case HASH_FIELD_MESSAGE:
            snapshot_add_message(snapshot, value);
            break;
        case HASH_FIELD_RUN:
            snapshot->run = value;
            break;
        case HASH_FIELD_N:
            snapshot->n = value;
            break;
        case HASH_FIELD_STAGES:
            snapshot->stages = value;
            break;
        case HASH_FIELD_ALIVE:
            snapshot->alive = value;
            break;
        case HASH_FIELD_OTHER:
            break;
        }
    }
}

int rev_of_fields(struct span run, struct span n, struct rev *ret_rev)
{
    char text[REV_TEXT_SIZE];

    if (!run.at || !n.at || run.len + n.len + 1 >= sizeof(text)) {
        return REV_INVALID;
    }
    memcpy(text, run.at, run.len);
    text[run.len] = '-';
    memcpy(text + run.len + 1, n.at, n.len);
    return rev_parse((struct span){text, run.len + 1 + n.len}, ret_rev);
}

bool intake_hash(struct intake *intake, const struct redis_answer *answer)
{
    struct snapshot snapshot;
    struct rev rev;
    bool news = false;

    intake->failed = false;
    snapshot_read(&snapshot, answer);
    for (size_t i = 0; i < snapshot.count; i++) {
        news |= intake_message(intake, snapshot.messages[i]);
    }
    if (rev_of_fields(snapshot.run, snapshot.n, &rev) == 0) {
        news |= is_news(intake, task_take_summary(intake->task, &rev, snapshot.stages));
    }
    intake->alive_deadline = alive_deadline(snapshot.alive);
    return news;
}
