/* The signals that a process acts upon.
 *
 * Receives   signals, by way of the loop
 * Hands on   on_signal
 * Owns       a handle for each
 */
#ifndef PROGRESSD_BROKER_LOOP_SIGNALS_H
#define PROGRESSD_BROKER_LOOP_SIGNALS_H

#include "broker/loop/loop.h"

#define SIGNALS_MAX 4

struct signals {
    uv_signal_t handles[SIGNALS_MAX];
    int count;
    void (*on_signal)(struct signals *signals, int number);
};

/* Watches the signals of a list that ends with 0. */
void signals_open(struct signals *signals, struct loop *loop, const int *numbers,
                  void (*on_signal)(struct signals *signals, int number));

/* Closes the handles; nothing is told of that. May be called twice. */
void signals_close(struct signals *signals);

#endif
