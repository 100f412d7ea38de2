#include "common/state.h"

#include "common/log.h"

bool state_may_move(const struct state_machine *machine, unsigned from, unsigned to)
{
    assert(from < machine->count && to < machine->count);
    return machine->moves[from] & STATE_TO(to);
}

const char *state_name(const struct state_machine *machine, unsigned state)
{
    assert(state < machine->count);
    return machine->names[state];
}

void state_move(const struct state_machine *machine, uint8_t *state, unsigned to,
                const char *subject, size_t subject_len)
{
    assert(state_may_move(machine, *state, to));
    log_event(LOG_DEBUG, machine->module, "state", LOG_SPAN("of", subject, subject_len),
              LOG_TEXT("from", machine->names[*state]), LOG_TEXT("to", machine->names[to]));
    *state = (uint8_t)to;
}
