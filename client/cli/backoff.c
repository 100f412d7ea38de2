#include "client/cli/backoff.h"

uint32_t backoff_limit_ms(unsigned attempt)
{
    unsigned doublings = attempt < BACKOFF_DOUBLINGS_MAX ? attempt : BACKOFF_DOUBLINGS_MAX;

    return (uint32_t)BACKOFF_FIRST_MS << doublings;
}

uint32_t backoff_ms(unsigned attempt, uint32_t random)
{
    return (uint32_t)(((uint64_t)backoff_limit_ms(attempt) * random) >> 32);
}
