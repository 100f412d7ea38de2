#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/hub/task.h"
#include "common/mem.h"
#include "proto/shared_text.h"

/* ── Messages, and what is collected of them, as text ────────────────────────────────────────── */

#define PROGRESS "{\"percentage\":1,\"stage\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}"
#define STAGE "{\"fromStage\":\"a\",\"toStage\":\"b\",\"timestamp\":\"2026-01-01T00:00:00Z\"}"
#define ESTIMATE "{\"estimatedTimeRemaining\":1,\"confidence\":1}"
#define COMPLETE "{\"resultUrl\":\"/r\",\"duration\":1}"
#define FATAL "{\"code\":\"C\",\"message\":\"m\"}"
#define RETRYABLE "{\"code\":\"C\",\"message\":\"m\",\"retryable\":true}"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void write_message(char *buffer, size_t size, const char *type, const char *run, uint64_t n,
                          const char *payload)
{
    snprintf(buffer, size, "{\"type\":\"%s\",\"taskId\":\"t\",\"rev\":\"%s-%llu\",\"payload\":%s}",
             type, run, (unsigned long long)n, payload);
}

static int take(struct task *task, const char *type, const char *run, uint64_t n,
                const char *payload)
{
    struct task_message message;
    char text[512];

    write_message(text, sizeof(text), type, run, n, payload);
    cr_assert_eq(task_message_parse(span_of(text), &message), 0, "%s", text);
    return task_take(task, &message, span_of(text));
}

static int progress(struct task *task, const char *run, uint64_t n)
{
    return take(task, "progress_update", run, n, PROGRESS);
}

static int stage(struct task *task, const char *run, uint64_t n)
{
    return take(task, "stage_change", run, n, STAGE);
}

static struct rev rev_of(const char *run, uint64_t n)
{
    struct rev rev = {.run_len = (uint8_t)strlen(run), .n = n};

    memcpy(rev.run, run, rev.run_len);
    return rev;
}

/* A hash without messages. */
static int summary(struct task *task, const char *run, uint64_t n, const char *stages)
{
    struct task_hash hash = {.rev = rev_of(run, n), .stages = span_of(stages)};

    return task_take_hash(task, &hash);
}

/* A hash with one message. */
static int read_progress(struct task *task, const char *run, uint64_t n)
{
    struct task_hash hash = {.rev = rev_of(run, n), .count = 1};
    char text[512];

    write_message(text, sizeof(text), "progress_update", run, n, PROGRESS);
    hash.messages[0].text = span_of(text);
    cr_assert_eq(task_message_parse(span_of(text), &hash.messages[0].head), 0);
    return task_take_hash(task, &hash);
}

static struct task new_task(void)
{
    struct task task;

    task_init(&task, "t", 1);
    return task;
}

#define COLLECTED_SIZE 16384

/* "p@12 s@13": a letter a type, and n. The n within the frame is checked against the told one. */
static void note_item(char *text, const struct task_item *item)
{
    static const char letters[] = "pstcer";
    struct task_message message;
    const struct span payload = shared_text(item->text);
    char *end = text + strlen(text);
    const size_t size = COLLECTED_SIZE - strlen(text);

    if (memmem(payload.at, payload.len, "\"rev\":null", 10)) {
        snprintf(end, size, "%sr@null", text[0] ? " " : "");
        return;
    }
    cr_assert_eq(task_message_parse(payload, &message), 0);
    snprintf(end, size, "%s%c@%llu", text[0] ? " " : "", letters[message.type],
             (unsigned long long)message.rev.n);
}

/* What a subscriber at `after_n` gets by and by, `max` items at a time; it ends at *ret_at. */
static const char *collect_by(struct task *task, uint64_t after_n, size_t max, uint64_t *ret_at,
                              uint32_t *ret_left_out)
{
    static char text[COLLECTED_SIZE];
    struct task_item items[128];
    uint32_t left_out;
    size_t count;

    text[0] = '\0';
    *ret_left_out = 0;
    while ((count = task_collect(task, after_n, items, max, &left_out)) > 0) {
        cr_assert_leq(count, max);
        *ret_left_out += left_out;
        for (size_t i = 0; i < count; i++) {
            cr_assert_gt(items[i].position, after_n, "in the order of n");
            note_item(text, &items[i]);
            after_n = items[i].position;
        }
    }
    *ret_at = after_n;
    return text;
}

