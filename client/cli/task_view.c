#include "client/cli/task_view.h"

#include <errno.h>
#include <string.h>

#include "client/cli/timestamp.h"
#include "common/mem.h"

/* ── Members ─────────────────────────────────────────────────────────────────────────────────── */

static bool task_view_find(struct json_value object, const char *name, enum json_kind kind,
                           struct json_value *ret_value)
{
    return json_find(object, name, ret_value) == 0 && ret_value->kind == kind;
}

static double task_view_number_of(struct json_value object, const char *name)
{
    struct json_value value;

    return task_view_find(object, name, JSON_NUMBER, &value) ? json_number(value.raw)
                                                             : TASK_VIEW_UNKNOWN;
}

/* A member's text; "" if it is missing, no string, or too long. */
static void task_view_copy_text(struct json_value object, const char *name, char *buffer,
                                size_t size)
{
    struct json_value value;
    size_t len = 0;

    if (task_view_find(object, name, JSON_STRING, &value) &&
        json_string_decode(value.raw, buffer, size - 1, &len) != 0) {
        len = 0;
    }
    buffer[len] = '\0';
}

/* The same for texts of any length. */
static int set_text(struct text *text, struct json_value object, const char *name)
{
    struct json_value value;
    size_t len;

    text_deinit(text);
    if (!task_view_find(object, name, JSON_STRING, &value)) {
        return 0;
    }
    char *buffer = mem_alloc(value.raw.len);
    if (!buffer) {
        return -ENOMEM;
    }
    if (json_string_decode(value.raw, buffer, value.raw.len, &len) == 0) {
        text_append(text, buffer, len);
    }
    mem_free(buffer);
    return text_failed(text) ? -ENOMEM : 0;
}

/* ── Runs ────────────────────────────────────────────────────────────────────────────────────── */

static void task_view_forget(struct task_view *view)
{
    text_deinit(&view->result_url);
    text_deinit(&view->error_code);
    text_deinit(&view->error_message);
    *view = (struct task_view){
        .status = TASK_VIEW_WAITING,
        .rev = view->rev,
        .percentage = TASK_VIEW_UNKNOWN,
        .speed = TASK_VIEW_UNKNOWN,
        .remaining_s = TASK_VIEW_UNKNOWN,
        .duration_s = TASK_VIEW_UNKNOWN,
    };
}

void task_view_init(struct task_view *view)
{
    *view = (struct task_view){0};
    task_view_forget(view);
}

void task_view_deinit(struct task_view *view)
{
    task_view_forget(view);
}

/* Whether `rev` is of another run than what is held, which is void then. */
static bool task_view_begin_run(struct task_view *view, const struct rev *rev)
{
    bool is_first = view->rev.run_len == 0;

    if (!is_first && rev_same_run(&view->rev, rev)) {
        return false;
    }
    task_view_forget(view);
    view->rev = *rev;
    view->rev.n = 0; /* nothing of this run has come */
    return !is_first;
}

/* ── Stages ──────────────────────────────────────────────────────────────────────────────────── */

static int64_t time_of(const char *timestamp)
{
    int64_t ms;

    return timestamp_read(timestamp, &ms) == 0 ? ms : -1;
}

static void leave_stage(struct task_view *view, int64_t left_ms)
{
    if (view->stage.name[0] == '\0') {
        return;
    }
    if (view->over_count == ARRAY_LEN(view->over)) {
        view->over_count--;
        memmove(view->over, view->over + 1, view->over_count * sizeof(view->over[0]));
    }
    view->stage.left_ms = left_ms;
    view->over[view->over_count++] = view->stage;
    view->stage.name[0] = '\0';
}

/* Entering a stage a second time in a row goes on with it. */
static void task_view_enter_stage(struct task_view *view, const char *name, const char *timestamp)
{
    int64_t now = time_of(timestamp);

    if (name[0] == '\0') {
        return;
    }
    if (strcmp(name, view->stage.name) != 0) {
        leave_stage(view, now);
        strcpy(view->stage.name, name);
        view->stage.entered_ms = now;
    }
    strcpy(view->stage_timestamp, timestamp);
}

