/* Compares a state machine with the moves that its test allows, for every pair of states.
 *
 * Receives   the machine, and a square table: row "from", column "to"
 * Hands on   a failed expectation for each pair that differs, with the names of both states
 */
#ifndef PROGRESSD_TESTS_SUPPORT_STATE_PAIRS_H
#define PROGRESSD_TESTS_SUPPORT_STATE_PAIRS_H

#include <criterion/criterion.h>

#include "common/state.h"

/* `table` is a two-dimensional array of bool, as wide as it is high. */
#define EXPECT_STATE_PAIRS(machine, table) \
    state_pairs_expect(machine, ARRAY_LEN(table), ARRAY_LEN((table)[0]), &(table)[0][0])

static inline void state_pairs_expect(const struct state_machine *machine, size_t rows,
                                      size_t columns, const bool *allowed)
{
    cr_assert_eq(machine->count, rows, "%s has %u states, the table %zu rows", machine->module,
                 machine->count, rows);
    cr_assert_eq(columns, rows);
    for (unsigned from = 0; from < rows; from++) {
        for (unsigned to = 0; to < rows; to++) {
            cr_expect_eq(state_may_move(machine, from, to), allowed[from * rows + to], "%s to %s",
                         state_name(machine, from), state_name(machine, to));
        }
    }
}

#endif