static const char *collect(struct task *task, uint64_t after_n)
{
    uint64_t at;
    uint32_t left_out;

    return collect_by(task, after_n, 128, &at, &left_out);
}

/* What a client gets that comes back with the rev of a run. */
static const char *collect_for(struct task *task, const char *run, uint64_t n)
{
    struct rev rev = rev_of(run, n);

    return collect(task, task_position(task, &rev));
}

static uint32_t left_out_after(struct task *task, uint64_t after_n)
{
    uint64_t at;
    uint32_t left_out;

    (void)collect_by(task, after_n, 128, &at, &left_out);
    return left_out;
}

/* ── The state ───────────────────────────────────────────────────────────────────────────────── */

Test(task, a_fresh_one_has_nothing)
{
    struct task task = new_task();

    cr_assert_eq(task.rev.n, 0);
    cr_assert_str_eq(collect(&task, 0), "");
    cr_assert_str_eq(collect(&task, TASK_FIRST), "");
    cr_assert(!task_is_done(&task));
    cr_assert_eq(task_stages(&task).len, 2);
    cr_assert_eq(memcmp(task_stages(&task).at, "[]", 2), 0);
    task_settle(&task);
    task_deinit(&task);
}

Test(task, the_state_is_the_newest_of_each_type_oldest_first)
{
    struct task task = new_task();

    cr_assert_eq(progress(&task, "a", 10), TASK_NEWS);
    cr_assert_eq(take(&task, "time_estimate", "a", 11, ESTIMATE), TASK_NEWS);
    cr_assert_eq(stage(&task, "a", 12), TASK_NEWS);
    cr_assert_eq(progress(&task, "a", 13), TASK_NEWS);
    cr_assert_str_eq(collect(&task, 0), "t@11 s@12 p@13");
    cr_assert_str_eq(collect(&task, 12), "p@13");
    cr_assert_str_eq(collect(&task, 13), "");
    cr_assert_str_eq(collect(&task, 99), "", "who has seen more is left there");
    cr_assert_eq(task.rev.n, 13);
    task_deinit(&task);
}

Test(task, a_repetition_and_what_is_older_change_nothing)
{
    struct task task = new_task();

    cr_assert_eq(progress(&task, "a", 10), TASK_NEWS);
    cr_assert_eq(progress(&task, "a", 10), 0);
    cr_assert_eq(progress(&task, "a", 9), 0);
    cr_assert_eq(stage(&task, "a", 8), 0, "new in the state, but no news to who has 10");
    cr_assert_str_eq(collect(&task, 0), "s@8 p@10");
    cr_assert_str_eq(collect(&task, 9), "p@10", "from the ring");
    cr_assert_eq(progress(&task, "z", 7), TASK_DOUBT, "an older run, or Redis lost this one");
    cr_assert_str_eq(collect(&task, 0), "s@8 p@10");
    task_deinit(&task);
}

Test(task, complete_and_a_fatal_error_end_it)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    cr_assert(!task_is_done(&task));
    cr_assert_eq(take(&task, "complete", "a", 11, COMPLETE), TASK_NEWS);
    cr_assert(task_is_done(&task));
    cr_assert_eq(take(&task, "reset", "b", 12, "{}"), TASK_NEWS);
    cr_assert(!task_is_done(&task));
    cr_assert_eq(take(&task, "error", "b", 13, FATAL), TASK_NEWS);
    cr_assert(task_is_done(&task));
    task_deinit(&task);
}

Test(task, a_retryable_error_goes_when_the_job_goes_on)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    take(&task, "error", "a", 11, RETRYABLE);
    cr_assert(!task_is_done(&task));
    cr_assert_str_eq(collect(&task, 0), "p@10 e@11");
    take(&task, "time_estimate", "a", 12, ESTIMATE);
    cr_assert_str_eq(collect(&task, 0), "p@10 e@11 t@12", "an estimate is no progress");
    stage(&task, "a", 13);
    cr_assert_str_eq(collect(&task, 0), "p@10 t@12 s@13");
    cr_assert_eq(take(&task, "error", "a", 11, RETRYABLE), 0, "told again, it is still overcome");
    cr_assert_str_eq(collect(&task, 0), "p@10 t@12 s@13");
    take(&task, "error", "a", 14, RETRYABLE);
    take(&task, "complete", "a", 15, COMPLETE);
    cr_assert_str_eq(collect(&task, 0), "p@10 t@12 s@13 c@15");
    task_deinit(&task);
}

