#include "broker/hub/task.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "proto/json.h"
#include "proto/task_stages.h"
#include "proto/ws_frame.h"

/* The place of a message that a newer one supersedes is kept, without a frame, until room is
 * needed. */
struct task_ring {
    uint32_t head; /* where the next one goes; the newest is at (head - 1) % TASK_RING */
    uint32_t count;
    uint32_t newest[TASK_MESSAGE_TYPES]; /* 1 + the head at which the type's newest came in */
    struct task_slot slots[TASK_RING];
};

static_assert((TASK_RING & (TASK_RING - 1)) == 0, "the ring's index is a mask");

static struct task_slot *ring_slot(struct task_ring *ring, uint32_t position)
{
    return &ring->slots[position & (TASK_RING - 1)];
}

/* Gives up the places without a frame. */
static void ring_compact(struct task_ring *ring)
{
    uint32_t to = ring->head;

    for (uint32_t from = ring->head - 1, left = ring->count; left > 0; left--, from--) {
        if (!ring_slot(ring, from)->frame) {
            continue;
        }
        to--;
        *ring_slot(ring, to) = *ring_slot(ring, from);
        for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
            if (ring->newest[type] == from + 1) {
                ring->newest[type] = to + 1;
            }
        }
    }
    ring->count = ring->head - to;
}

/* Puts a frame in, taking over the reference. */
static void ring_push(struct task *task, enum task_message_type type, struct bytes *frame,
                      uint64_t n)
{
    struct task_ring *ring = task->ring;
    struct task_slot *slot;

    if (task_message_type_supersedes(type) && ring->newest[type] > 0 &&
        ring->head - (ring->newest[type] - 1) <= ring->count) {
        slot = ring_slot(ring, ring->newest[type] - 1);
        bytes_unref(slot->frame);
        slot->frame = NULL;
    }
    if (ring->count == TASK_RING) {
        ring_compact(ring);
    }
    slot = ring_slot(ring, ring->head);
    if (ring->count == TASK_RING) {
        task->floor_n = slot->n;
        bytes_unref(slot->frame);
    } else {
        ring->count++;
    }
    slot->frame = frame;
    slot->n = n;
    ring->head++;
    ring->newest[type] = ring->head;
}

static void ring_clear(struct task_ring *ring)
{
    while (ring->count > 0) {
        bytes_unref(ring_slot(ring, ring->head - ring->count)->frame);
        ring->count--;
    }
    memset(ring->newest, 0, sizeof(ring->newest));
}

void task_init(struct task *task, const char *id, size_t id_len)
{
    assert(task_id_is_valid(id, id_len));
    memset(task, 0, sizeof(*task));
    memcpy(task->id, id, id_len);
    task->id_len = (uint8_t)id_len;
    task->stages = TEXT_EMPTY;
}

static void slot_clear(struct task_slot *slot)
{
    bytes_unref(slot->frame);
    *slot = (struct task_slot){NULL, 0};
}

void task_deinit(struct task *task)
{
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        slot_clear(&task->state[type]);
    }
    if (task->ring) {
        ring_clear(task->ring);
        mem_free(task->ring);
    }
    text_deinit(&task->stages);
}

bool task_is_done(const struct task *task)
{
    return task->state[TASK_COMPLETE].n > 0 || (task->state[TASK_ERROR].n > 0 && task->error_ends);
}

struct span task_stages(const struct task *task)
{
    return task->stages.len > 0 ? (struct span){task->stages.data, task->stages.len}
                                : (struct span){"[]", 2};
}

static struct bytes *reset_frame(const struct task *task, const struct rev *rev)
{
    struct text text = TEXT_EMPTY;
    struct bytes *frame = NULL;

    task_message_reset(&text, task->id, rev);
    if (!text_failed(&text)) {
        frame = ws_frame_new(WS_TEXT, text.data, (uint32_t)text.len);
    }
    text_deinit(&text);
    return frame;
}

static int ring_ensure(struct task *task)
{
    if (!task->ring) {
        task->ring = mem_zalloc(1, sizeof(*task->ring));
        if (!task->ring) {
            return -ENOMEM;
        }
        task->floor_n = task->rev.n;
    }
    return 0;
}

/* Voids the state of an older run, and tells the watchers of it by a reset. */
static int begin_run(struct task *task, const struct rev *reset)
{
    struct bytes *frame = NULL;

    if (task->rev.n > 0) {
        frame = reset_frame(task, reset);
        if (!frame) {
            return -ENOMEM;
        }
    }
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        slot_clear(&task->state[type]);
    }
    text_deinit(&task->stages);
    if (frame) {
        ring_push(task, TASK_RESET, bytes_ref(frame), reset->n);
    }
    task->state[TASK_RESET] = (struct task_slot){frame, reset->n};
    task->rev = *reset;
    return 0;
}

/* An error that may be tried again is over when the job goes on. */
static void drop_overcome_error(struct task *task)
{
    const uint64_t error_n = task->state[TASK_ERROR].n;

    if (error_n == 0 || task->error_ends) {
        return;
    }
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        if (task_message_type_clears_error((enum task_message_type)type) &&
            task->state[type].n > error_n) {
            slot_clear(&task->state[TASK_ERROR]);
            return;
        }
    }
}

/* Begins the run of `message`, which is newer than all there is. */
static int follow_run(struct task *task, const struct task_message *message)
{
    struct rev reset = message->rev;

    if (message->type != TASK_RESET) {
        reset.n--; /* just before the run's first message, and after all of the old run */
    }
    return begin_run(task, &reset);
}

