#include "proto/task_hash.h"

#include <criterion/criterion.h>

#define PROGRESS "{\"percentage\":1,\"stage\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}"
#define COMPLETE "{\"resultUrl\":\"/r\",\"duration\":1}"
#define STAGES "[{\"stage\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}]"
#define MESSAGE(type, task, rev, payload) \
    "{\"type\":\"" type "\",\"taskId\":\"" task "\",\"rev\":\"" rev "\",\"payload\":" payload "}"
#define UPDATE(rev) MESSAGE("progress_update", "t", rev, PROGRESS)
#define N_MAX 1000

static struct task_hash read_fields(const char *const *fields)
{
    struct task_hash hash;

    task_hash_begin(&hash, SPAN_OF("t"), N_MAX);
    for (; fields[0]; fields += 2) {
        task_hash_add(&hash, SPAN_OF(fields[0]), SPAN_OF(fields[1]));
    }
    task_hash_finish(&hash);
    return hash;
}

#define READ(...) read_fields((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void expect_rev(const struct task_hash *hash, const char *text)
{
    char rev[REV_TEXT_SIZE];

    rev_format(rev, &hash->rev);
    cr_assert_str_eq(rev, text);
}

Test(task_hash, holds_what_progress_lua_writes)
{
    struct task_hash hash =
        READ("run", "ab", "n", "12", "complete", MESSAGE("complete", "t", "ab-12", COMPLETE),
             "progress_update", UPDATE("ab-10"), "stages", STAGES, "_end", "done", "_alive", "99");

    expect_rev(&hash, "ab-12");
    cr_assert_eq(hash.count, 2);
    cr_assert_eq(hash.messages[0].head.type, TASK_PROGRESS_UPDATE, "in the order of n");
    cr_assert_eq(hash.messages[1].head.type, TASK_COMPLETE);
    cr_assert(span_is(hash.messages[0].text, UPDATE("ab-10")));
    cr_assert(span_is(hash.stages, STAGES));
    cr_assert_eq(hash.alive_deadline, 99);
    cr_assert_eq(hash.dropped, 0);
}

Test(task_hash, without_fields_has_no_state)
{
    struct task_hash hash = READ();

    cr_assert_eq(hash.rev.n, 0);
    cr_assert_eq(hash.count, 0);
    hash = READ("_alive", "99", "somebody", "else's");
    cr_assert_eq(hash.rev.n, 0);
    cr_assert_eq(hash.dropped, 0);
}

Test(task_hash, one_bad_message_hides_no_other)
{
    static const char *const bad[] = {
        "",
        "{",
        "x",
        MESSAGE("complete", "t", "ab-11", "{oops}"),
        MESSAGE("complete", "t", "ab-11", "{\"resultUrl\":\"\xff\",\"duration\":1}"),
        MESSAGE("complete", "t", "ab-11", "{\"resultUrl\":\"/r\"}"),
        MESSAGE("complete", "u", "ab-11", COMPLETE),
        MESSAGE("complete", "t", "cd-11", COMPLETE),
        MESSAGE("complete", "t", "ab-1001", COMPLETE),
        MESSAGE("complete", "t", "ab-9007199254740991", COMPLETE),
        UPDATE("ab-11"),
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct task_hash hash =
            READ("complete", bad[i], "run", "ab", "n", "10", "progress_update", UPDATE("ab-10"));

        expect_rev(&hash, "ab-10");
        cr_assert_eq(hash.count, 1, "%s", bad[i]);
        cr_assert_eq(hash.messages[0].head.type, TASK_PROGRESS_UPDATE);
        cr_assert_eq(hash.dropped, 1, "%s", bad[i]);
    }
}

Test(task_hash, a_rev_from_the_future_is_counted_as_such)
{
    struct task_hash hash = READ("run", "ab", "n", "10", "progress_update", UPDATE("ab-1001"));

    cr_assert_eq(hash.from_future, 1);
    hash = READ("run", "ab", "n", "9007199254740991", "progress_update", UPDATE("ab-10"));
    cr_assert_eq(hash.from_future, 1);
    cr_assert_eq(hash.dropped, 1);
    expect_rev(&hash, "ab-10");
}

Test(task_hash, a_missing_or_broken_rev_is_that_of_the_newest_message)
{
    static const char *const fields[][4] = {
        {"run", "AB", "n", "10"}, {"run", "ab", "n", "x"}, {"run", "ab", "n", "1001"},
        {"run", "", "n", "10"},   {"x", "", "n", "10"},    {"run", "ab", "x", ""},
        {"x", "", "y", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct task_hash hash =
            READ(fields[i][0], fields[i][1], fields[i][2], fields[i][3], "progress_update",
                 UPDATE("ab-12"), "complete", MESSAGE("complete", "t", "ab-10", COMPLETE));

        expect_rev(&hash, "ab-12");
        cr_assert_eq(hash.count, 2, "%zu", i);
    }
}

Test(task_hash, is_at_least_as_new_as_its_messages)
{
    struct task_hash hash = READ("run", "ab", "n", "5", "progress_update", UPDATE("ab-12"));

    expect_rev(&hash, "ab-12");
}

Test(task_hash, a_run_without_anything_else_is_no_state)
{
    struct task_hash hash = READ("run", "ab");

    cr_assert_eq(hash.rev.n, 0);
}

Test(task_hash, stages_are_checked)
{
    static const char *const bad[] = {
        "",
        "[",
        "{}",
        "[1]",
        "[{}]",
        "[{\"stage\":\"a\"}]",
        "[{\"stage\":1,\"timestamp\":\"x\"}]",
        "[{\"stage\":\"\xff\",\"timestamp\":\"x\"}]",
        STAGES "x",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct task_hash hash =
            READ("stages", bad[i], "run", "ab", "n", "10", "progress_update", UPDATE("ab-10"));

        cr_assert_eq(hash.stages.len, 0, "%s", bad[i]);
        cr_assert_eq(hash.dropped, 1);
        cr_assert_eq(hash.count, 1);
    }
}

Test(task_hash, a_deadline_is_a_whole_number_of_microseconds)
{
    static const char *const none[] = {"", "x", "-1", "1.5", "1x", " 1", "18446744073709551616"};

    cr_assert_eq(alive_deadline(SPAN_OF("1795415613426833")), 1795415613426833);
    cr_assert_eq(alive_deadline(SPAN_OF("1")), 1);
    cr_assert_eq(alive_deadline((struct span){NULL, 0}), UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        cr_assert_eq(alive_deadline(SPAN_OF(none[i])), UINT64_MAX, "%s", none[i]);
    }
}