Test(task, a_retryable_error_stays_in_the_ring_for_who_is_behind)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    take(&task, "error", "a", 11, RETRYABLE);
    stage(&task, "a", 12);
    cr_assert_str_eq(collect(&task, 10), "e@11 s@12");
    task_deinit(&task);
}

/* ── Resets ──────────────────────────────────────────────────────────────────────────────────── */

Test(task, a_reset_voids_the_run_and_is_told)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    stage(&task, "a", 11);
    cr_assert_eq(take(&task, "reset", "b", 20, "{}"), TASK_NEWS);
    cr_assert_str_eq(collect(&task, 11), "r@20");
    cr_assert_str_eq(collect(&task, 0), "", "who knows nothing of the old run needs no reset");
    cr_assert_eq(task_stages(&task).len, 2, "no stage of the old run is left");
    cr_assert_eq(progress(&task, "b", 21), TASK_NEWS);
    cr_assert_str_eq(collect(&task, 11), "r@20 p@21");
    cr_assert_str_eq(collect(&task, 0), "p@21");
    cr_assert_eq(stage(&task, "a", 19), TASK_DOUBT, "the old run is over");
    cr_assert_str_eq(collect(&task, 0), "p@21");
    task_deinit(&task);
}

Test(task, a_missed_reset_is_made_up)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    cr_assert_eq(stage(&task, "b", 30), TASK_NEWS);
    cr_assert_str_eq(collect(&task, 10), "r@29 s@30");
    cr_assert_str_eq(collect(&task, 0), "s@30");
    cr_assert_eq(take(&task, "reset", "b", 20, "{}"), 0, "the real one comes late: told already");
    cr_assert_str_eq(collect(&task, 10), "r@29 s@30");
    task_deinit(&task);
}

Test(task, a_made_up_reset_stands_before_all_of_its_run)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    progress(&task, "b", 30);
    cr_assert_eq(stage(&task, "b", 25), 0);
    task_settle(&task); /* so that the state is what is collected */
    cr_assert_str_eq(collect(&task, 10), "r@24 s@25 p@30");
    cr_assert_eq(take(&task, "reset", "b", 20, "{}"), 0);
    cr_assert_str_eq(collect(&task, 10), "r@20 s@25 p@30");
    task_deinit(&task);
}

Test(task, a_reset_of_a_task_without_state_is_told_to_nobody)
{
    struct task task = new_task();

    cr_assert_eq(take(&task, "reset", "a", 10, "{}"), TASK_NEWS);
    cr_assert_str_eq(collect(&task, TASK_FIRST), "");
    cr_assert_eq(task.rev.n, 10);
    progress(&task, "a", 11);
    cr_assert_str_eq(collect(&task, TASK_FIRST), "p@11");
    task_deinit(&task);
}

Test(task, a_client_of_an_older_run_is_told_by_a_reset)
{
    struct task task = new_task();

    progress(&task, "b", 30);
    stage(&task, "b", 31);
    task_settle(&task);
    cr_assert_str_eq(collect_for(&task, "a", 10), "r@29 p@30 s@31");
    cr_assert_str_eq(collect_for(&task, "b", 30), "s@31", "a client of this run isn't");
    task_deinit(&task);
}

/* ── The summary ─────────────────────────────────────────────────────────────────────────────── */

