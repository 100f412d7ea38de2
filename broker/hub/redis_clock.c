#include "broker/hub/redis_clock.h"

#include "proto/rev.h"

/* What the two clocks may have come apart since Redis was last asked. */
#define SLACK_S 60

static uint64_t loop_us(const struct redis_clock *clock)
{
    return uv_now(clock->loop) * 1000;
}

void redis_clock_init(struct redis_clock *clock, uv_loop_t *loop)
{
    uv_timeval64_t now = {0, 0};

    *clock = (struct redis_clock){.loop = loop};
    (void)uv_gettimeofday(&now);
    clock->ahead_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_usec - loop_us(clock);
}

/* TIME answers with seconds and microseconds. */
static void redis_clock_on_time(void *context, const struct redis_answer *answer)
{
    struct redis_clock *clock = context;
    uint64_t seconds, microseconds = 0;

    if (redis_answer_count(answer) != 2) {
        return;
    }
    struct span first = redis_answer_element(answer, 0);
    struct span second = redis_answer_element(answer, 1);
    if (span_take_number(&first, REV_N_MAX / 1000000, &seconds)) {
        (void)!span_take_number(&second, 999999, &microseconds); /* 0 is none */
        clock->ahead_us = seconds * 1000000 + microseconds - loop_us(clock);
    }
}

void redis_clock_ask(struct redis_clock *clock, struct redis_link *link)
{
    (void)!redis_link_command(link, redis_clock_on_time, clock, 1,
                              (struct span[]){SPAN_OF("TIME")});
}

uint64_t redis_clock_us(const struct redis_clock *clock)
{
    return loop_us(clock) + clock->ahead_us;
}

uint64_t redis_clock_n_max(const struct redis_clock *clock)
{
    return redis_clock_us(clock) + (uint64_t)(REV_AHEAD_MAX_S + SLACK_S) * 1000000;
}
