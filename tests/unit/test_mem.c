#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"

Test(mem, zeroed_memory_is_zero_and_an_overflowing_product_is_refused)
{
    char zeros[64] = {0};
    char *memory = mem_zalloc(8, 8);

    cr_assert_arr_eq(memory, zeros, 64);
    mem_free(memory);

    volatile size_t huge = SIZE_MAX / 2 + 1; /* volatile: the compiler would warn of it */
    cr_assert_null(mem_zalloc(huge, 4));
}

Test(mem, a_copied_text_ends_in_nul)
{
    char *copy = mem_strndup("taskX", 4);
    cr_assert_str_eq(copy, "task");
    mem_free(copy);

    copy = mem_strndup("", 0);
    cr_assert_str_eq(copy, "");
    mem_free(copy);
}

Test(mem, exactly_the_nth_allocation_fails_whatever_its_kind)
{
    for (unsigned n = 1; n <= 4; n++) {
        mem_fail_nth(n);
        void *results[] = {mem_alloc(1), mem_zalloc(1, 1), mem_realloc(NULL, 1),
                           mem_strndup("x", 1), mem_alloc(1)};
        for (unsigned i = 0; i < ARRAY_LEN(results); i++) {
            cr_assert_eq(results[i] == NULL, i == n - 1, "allocation %u of %u", i + 1, n);
            mem_free(results[i]);
        }
    }
}

Test(mem, a_failed_resize_leaves_the_old_memory)
{
    char *old = mem_strndup("kept", 4);

    mem_fail_nth(1);
    cr_assert_null(mem_realloc(old, 1000));
    cr_assert_str_eq(old, "kept");
    mem_free(old);
}

Test(mem, turning_failure_off_lets_everything_pass)
{
    mem_fail_nth(1);
    mem_fail_nth(0);
    void *memory = mem_alloc(1);
    cr_assert_not_null(memory);
    mem_free(memory);
}

static char *make_and_hand_over(void)
{
    CLEANUP(mem_free_at) char *dropped = mem_strndup("dropped", 7);
    CLEANUP(mem_free_at) char *taken = mem_strndup("taken", 5);
    cr_assert_not_null(dropped);
    return TAKE(taken);
}

Test(mem, a_cleanup_variable_frees_unless_it_was_taken)
{
    char *taken = make_and_hand_over(); /* a leak or double free is the sanitizer's to see */
    cr_assert_str_eq(taken, "taken");
    mem_free(taken);
}