Test(task, a_summary_brings_rev_and_stages)
{
    struct task task = new_task();
    const char *stages = "[{\"stage\":\"x\",\"timestamp\":\"2026-01-01T00:00:00Z\"}]";

    progress(&task, "a", 10);
    cr_assert_eq(summary(&task, "a", 10, stages), 0);
    cr_assert_eq(task_stages(&task).len, strlen(stages));
    cr_assert_eq(summary(&task, "a", 9, "[]"), 0, "an older one");
    cr_assert_eq(task_stages(&task).len, strlen(stages), "changes nothing");
    cr_assert_eq(summary(&task, "a", 12, ""), 0);
    cr_assert_eq(task.rev.n, 12);
    cr_assert_eq(task_stages(&task).len, 2);
    task_deinit(&task);
}

Test(task, a_summary_of_another_run_is_a_reset)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    stage(&task, "a", 11);
    cr_assert_eq(summary(&task, "b", 20, ""), TASK_NEWS);
    cr_assert_str_eq(collect(&task, 11), "r@20");
    cr_assert_str_eq(collect(&task, 0), "");
    cr_assert_eq(task_stages(&task).len, 2);
    cr_assert_eq(summary(&task, "b", 20, ""), 0, "once");
    task_deinit(&task);
}

Test(task, a_summary_alone_makes_the_task_known)
{
    struct task task = new_task();

    cr_assert_eq(summary(&task, "a", 20, ""), 0);
    cr_assert_eq(task.rev.n, 20);
    task_settle(&task);
    cr_assert_str_eq(collect(&task, 0), "");
    cr_assert_str_eq(collect_for(&task, "z", 5), "r@20", "a client of an older run is told");
    task_deinit(&task);
}

Test(task, stages_follow_the_messages)
{
    struct task task = new_task();
    struct span stages;

    stage(&task, "a", 10);
    progress(&task, "a", 11);
    stages = task_stages(&task);
    cr_assert_not_null(memmem(stages.at, stages.len, "\"stage\":\"b\"", 11));
    cr_assert_not_null(memmem(stages.at, stages.len, "\"stage\":\"a\"", 11));
    task_deinit(&task);
}

/* ── Another run, and none ───────────────────────────────────────────────────────────────────── */

Test(task, a_read_that_shows_another_run_holds_whatever_its_n)
{
    struct task task = new_task();

    progress(&task, "a", 100);
    stage(&task, "a", 110);
    cr_assert_eq(progress(&task, "b", 50), TASK_DOUBT, "a message alone proves nothing");
    cr_assert_str_eq(collect(&task, 0), "p@100 s@110");
    const uint64_t before = task.position;
    cr_assert_eq(read_progress(&task, "b", 50), TASK_NEWS);
    cr_assert_str_eq(collect(&task, before), "r@49 p@50");
    cr_assert_str_eq(collect(&task, 0), "p@50");
    cr_assert_eq(progress(&task, "b", 60), TASK_NEWS, "and from there it goes on");
    cr_assert_str_eq(collect(&task, before), "r@49 p@60");
    cr_assert_str_eq(collect_for(&task, "a", 110), "r@49 p@60");
    cr_assert_str_eq(collect_for(&task, "b", 50), "p@60");
    cr_assert_str_eq(collect_for(&task, "b", 60), "");
    cr_assert_eq(task_published_us(&task, task.position), 60);
    cr_assert_eq(read_progress(&task, "b", 60), 0, "told again, it is no news");
    task_deinit(&task);
}

Test(task, a_read_that_shows_less_of_the_same_run_changes_nothing)
{
    struct task task = new_task();

    progress(&task, "a", 100);
    cr_assert_eq(read_progress(&task, "a", 90), 0);
    cr_assert_eq(summary(&task, "a", 80, "[]"), 0);
    cr_assert_str_eq(collect(&task, 0), "p@100");
    cr_assert_eq(task.rev.n, 100);
    task_deinit(&task);
}

