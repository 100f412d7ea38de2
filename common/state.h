/* State machines as tables: the states' names, the moves that are allowed, and a trace of each.
 *
 * Receives   a move
 * Hands on   a line in the log at debug level
 * Owns       nothing: the state is a byte of the object that is in it
 *
 * A machine is one list, in the header where its states are explained:
 *
 *   #define DOOR_STATES(X)                                    \
 *       X(DOOR_SHUT, "shut", STATE_TO(DOOR_OPEN))             \
 *       X(DOOR_OPEN, "open", STATE_TO(DOOR_SHUT) | STATE_TO(DOOR_GONE)) \
 *       X(DOOR_GONE, "gone", 0)
 *   enum door_state { DOOR_STATES(STATE_ENUM) };
 *   extern const struct state_machine door_machine;
 *
 * and in its source, outside of functions: STATE_MACHINE(door_machine, "door", DOOR_STATES); The
 * first state is the one that an object begins in. To stay in a state is a move like any other,
 * allowed only where the list says so.
 */
#ifndef PROGRESSD_COMMON_STATE_H
#define PROGRESSD_COMMON_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

/* At most 32 states. */
struct state_machine {
    const char *module; /* the field in the log */
    const char *const *names;
    const uint32_t *moves; /* for each state, the states that may follow: bits of STATE_TO() */
    uint8_t count;
};

#define STATE_TO(state) (UINT32_C(1) << (state))

#define STATE_ENUM(name, text, moves) name,
#define STATE_NAME(name, text, moves) [name] = text,
#define STATE_MOVES(name, text, moves) [name] = (moves),

#define STATE_MACHINE(machine, module_name, STATES)                                      \
    static const char *const machine##_names[] = {STATES(STATE_NAME)};                   \
    static const uint32_t machine##_moves[] = {STATES(STATE_MOVES)};                     \
    const struct state_machine machine = {module_name, machine##_names, machine##_moves, \
                                          ARRAY_LEN(machine##_names)}

/* Whether the list has that move. Both are states of the machine (asserted). */
bool state_may_move(const struct state_machine *machine, unsigned from, unsigned to);

const char *state_name(const struct state_machine *machine, unsigned state);

/* Moves *state, which the list must allow (asserted), and traces it. `subject` tells one object of
 * the machine from the others, need not end in NUL, and may be NULL with a length of 0. */
void state_move(const struct state_machine *machine, uint8_t *state, unsigned to,
                const char *subject, size_t subject_len);

#endif
