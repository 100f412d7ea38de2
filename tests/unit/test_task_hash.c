#include "proto/task_hash.h"

#include <criterion/criterion.h>

Test(task_hash, fields_of_a_hash_are_told_apart)
{
    enum task_message_type type = TASK_RESET;

    cr_assert_eq(hash_field_of(SPAN_OF("run"), &type), HASH_FIELD_RUN);
    cr_assert_eq(hash_field_of(SPAN_OF("n"), &type), HASH_FIELD_N);
    cr_assert_eq(hash_field_of(SPAN_OF("stages"), &type), HASH_FIELD_STAGES);
    cr_assert_eq(hash_field_of(SPAN_OF("_end"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(SPAN_OF("_alive"), &type), HASH_FIELD_ALIVE);
    cr_assert_eq(hash_field_of(SPAN_OF("reset"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(SPAN_OF("completed"), &type), HASH_FIELD_OTHER);
    cr_assert_eq(hash_field_of(SPAN_OF(""), &type), HASH_FIELD_OTHER);
    cr_assert_eq(type, TASK_RESET);
    cr_assert_eq(hash_field_of(SPAN_OF("complete"), &type), HASH_FIELD_MESSAGE);
    cr_assert_eq(type, TASK_COMPLETE);
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