Test(task, a_state_that_is_gone_is_told_once_and_what_follows_begins_anew)
{
    struct task task = new_task();
    struct task_hash empty = {.count = 0};

    cr_assert_eq(task_take_hash(&task, &empty), 0, "there was none");
    cr_assert_str_eq(collect(&task, TASK_FIRST), "");
    progress(&task, "a", 100);
    stage(&task, "a", 110);
    const uint64_t before = task.position;
    cr_assert_eq(task_take_hash(&task, &empty), TASK_NEWS);
    cr_assert_eq(task.rev.n, 0);
    cr_assert_eq(task_stages(&task).len, 2);
    cr_assert_str_eq(collect(&task, before), "r@null");
    cr_assert_str_eq(collect(&task, 0), "");
    cr_assert_str_eq(collect_for(&task, "a", 110), "r@null", "who comes back is told too");
    cr_assert_eq(task_take_hash(&task, &empty), 0, "once");
    struct rev nothing = {.n = 0};
    const uint64_t newcomer = task_position(&task, &nothing);
    cr_assert_str_eq(collect(&task, newcomer), "");
    cr_assert_eq(progress(&task, "b", 50), TASK_NEWS, "whatever its n");
    cr_assert_str_eq(collect(&task, before), "r@null p@50");
    cr_assert_str_eq(collect(&task, newcomer), "p@50");
    cr_assert_str_eq(collect_for(&task, "a", 110), "r@null p@50");
    cr_assert_str_eq(collect_for(&task, "b", 50), "");
    task_settle(&task);
    cr_assert_str_eq(collect_for(&task, "a", 110), "r@49 p@50", "from the state");
    task_deinit(&task);
}

Test(task, a_client_that_comes_back_to_a_task_never_seen_is_told_that_it_is_gone)
{
    struct task task = new_task();

    cr_assert_str_eq(collect_for(&task, "a", 110), "r@null");
    task_deinit(&task);
}

Test(task, runs_may_follow_each_other_in_any_order_of_n)
{
    struct task task = new_task();
    struct task_hash empty = {.count = 0};
    const char *runs[] = {"a", "b", "c", "d", "e"};
    uint64_t ns[] = {500, 20, 700, 1, 30};
    uint64_t at = TASK_FIRST;
    char expected[32];

    for (size_t i = 0; i < 50; i++) {
        const uint64_t n = ns[i % ARRAY_LEN(ns)] + 1;

        cr_assert_eq(read_progress(&task, runs[i % ARRAY_LEN(runs)], n), TASK_NEWS);
        const char *text = collect(&task, at);
        snprintf(expected, sizeof(expected), "p@%llu", (unsigned long long)n);
        cr_assert_str_eq(text + strlen(text) - strlen(expected), expected, "%s", text);
        cr_assert_gt(task.position, at, "positions only rise");
        at = task.position;
        if (i % 7 == 6) {
            cr_assert_eq(task_take_hash(&task, &empty), TASK_NEWS);
            cr_assert_eq(read_progress(&task, "z", 5), TASK_NEWS);
            cr_assert_str_eq(collect(&task, at), "r@null p@5");
            at = task.position;
        }
    }
    task_deinit(&task);
}

Test(task, out_of_memory_while_the_state_goes_leaves_it)
{
    struct task task = new_task();
    struct task_hash empty = {.count = 0};
    unsigned failures = 0;
    int rc;

    progress(&task, "a", 100);
    do {
        cr_assert_str_eq(collect(&task, 0), "p@100");
        mem_fail_nth(++failures);
        rc = task_take_hash(&task, &empty);
        mem_fail_nth(0);
    } while (rc == -ENOMEM);
    cr_assert_eq(rc, TASK_NEWS);
    cr_assert_gt(failures, 1);
    task_deinit(&task);
}

/* ── The ring ────────────────────────────────────────────────────────────────────────────────── */

Test(task, newer_ones_supersede_progress_and_estimates_but_no_stage)
{
    struct task task = new_task();

    progress(&task, "a", 10);
    progress(&task, "a", 11);
    stage(&task, "a", 12);
    take(&task, "time_estimate", "a", 13, ESTIMATE);
    progress(&task, "a", 14);
    stage(&task, "a", 15);
    take(&task, "time_estimate", "a", 16, ESTIMATE);
    cr_assert_str_eq(collect(&task, TASK_FIRST), "s@12 p@14 s@15 t@16");
    cr_assert_eq(left_out_after(&task, TASK_FIRST), 3);
    cr_assert_eq(left_out_after(&task, 13), 0);
    task_deinit(&task);
}

