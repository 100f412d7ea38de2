#include <criterion/criterion.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

Test(bytes, a_copy_holds_the_same_bytes_and_one_reference)
{
    struct bytes *bytes = bytes_copy("progress", 8);

    cr_assert_not_null(bytes);
    cr_assert_eq(bytes->refs, 1);
    cr_assert_eq(bytes->len, 8);
    cr_assert_arr_eq(bytes->data, "progress", 8);
    bytes_unref(bytes);
}

Test(bytes, memory_stays_until_the_last_reference_goes)
{
    struct bytes *bytes = bytes_copy("x", 1);
    struct bytes *second = bytes_ref(bytes);

    bytes_unref(bytes);
    cr_assert_eq(second->refs, 1);
    cr_assert_eq(second->data[0], 'x');
    bytes_unref(second);
}

Test(bytes, null_is_accepted_where_references_are_taken_and_given)
{
    cr_assert_null(bytes_ref(NULL));
    bytes_unref(NULL);
}

Test(bytes, running_out_of_memory_is_returned)
{
    mem_fail_nth(1);
    cr_assert_null(bytes_new(10));
    mem_fail_nth(1);
    cr_assert_null(bytes_copy("x", 1));
}