struct stage_entry {
    char name[STAGE_MAX + 1], timestamp[TIMESTAMP_MAX + 1];
};

/* The last STAGES_MAX of the list. */
static size_t read_list(struct json_value list, struct stage_entry entries[STAGES_MAX])
{
    struct json_value element;
    size_t position = 0, count = 0;

    while (count < STAGES_MAX && json_next_element(list, &position, &element) == 0) {
        if (element.kind == JSON_OBJECT) {
            struct stage_entry *entry = &entries[count++];

            task_view_copy_text(element, "stage", entry->name, sizeof(entry->name));
            task_view_copy_text(element, "timestamp", entry->timestamp, sizeof(entry->timestamp));
        }
    }
    return count;
}

/* Enters what follows in the list on the stage that is held; all of it if that isn't there. */
static bool follow_list(struct task_view *view, struct json_value list)
{
    struct stage_entry entries[STAGES_MAX];
    size_t count = read_list(list, entries), known = count;

    while (known > 0 && (strcmp(entries[known - 1].name, view->stage.name) != 0 ||
                         strcmp(entries[known - 1].timestamp, view->stage_timestamp) != 0)) {
        known--;
    }
    for (size_t i = known; i < count; i++) {
        task_view_enter_stage(view, entries[i].name, entries[i].timestamp);
    }
    return known < count;
}

static int read_rev(struct json_value value, struct rev *ret_rev)
{
    struct span text = {value.raw.at + 1, value.raw.len - 2};

    return value.kind == JSON_STRING && rev_parse(text, ret_rev) == 0 ? 0 : TASK_VIEW_INVALID;
}

int task_view_stages(struct task_view *view, struct json_value rev_value, struct json_value stages,
                     enum task_view_news *ret_news)
{
    struct rev rev;

    if (rev_value.kind == JSON_NULL) {
        *ret_news = TASK_VIEW_NOTHING;
        return 0;
    }
    if (stages.kind != JSON_ARRAY || read_rev(rev_value, &rev)) {
        return TASK_VIEW_INVALID;
    }
    bool reset = task_view_begin_run(view, &rev);
    if (view->status == TASK_VIEW_WAITING) {
        view->status = TASK_VIEW_RUNNING; /* the messages follow */
    }
    bool entered = rev.n > view->listed_n && follow_list(view, stages);
    if (rev.n > view->listed_n) {
        view->listed_n = rev.n;
    }
    *ret_news = reset ? TASK_VIEW_RESET : entered ? TASK_VIEW_PROGRESS : TASK_VIEW_NOTHING;
    return 0;
}