Test(task, a_stage_is_never_left_out_within_64_messages)
{
    /* Stages and progress mixed, every subscriber position, every length. */
    for (uint64_t last = 1; last <= 200; last++) {
        struct task task = new_task();
        char expected[32];

        for (uint64_t n = 1; n <= last; n++) {
            n % 3 == 0 ? stage(&task, "a", 100 + n) : progress(&task, "a", 100 + n);
        }
        for (uint64_t behind = 0; behind <= TASK_RING && behind < last; behind++) {
            const char *text = collect(&task, 100 + last - behind);

            for (uint64_t n = last - behind + 1; n <= last; n++) {
                snprintf(expected, sizeof(expected), "s@%llu", (unsigned long long)(100 + n));
                cr_assert_eq(strstr(text, expected) != NULL, n % 3 == 0, "%llu behind: %s",
                             (unsigned long long)behind, text);
            }
        }
        task_deinit(&task);
    }
}

Test(task, who_is_further_behind_is_given_the_state)
{
    struct task task = new_task();

    progress(&task, "a", 99);
    for (uint64_t n = 100; n < 102 + TASK_RING; n++) {
        stage(&task, "a", n);
    }
    cr_assert_str_eq(collect(&task, 98), "p@99 s@165");
    cr_assert_str_eq(collect(&task, 100), "s@165", "65 behind");
    cr_assert_eq(strncmp(collect(&task, 101), "s@102 s@103 ", 12), 0, "just 64 behind");
    take(&task, "complete", "a", 166, COMPLETE);
    for (uint64_t after = 0; after < 166; after++) {
        const char *text = collect(&task, after);

        cr_assert_str_eq(text + strlen(text) - 5, "c@166", "after %llu", (unsigned long long)after);
    }
    task_deinit(&task);
}

Test(task, a_burst_of_updates_pushes_no_stage_out)
{
    struct task task = new_task();
    uint64_t n = 100;

    for (int i = 0; i < TASK_RING - 1; i++) {
        stage(&task, "a", ++n);
        for (int k = 0; k < 50; k++) {
            progress(&task, "a", ++n);
        }
    }
    for (uint64_t after = 100; after < n; after += 51) {
        char expected[32];

        snprintf(expected, sizeof(expected), "s@%llu", (unsigned long long)(after + 1));
        cr_assert_eq(strncmp(collect(&task, after), expected, strlen(expected)), 0);
    }
    task_deinit(&task);
}

Test(task, an_old_newest_of_its_type_is_not_taken_for_another_slot)
{
    struct task task = new_task();

    progress(&task, "a", 100); /* pushed out of the ring by stages, then followed by a newer one */
    for (uint64_t n = 101; n <= 100 + 3 * TASK_RING; n++) {
        stage(&task, "a", n);
    }
    progress(&task, "a", 500);
    for (uint64_t after = 100 + 2 * TASK_RING + 1; after < 500; after++) {
        char expected[32];

        snprintf(expected, sizeof(expected), "s@%llu", (unsigned long long)(after + 1));
        if (after < 100 + 3 * TASK_RING) {
            cr_assert_eq(strncmp(collect(&task, after), expected, strlen(expected)), 0);
        } else {
            cr_assert_str_eq(collect(&task, after), "p@500");
        }
    }
    task_deinit(&task);
}

Test(task, is_collected_in_small_pieces_all_the_same)
{
    struct task task = new_task();
    uint64_t at;
    uint32_t left_out;
    char whole[COLLECTED_SIZE];

    for (uint64_t n = 100; n < 130; n++) {
        n % 2 ? stage(&task, "a", n) : progress(&task, "a", n);
    }
    for (uint64_t after = 0; after < 130; after++) {
        strcpy(whole, collect(&task, after));
        for (size_t max = TASK_MESSAGE_TYPES; max < 20; max++) {
            cr_assert_str_eq(collect_by(&task, after, max, &at, &left_out), whole);
        }
    }
    task_deinit(&task);
}

Test(task, frames_at_the_end_that_were_superseded_hide_nothing)
{
    struct task task = new_task();
    struct task_item items[TASK_MESSAGE_TYPES];
    uint32_t left_out;

    /* Holes between a subscriber and what is due to it, more than a batch takes. */
    progress(&task, "a", 100);
    for (uint64_t n = 101; n < 140; n++) {
        progress(&task, "a", n);
    }
    cr_assert_eq(task_collect(&task, 100, items, ARRAY_LEN(items), &left_out), 1);
    cr_assert_eq(items[0].position, 139);
    cr_assert_eq(left_out, 38);
    task_deinit(&task);
}

