#include "common/state.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "common/log.h"

#define DOOR_STATES(X)                                              \
    X(DOOR_SHUT, "shut", STATE_TO(DOOR_OPEN) | STATE_TO(DOOR_SHUT)) \
    X(DOOR_OPEN, "open", STATE_TO(DOOR_SHUT) | STATE_TO(DOOR_GONE)) \
    X(DOOR_GONE, "gone", 0)

enum door_state { DOOR_STATES(STATE_ENUM) };
STATE_MACHINE(door_machine, "door", DOOR_STATES);

Test(state, knows_every_pair)
{
    const bool allowed[3][3] = {
        [DOOR_SHUT] = {[DOOR_SHUT] = true, [DOOR_OPEN] = true},
        [DOOR_OPEN] = {[DOOR_SHUT] = true, [DOOR_GONE] = true},
    };
    cr_assert_eq(door_machine.count, 3);
    for (unsigned from = 0; from < 3; from++) {
        for (unsigned to = 0; to < 3; to++) {
            cr_expect_eq(state_may_move(&door_machine, from, to), allowed[from][to], "%s to %s",
                         state_name(&door_machine, from), state_name(&door_machine, to));
        }
    }
}

Test(state, moves)
{
    uint8_t state = DOOR_SHUT;
    state_move(&door_machine, &state, DOOR_OPEN, NULL, 0);
    cr_expect_eq(state, DOOR_OPEN);
    state_move(&door_machine, &state, DOOR_GONE, "front", 5);
    cr_expect_eq(state, DOOR_GONE);
}

Test(state, asserts_that_a_move_is_allowed, .signal = SIGABRT)
{
    uint8_t state = DOOR_GONE;
    state_move(&door_machine, &state, DOOR_OPEN, NULL, 0);
}

Test(state, traces_a_move_at_debug_level)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_neq(dup2(ends[1], STDERR_FILENO), -1);
    log_configure(LOG_DEBUG, LOG_LOGFMT, "test");
    uint8_t state = DOOR_SHUT;
    state_move(&door_machine, &state, DOOR_OPEN, "front and more", 5);
    char line[512];
    ssize_t len = read(ends[0], line, sizeof(line) - 1);
    cr_assert_gt(len, 0);
    line[len] = '\0';
    cr_expect(strstr(line, "module=door msg=state of=front from=shut to=open\n"), "%s", line);
}
