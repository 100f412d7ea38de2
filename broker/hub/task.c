#include "broker/hub/task.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "proto/shared_text.h"
#include "proto/task_stages.h"

/* The place of a message that a newer one supersedes is kept, without a text, until room is
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

/* Gives up the places without a text. */
static void ring_compact(struct task_ring *ring)
{
    uint32_t to = ring->head;

    for (uint32_t from = ring->head - 1, left = ring->count; left > 0; left--, from--) {
        if (!ring_slot(ring, from)->text) {
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

/* Puts a text in, taking over the reference. */
static void ring_push(struct task *task, enum task_message_type type, struct bytes *text,
                      uint64_t position)
{
    struct task_ring *ring = task->ring;
    struct task_slot *slot;

    if (task_message_type_supersedes(type) && ring->newest[type] > 0 &&
        ring->head - (ring->newest[type] - 1) <= ring->count) {
        slot = ring_slot(ring, ring->newest[type] - 1);
        bytes_unref(slot->text);
        slot->text = NULL;
    }
    if (ring->count == TASK_RING) {
        ring_compact(ring);
    }
    slot = ring_slot(ring, ring->head);
    if (ring->count == TASK_RING) {
        task->floor = slot->position;
        bytes_unref(slot->text);
    } else {
        ring->count++;
    }
    slot->text = text;
    slot->position = position;
    ring->head++;
    ring->newest[type] = ring->head;
}

static void ring_clear(struct task_ring *ring)
{
    while (ring->count > 0) {
        bytes_unref(ring_slot(ring, ring->head - ring->count)->text);
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
    task->position = task->state[TASK_RESET].position = TASK_FIRST;
}

static void slot_clear(struct task_slot *slot)
{
    bytes_unref(slot->text);
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
    return task->state[TASK_COMPLETE].text || (task->state[TASK_ERROR].text && task->error_ends);
}

struct span task_stages(const struct task *task)
{
    return task->stages.len > 0 ? (struct span){task->stages.data, task->stages.len}
                                : (struct span){"[]", 2};
}

/* `rev` NULL: Redis has no state any more. */
static struct bytes *reset_text(const struct task *task, const struct rev *rev)
{
    struct text text = TEXT_EMPTY;
    struct bytes *shared = NULL;

    task_message_reset(&text, task->id, rev);
    if (!text_failed(&text)) {
        shared = shared_text_new((struct span){text.data, text.len});
    }
    text_deinit(&text);
    return shared;
}

static int ring_ensure(struct task *task)
{
    if (!task->ring) {
        task->ring = mem_zalloc(1, sizeof(*task->ring));
        if (!task->ring) {
            return -ENOMEM;
        }
        task->floor = task->position;
    }
    return 0;
}

/* ── Runs ────────────────────────────────────────────────────────────────────────────────────── */

static bool is_of_run(const struct task *task, const struct rev *rev)
{
    return task->rev.n > 0 && rev_same_run(&task->rev, rev);
}

/* Ends the run, and tells of it by `text`, whose reference it takes over; NULL: nobody was sent
 * anything of it. */
static void end_run(struct task *task, struct bytes *text)
{
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        if (type != TASK_RESET) {
            slot_clear(&task->state[type]);
        }
    }
    text_deinit(&task->stages);
    task->rev = (struct rev){.n = 0};
    if (text) {
        slot_clear(&task->state[TASK_RESET]);
        task->position++;
        task->state[TASK_RESET] = (struct task_slot){text, task->position};
        ring_push(task, TASK_RESET, bytes_ref(text), task->position);
    }
}

/* Begins the run of `reset`, which is its beginning, after all that there is. */
static int begin_run(struct task *task, const struct rev *reset)
{
    const bool replaces = task->rev.n > 0;
    struct bytes *text = NULL;

    if (replaces) {
        text = reset_text(task, reset);
        if (!text) {
            return -ENOMEM;
        }
    }
    const uint64_t begin = task->position + replaces;
    task->shift = reset->n >= begin ? 0 : begin - reset->n;
    if (replaces) {
        task->position = reset->n + task->shift - 1; /* end_run() counts one up */
    } else {
        slot_clear(&task->state[TASK_RESET]);
        task->state[TASK_RESET].position = begin;
    }
    end_run(task, text);
    task->rev = *reset;
    task->reset_n = reset->n;
    return 0;
}

/* Redis holds no state of the task any more. */
static int forget_state(struct task *task)
{
    if (task->rev.n == 0) {
        return 0;
    }
    struct bytes *text = reset_text(task, NULL);
    int rc = text ? ring_ensure(task) : -ENOMEM;
    if (rc < 0) {
        bytes_unref(text);
        return rc;
    }
    end_run(task, text);
    return TASK_NEWS;
}

/* A reset that was made up is too late in the order when an earlier message of its run turns up. */
static void move_reset_before(struct task *task, const struct task_message *message)
{
    struct task_slot *reset = &task->state[TASK_RESET];
    const uint64_t n = message->type == TASK_RESET ? message->rev.n : message->rev.n - 1;

    if (n > 0 && n < task->reset_n) {
        slot_clear(reset);
        reset->position = n + task->shift;
        task->reset_n = n;
    }
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

/* An error that may be tried again is over when the job goes on. */
static void drop_overcome_error(struct task *task)
{
    const struct task_slot *error = &task->state[TASK_ERROR];

    if (!error->text || task->error_ends) {
        return;
    }
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        if (task_message_type_clears_error((enum task_message_type)type) &&
            task->state[type].position > error->position) {
            slot_clear(&task->state[TASK_ERROR]);
            return;
        }
    }
}

/* Puts the message's text in the state, and in the ring if it is the newest. Takes the reference
 * over. */
static int take_text(struct task *task, const struct task_message *message, struct bytes *text)
{
    const enum task_message_type type = message->type;
    const uint64_t position = message->rev.n + task->shift;

    slot_clear(&task->state[type]);
    task->state[type] = (struct task_slot){text, position};
    if (type == TASK_ERROR) {
        task->error_ends = task_message_ends(message);
    }
    drop_overcome_error(task);
    if (message->rev.n <= task->rev.n) {
        return 0;
    }
    task->rev = message->rev;
    task->position = position;
    ring_push(task, type, bytes_ref(text), position);
    /* Out of memory leaves the stages as they were: the next read brings them. */
    (void)!stages_follow(&task->stages, message);
    return TASK_NEWS;
}

/* Takes a message of this run up, which isn't a reset. The ring is there. */
static int take_of_run(struct task *task, const struct task_message *message, struct span text)
{
    if (message->rev.n + task->shift <= task->state[message->type].position) {
        return 0;
    }
    struct bytes *shared = shared_text_new(text);
    return shared ? take_text(task, message, shared) : -ENOMEM;
}

int task_take(struct task *task, const struct task_message *message, struct span text)
{
    const bool same_run = is_of_run(task, &message->rev);
    int rc = ring_ensure(task);

    if (rc < 0) {
        return rc;
    }
    if (!same_run && message->rev.n <= task->rev.n) {
        return TASK_DOUBT;
    }
    if (same_run) {
        move_reset_before(task, message);
    }
    if (message->type == TASK_RESET) {
        if (same_run) {
            return 0;
        }
        rc = begin_run(task, &message->rev);
        return rc < 0 ? rc : TASK_NEWS;
    }
    if (!same_run) {
        struct bytes *shared = shared_text_new(text);
        struct rev reset = message->rev;
        reset.n--; /* just before the run's first message */
        rc = shared ? begin_run(task, &reset) : -ENOMEM;
        if (rc < 0) {
            bytes_unref(shared);
            return rc;
        }
        return take_text(task, message, shared);
    }
    return take_of_run(task, message, text);
}

/* The run of the hash and its messages. */
static int take_messages(struct task *task, const struct task_hash *hash)
{
    bool news = false;
    int rc = ring_ensure(task);

    if (rc == 0 && !is_of_run(task, &hash->rev)) {
        struct rev reset = hash->rev;
        if (hash->count > 0) {
            reset.n = hash->messages[0].head.rev.n - 1;
        }
        news = task->rev.n > 0;
        rc = begin_run(task, &reset);
    }
    for (size_t i = 0; i < hash->count && rc >= 0; i++) {
        move_reset_before(task, &hash->messages[i].head);
        rc = take_of_run(task, &hash->messages[i].head, hash->messages[i].text);
        news |= rc == TASK_NEWS;
    }
    return rc < 0 ? rc : news ? TASK_NEWS : 0;
}

int task_take_hash(struct task *task, const struct task_hash *hash)
{
    struct text stages = TEXT_EMPTY;

    if (hash->rev.n == 0) {
        return forget_state(task);
    }
    text_append(&stages, hash->stages.at, hash->stages.len);
    int rc = text_failed(&stages) ? -ENOMEM : take_messages(task, hash);
    if (rc >= 0 && hash->rev.n >= task->rev.n) {
        task->rev = hash->rev;
        task->position = hash->rev.n + task->shift;
        text_deinit(&task->stages);
        task->stages = stages;
        return rc;
    }
    text_deinit(&stages);
    return rc;
}

void task_settle(struct task *task)
{
    if (task->ring) {
        ring_clear(task->ring);
        mem_free(TAKE(task->ring));
    }
}

/* ── What is sent ────────────────────────────────────────────────────────────────────────────── */

uint64_t task_position(const struct task *task, const struct rev *rev)
{
    if (rev->n == 0) {
        return task->rev.n > 0 ? TASK_NOTHING : task->position;
    }
    return is_of_run(task, rev) ? rev->n + task->shift : task->state[TASK_RESET].position - 1;
}

uint64_t task_published_us(const struct task *task, uint64_t position)
{
    return position - task->shift;
}

/* The state, by position: what is sent to whom the ring doesn't reach. */
static size_t collect_state(struct task *task, uint64_t after, struct task_item *items)
{
    struct task_slot *reset = &task->state[TASK_RESET];
    size_t count = 0;

    if (after != TASK_NOTHING && reset->position > after && !reset->text) {
        struct rev rev = task->rev;

        rev.n = task->reset_n;
        reset->text = reset_text(task, task->rev.n > 0 ? &rev : NULL);
    }
    for (int type = 0; type < TASK_MESSAGE_TYPES; type++) {
        const struct task_slot *slot = &task->state[type];
        size_t at = count;

        if (!slot->text || slot->position <= after ||
            (type == TASK_RESET && after == TASK_NOTHING)) {
            continue;
        }
        for (; at > 0 && items[at - 1].position > slot->position; at--) {
            items[at] = items[at - 1];
        }
        items[at] = (struct task_item){slot->text, slot->position};
        count++;
    }
    return count;
}

size_t task_collect(struct task *task, uint64_t position, struct task_item *items, size_t max,
                    uint32_t *ret_left_out)
{
    struct task_ring *ring = task->ring;
    uint32_t behind = 0, left_out = 0;
    size_t count = 0;

    assert(max >= TASK_MESSAGE_TYPES);
    *ret_left_out = 0;
    if (!ring || position < task->floor) {
        return collect_state(task, position, items);
    }
    while (behind < ring->count && ring_slot(ring, ring->head - 1 - behind)->position > position) {
        behind++;
    }
    for (; behind > 0 && count < max; behind--) {
        const struct task_slot *slot = ring_slot(ring, ring->head - behind);

        if (slot->text) {
            items[count++] = (struct task_item){slot->text, slot->position};
        } else {
            left_out++;
        }
    }
    *ret_left_out = left_out;
    return count;
}