/* A subscriber that collects a few items at a time, now and then, whatever comes in between. */
Test(task, a_slow_subscriber_gets_each_message_once_in_order_and_ends_up_right)
{
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct task task = new_task();
        struct task_item items[TASK_MESSAGE_TYPES];
        uint64_t at = TASK_FIRST, n = 100;
        const char *run = "a";
        uint32_t left_out;

        srand(seed);
        for (int i = 0; i < 300; i++) {
            const int dice = rand() % 100;
            size_t count;

            n += 1 + (uint64_t)rand() % 5;
            if (dice < 2) {
                run = run[0] == 'a' ? "b" : run[0] == 'b' ? "c" : "d";
                take(&task, "reset", run, n, "{}");
            } else if (dice < 50) {
                progress(&task, run, n);
            } else if (dice < 80) {
                stage(&task, run, n);
            } else {
                take(&task, "time_estimate", run, n, ESTIMATE);
            }
            if (rand() % 20 > 0) {
                continue;
            }
            count = task_collect(&task, at, items, ARRAY_LEN(items), &left_out);
            count = count ? (size_t)rand() % (count + 1) : 0; /* what the socket took */
            for (size_t k = 0; k < count; k++) {
                cr_assert_gt(items[k].position, at);
                at = items[k].position;
            }
        }
        take(&task, "complete", run, n + 1, COMPLETE);
        (void)collect_by(&task, at, TASK_MESSAGE_TYPES, &at, &left_out);
        cr_assert_eq(at, n + 1, "seed %u", seed);
        task_deinit(&task);
    }
}

/* ── A join ──────────────────────────────────────────────────────────────────────────────────── */

struct entry {
    const char *type, *run, *payload;
    uint64_t n;
};

/* What a job could publish: two runs, errors that are overcome, an end. */
static const struct entry history[] = {
    {"progress_update", "a", PROGRESS, 100},
    {"stage_change", "a", STAGE, 101},
    {"error", "a", RETRYABLE, 102},
    {"time_estimate", "a", ESTIMATE, 103},
    {"progress_update", "a", PROGRESS, 104},
    {"error", "a", RETRYABLE, 105},
    {"stage_change", "a", STAGE, 106},
    {"complete", "a", COMPLETE, 107},
    {"reset", "b", "{}", 200},
    {"stage_change", "b", STAGE, 201},
    {"progress_update", "b", PROGRESS, 202},
    {"time_estimate", "b", ESTIMATE, 203},
    {"error", "b", RETRYABLE, 204},
    {"progress_update", "b", PROGRESS, 205},
    {"error", "b", RETRYABLE, 206},
    {"time_estimate", "b", ESTIMATE, 207},
};

static void take_entry(struct task *task, const struct entry *entry)
{
    cr_assert_geq(take(task, entry->type, entry->run, entry->n, entry->payload), 0);
}

/* The state as a new subscriber and one of an older run see it, and what is said of the task. */
static void write_state(struct task *task, char *text, size_t size)
{
    task_settle(task);
    snprintf(text, size, "%s | ", collect(task, 0));
    snprintf(text + strlen(text), size - strlen(text), "%s | %d %llu", collect_for(task, "0", 50),
             task_is_done(task), (unsigned long long)task->rev.n);
}

Test(task, is_a_join_any_order_and_repetition_give_the_same_state)
{
    for (size_t len = 1; len <= ARRAY_LEN(history); len++) {
        struct task straight = new_task();
        char expected[512], found[512];

        for (size_t i = 0; i < len; i++) {
            take_entry(&straight, &history[i]);
        }
        write_state(&straight, expected, sizeof(expected));
        task_deinit(&straight);
        for (unsigned seed = 1; seed <= 300; seed++) {
            struct task shuffled = new_task();
            size_t order[ARRAY_LEN(history)];

            srand(seed);
            for (size_t i = 0; i < len; i++) {
                size_t j = (size_t)rand() % (i + 1);

                order[i] = order[j];
                order[j] = i;
            }
            for (size_t i = 0; i < len; i++) {
                take_entry(&shuffled, &history[order[i]]);
                take_entry(&shuffled, &history[order[(size_t)rand() % (i + 1)]]);
            }
            write_state(&shuffled, found, sizeof(found));
            cr_assert_str_eq(found, expected, "%zu messages, seed %u", len, seed);
            task_deinit(&shuffled);
        }
    }
}

