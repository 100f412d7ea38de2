/* What fanout_load tells send_loop to send: one update, in one piece. */
#ifndef PROGRESSD_TESTS_BENCH_SEND_LOOP_H
#define PROGRESSD_TESTS_BENCH_SEND_LOOP_H

#include <stdint.h>

struct send_loop_update {
    uint32_t task;
    uint32_t len;
    uint8_t frame[504];
};

#endif