/* A reset that was made up is too late in the order when an earlier message of its run turns up. */
static void move_reset_before(struct task *task, const struct task_message *message)
{
    struct task_slot *reset = &task->state[TASK_RESET];
    const uint64_t n = message->type == TASK_RESET ? message->rev.n : message->rev.n - 1;

    if (n < reset->n) {
        slot_clear(reset);
        reset->n = n;
    }
}

/* Puts the message's frame in the state, and in the ring if it is the newest. Takes the reference
 * over. */
static int take_frame(struct task *task, const struct task_message *message, struct bytes *frame)
{
    const enum task_message_type type = message->type;

    slot_clear(&task->state[type]);
    task->state[type] = (struct task_slot){frame, message->rev.n};
    if (type == TASK_ERROR) {
        task->error_ends = task_message_ends(message);
    }
    drop_overcome_error(task);
    if (message->rev.n <= task->rev.n) {
        return 0;
    }
    task->rev = message->rev;
    ring_push(task, type, bytes_ref(frame), message->rev.n);
    /* Out of memory leaves the stages as they were: the next read brings them. */
    (void)!stages_follow(&task->stages, message);
    return TASK_NEWS;
}

int task_take(struct task *task, const struct task_message *message, struct span text)
{
    const enum task_message_type type = message->type;
    const bool same_run = task->rev.n > 0 && rev_same_run(&task->rev, &message->rev);
    struct bytes *frame = NULL;
    int r;

    if (same_run) {
        move_reset_before(task, message);
    }
    if (message->rev.n <= (same_run ? task->state[type].n : task->rev.n)) {
        return 0;
    }
    if (type != TASK_RESET) {
        frame = ws_frame_new(WS_TEXT, text.at, (uint32_t)text.len);
        if (!frame) {
            return -ENOMEM;
        }
    }
    r = ring_ensure(task);
    if (r == 0 && !same_run) {
        r = follow_run(task, message);
    }
    if (r < 0) {
        bytes_unref(frame);
        return r;
    }
    return frame ? take_frame(task, message, frame) : TASK_NEWS;
}

/* Copies stages that somebody wrote into the hash. They become part of what clients are told, so
 * what is no JSON array counts as none. */
static int copy_stages(struct span stages, struct text *ret_copy)
{
    struct text copy = TEXT_EMPTY;
    struct json_value value;
    size_t offset;

    if (stages.len > 0 && json_check(stages, &value, &offset) == 0 && value.kind == JSON_ARRAY) {
        text_append(&copy, stages.at, stages.len);
    }
    if (text_failed(&copy)) {
        text_deinit(&copy);
        return -ENOMEM;
    }
    *ret_copy = copy;
    return 0;
}

int task_take_summary(struct task *task, const struct rev *rev, struct span stages)
{
    const bool voids = task->rev.n > 0 && !rev_same_run(&task->rev, rev);
    struct text adopted;
    int r;

    if (rev->n < task->rev.n) {
        return 0;
    }
    r = copy_stages(stages, &adopted);
    if (r < 0) {
        return r;
    }
    r = ring_ensure(task);
    if (r == 0 && (voids || task->rev.n == 0)) {
        r = begin_run(task, rev);
    }
    if (r < 0) {
        text_deinit(&adopted);
        return r;
    }
    text_deinit(&task->stages);
    task->stages = adopted;
    task->rev = *rev;
    return voids ? TASK_NEWS : 0;
}

void task_settle(struct task *task)
{
    if (task->ring) {
        ring_clear(task->ring);
        mem_free(TAKE(task->ring));
    }
}

/* The state, by n: what a subscriber is given that the ring doesn't reach. */
static size_t collect_state(struct task *task, uint64_t after_n, struct task_frame *frames)
{
    struct task_slot *reset = &task->state[TASK_RESET];
    size_t count = 0;

    if (after_n > TASK_NOTHING && reset->n > after_n && !reset->frame) {
        struct rev rev = task->rev;

        rev.n = reset->n;
        reset->frame = reset_frame(task, &rev);
    }
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        const struct task_slot *slot = &task->state[type];
        size_t at = count;

        if (!slot->frame || slot->n <= after_n || (type == TASK_RESET && after_n <= TASK_NOTHING)) {
            continue;
        }
        for (; at > 0 && frames[at - 1].n > slot->n; at--) {
            frames[at] = frames[at - 1];
        }
        frames[at] = (struct task_frame){slot->frame, slot->n};
        count++;
    }
    return count;
}

size_t task_collect(struct task *task, uint64_t after_n, struct task_frame *frames, size_t max,
                    uint32_t *ret_left_out)
{
    struct task_ring *ring = task->ring;
    uint32_t behind = 0, left_out = 0;
    size_t count = 0;

    assert(max >= TASK_MESSAGE_TYPES);
    *ret_left_out = 0;
    if (!ring || after_n == 0 || after_n < task->floor_n) {
        return collect_state(task, after_n, frames);
    }
    while (behind < ring->count && ring_slot(ring, ring->head - 1 - behind)->n > after_n) {
        behind++;
    }
    for (; behind > 0 && count < max; behind--) {
        const struct task_slot *slot = ring_slot(ring, ring->head - behind);

        if (slot->frame) {
            frames[count++] = (struct task_frame){slot->frame, slot->n};
        } else {
            left_out++;
        }
    }
    *ret_left_out = left_out;
    return count;
}