Test(task, a_read_of_the_hash_amid_the_channel_changes_nothing_about_the_end)
{
    struct task live = new_task(), both = new_task();
    char expected[512], found[512];

    for (size_t i = 8; i < ARRAY_LEN(history); i++) {
        take_entry(&live, &history[i]);
    }
    summary(&live, "b", 207, "");
    write_state(&live, expected, sizeof(expected));

    take_entry(&both, &history[9]); /* the hash: newest of each type so far, by n */
    take_entry(&both, &history[10]);
    summary(&both, "b", 202, "");
    for (size_t i = 8; i < ARRAY_LEN(history); i++) {
        take_entry(&both, &history[i]);
    }
    summary(&both, "b", 207, "");
    write_state(&both, found, sizeof(found));
    cr_assert_str_eq(found, expected);
    task_deinit(&live);
    task_deinit(&both);
}

/* ── Out of memory ───────────────────────────────────────────────────────────────────────────── */

/* All that can be seen of a task. */
static void write_task(struct task *task, char *text, size_t size)
{
    struct span stages = task_stages(task);
    uint64_t after[] = {0, TASK_FIRST, 5, 9, 10, 11};

    snprintf(text, size, "%llu %d %.*s", (unsigned long long)task->rev.n, task_is_done(task),
             (int)stages.len, stages.at);
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        snprintf(text + strlen(text), size - strlen(text), " | %s", collect(task, after[i]));
    }
}

/* Runs `change` with each of its allocations failing in turn: refused, it has changed nothing. */
static void try_without_memory(int (*change)(struct task *), bool with_ring)
{
    char before[2048], after[2048];
    int failures = 0;

    for (unsigned nth = 1;; nth++) {
        struct task task = new_task();
        int r;

        progress(&task, "a", 10);
        stage(&task, "a", 11);
        if (!with_ring) {
            task_settle(&task);
        }
        write_task(&task, before, sizeof(before));
        mem_fail_nth(nth);
        r = change(&task);
        mem_fail_nth(0);
        write_task(&task, after, sizeof(after));
        if (r >= 0) {
            cr_assert_str_neq(after, before);
            task_deinit(&task);
            break;
        }
        failures++;
        cr_assert_eq(r, -ENOMEM);
        cr_assert_str_eq(after, before, "allocation %u", nth);
        cr_assert_eq(change(&task), TASK_NEWS, "it can be taken later");
        task_deinit(&task);
    }
    cr_assert_gt(failures, 0);
}

static int change_by_message(struct task *task)
{
    return take(task, "complete", "a", 12, COMPLETE);
}

static int change_by_run(struct task *task)
{
    return progress(task, "b", 20);
}

static int change_by_reset(struct task *task)
{
    return take(task, "reset", "b", 20, "{}");
}

static int change_by_summary(struct task *task)
{
    return summary(task, "b", 20, "[{\"stage\":\"x\",\"timestamp\":\"2026-01-01T00:00:00Z\"}]");
}

Test(task, out_of_memory_leaves_it_as_it_was)
{
    int (*changes[])(struct task *) = {change_by_message, change_by_run, change_by_reset,
                                       change_by_summary};

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        try_without_memory(changes[i], true);
        try_without_memory(changes[i], false);
    }
}

Test(task, a_stage_that_no_memory_was_left_for_is_only_missing_in_the_list)
{
    struct task task = new_task();
    unsigned nth = 1;

    progress(&task, "a", 10); /* allocates the ring */
    mem_fail_nth(++nth);      /* the frame, then the stages */
    cr_assert_eq(stage(&task, "a", 11), TASK_NEWS);
    mem_fail_nth(0);
    cr_assert_str_eq(collect(&task, 10), "s@11");
    task_deinit(&task);
}