bool task_view_take_stage(struct task_view *view, struct task_view_stage *ret_stage)
{
    if (view->over_count == 0) {
        return false;
    }
    *ret_stage = view->over[0];
    view->over_count--;
    memmove(view->over, view->over + 1, view->over_count * sizeof(view->over[0]));
    return true;
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

static void follow_stage(struct task_view *view, const struct rev *rev, struct json_value payload,
                         const char *member)
{
    char name[STAGE_MAX + 1], timestamp[TIMESTAMP_MAX + 1];

    if (rev->n > view->listed_n) {
        task_view_copy_text(payload, member, name, sizeof(name));
        task_view_copy_text(payload, "timestamp", timestamp, sizeof(timestamp));
        /* A progress_update that names the stage it is in doesn't enter it. */
        if (strcmp(member, "toStage") == 0 || strcmp(name, view->stage.name) != 0) {
            task_view_enter_stage(view, name, timestamp);
        }
    }
}

static enum task_view_news task_view_complete(struct task_view *view, const struct rev *rev,
                                              struct json_value payload, int64_t now_ms)
{
    view->status = TASK_VIEW_COMPLETE;
    view->percentage = 100;
    view->duration_s = task_view_number_of(payload, "duration");
    /* When it ended is known only to who was there. */
    leave_stage(view, rev->n > view->listed_n ? now_ms : -1);
    return TASK_VIEW_ENDED;
}

static enum task_view_news task_view_fail(struct task_view *view, struct json_value payload)
{
    struct json_value retryable;

    if (task_view_find(payload, "retryable", JSON_BOOL, &retryable) && retryable.raw.at[0] == 't') {
        view->status = TASK_VIEW_RETRYING;
        return TASK_VIEW_ERROR;
    }
    view->status = TASK_VIEW_FAILED;
    return TASK_VIEW_ENDED;
}

static int apply(struct task_view *view, enum task_message_type type, const struct rev *rev,
                 struct json_value payload, int64_t now_ms, enum task_view_news *ret_news)
{
    *ret_news = TASK_VIEW_PROGRESS;
    switch (type) {
    case TASK_PROGRESS_UPDATE:
        view->status = TASK_VIEW_RUNNING;
        view->percentage = task_view_number_of(payload, "percentage");
        if (view->percentage > 100) {
            view->percentage = 100;
        }
        view->speed = task_view_number_of(payload, "processingSpeed");
        follow_stage(view, rev, payload, "stage");
        return 0;
    case TASK_STAGE_CHANGE:
        view->status = TASK_VIEW_RUNNING;
        follow_stage(view, rev, payload, "toStage");
        return 0;
    case TASK_TIME_ESTIMATE:
        view->remaining_s = task_view_number_of(payload, "estimatedTimeRemaining");
        view->estimated_ms = now_ms;
        return 0;
    case TASK_COMPLETE:
        *ret_news = task_view_complete(view, rev, payload, now_ms);
        return set_text(&view->result_url, payload, "resultUrl");
    case TASK_ERROR:
        *ret_news = task_view_fail(view, payload);
        return set_text(&view->error_code, payload, "code") ||
                       set_text(&view->error_message, payload, "message")
                   ? -ENOMEM
                   : 0;
    case TASK_RESET:
    case TASK_MESSAGE_TYPES:
        break;
    }
    *ret_news = TASK_VIEW_NOTHING;
    return 0;
}

/* TASK_MESSAGE_TYPES for one that isn't known. */
static enum task_message_type type_of(struct json_value message)
{
    struct json_value name;
    enum task_message_type type = 0;

    if (!task_view_find(message, "type", JSON_STRING, &name)) {
        return TASK_MESSAGE_TYPES;
    }
    while (type < TASK_MESSAGE_TYPES && !json_string_is(name.raw, task_message_type_name(type))) {
        type++;
    }
    return type;
}

int task_view_message(struct task_view *view, struct json_value message, int64_t now_ms,
                      enum task_view_news *ret_news)
{
    enum task_message_type type = type_of(message);
    struct json_value rev_value, payload;
    struct rev rev;

    if (type == TASK_MESSAGE_TYPES || json_find(message, "rev", &rev_value) != 0) {
        return TASK_VIEW_INVALID;
    }
    if (type == TASK_RESET && rev_value.kind == JSON_NULL) { /* the state is gone */
        task_view_forget(view);
        view->rev = (struct rev){.n = 0};
        *ret_news = TASK_VIEW_RESET;
        return 0;
    }
    if (read_rev(rev_value, &rev) || !task_view_find(message, "payload", JSON_OBJECT, &payload)) {
        return TASK_VIEW_INVALID;
    }
    /* A reset holds whatever its n: Redis may have lost the run before. */
    if (rev.n <= view->rev.n && (type != TASK_RESET || rev_same_run(&view->rev, &rev))) {
        *ret_news = TASK_VIEW_NOTHING;
        return 0;
    }
    bool reset = task_view_begin_run(view, &rev);
    view->rev.n = rev.n;
    int rc = apply(view, type, &rev, payload, now_ms, ret_news);
    if (rc == 0 && reset && *ret_news < TASK_VIEW_RESET) {
        *ret_news = TASK_VIEW_RESET;
    }
    return rc;
}

double task_view_remaining_s(const struct task_view *view, int64_t now_ms)
{
    double passed_s = (double)(now_ms - view->estimated_ms) / 1000;

    if (view->status != TASK_VIEW_RUNNING || view->remaining_s < 0) {
        return TASK_VIEW_UNKNOWN;
    }
    return view->remaining_s > passed_s ? view->remaining_s - passed_s : 0;
}
