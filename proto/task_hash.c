#include "proto/task_hash.h"

#include "proto/task_stages.h"

void task_hash_begin(struct task_hash *hash, struct span task_id, uint64_t n_max)
{
    *hash = (struct task_hash){.task_id = task_id, .n_max = n_max, .alive_deadline = UINT64_MAX};
}

static void add_message(struct task_hash *hash, enum task_message_type type, struct span text)
{
    struct task_message message;

    if (task_message_parse(text, &message) != 0 || message.type != type ||
        !span_equals(message.task_id, hash->task_id)) {
        hash->dropped++;
        return;
    }
    if (message.rev.n > hash->n_max) {
        hash->dropped++;
        hash->from_future++;
        return;
    }
    if (hash->count == ARRAY_LEN(hash->messages)) {
        return; /* a field that came twice, as in no hash */
    }
    size_t at = hash->count++;
    for (; at > 0 && hash->messages[at - 1].head.rev.n > message.rev.n; at--) {
        hash->messages[at] = hash->messages[at - 1];
    }
    hash->messages[at].head = message;
    hash->messages[at].text = text;
}

void task_hash_add(struct task_hash *hash, struct span name, struct span value)
{
    enum task_message_type type;

    if (span_is(name, "run")) {
        hash->run = value;
    } else if (span_is(name, "n")) {
        hash->n = value;
    } else if (span_is(name, "_alive")) {
        hash->alive_deadline = alive_deadline(value);
    } else if (span_is(name, "stages")) {
        if (stages_are_valid(value)) {
            hash->stages = value;
        } else {
            hash->dropped++;
        }
    } else if (task_message_type_of(name, &type) && type != TASK_RESET) {
        add_message(hash, type, value);
    }
}

static void keep_run(struct task_hash *hash)
{
    size_t kept = 0;

    for (size_t i = 0; i < hash->count; i++) {
        if (rev_same_run(&hash->messages[i].head.rev, &hash->rev)) {
            hash->messages[kept++] = hash->messages[i];
        } else {
            hash->dropped++;
        }
    }
    hash->count = kept;
}

/* The rev of a hash whose own is missing or broken: that of its newest message, of the run that it
 * names if it does. */
static void make_rev(struct task_hash *hash)
{
    const bool has_run = rev_of_fields(hash->run, SPAN_OF("1"), REV_N_MAX, &hash->rev) == 0;

    if (hash->run.at || hash->n.at) {
        hash->dropped++;
    }
    if (!has_run) {
        hash->rev = hash->count > 0 ? hash->messages[hash->count - 1].head.rev : (struct rev){0};
    }
    keep_run(hash);
    hash->rev.n = hash->count > 0 ? hash->messages[hash->count - 1].head.rev.n : 0;
}

void task_hash_finish(struct task_hash *hash)
{
    uint64_t n;
    struct span rest = hash->n;

    if (rev_of_fields(hash->run, hash->n, hash->n_max, &hash->rev) != 0) {
        hash->from_future += span_take_number(&rest, UINT64_MAX, &n) && n > hash->n_max;
        make_rev(hash);
        return;
    }
    keep_run(hash);
    if (hash->count > 0 && hash->messages[hash->count - 1].head.rev.n > hash->rev.n) {
        hash->rev.n = hash->messages[hash->count - 1].head.rev.n;
    }
}

int rev_of_fields(struct span run, struct span n, uint64_t n_max, struct rev *ret_rev)
{
    char text[REV_TEXT_SIZE];
    struct rev rev;

    if (!run.at || !n.at || run.len + n.len + 1 >= sizeof(text)) {
        return REV_INVALID;
    }
    memcpy(text, run.at, run.len);
    text[run.len] = '-';
    memcpy(text + run.len + 1, n.at, n.len);
    if (rev_parse((struct span){text, run.len + 1 + n.len}, &rev) != 0 || rev.n > n_max) {
        return REV_INVALID;
    }
    *ret_rev = rev;
    return 0;
}

uint64_t alive_deadline(struct span value)
{
    uint64_t deadline;

    return value.at && span_take_number(&value, UINT64_MAX - 1, &deadline) && value.len == 0
               ? deadline
               : UINT64_MAX;
}
