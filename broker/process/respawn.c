#include "broker/process/respawn.h"

uint64_t respawn_pause(struct respawn *respawn, uint64_t lived_ms)
{
    uint64_t pause = lived_ms < RESPAWN_STABLE_MS ? respawn->next_pause_ms : 0;
    uint64_t next = pause > 0 ? pause * 2 : RESPAWN_FIRST_PAUSE_MS;

    respawn->next_pause_ms = next < RESPAWN_MAX_PAUSE_MS ? next : RESPAWN_MAX_PAUSE_MS;
    return pause;
}
