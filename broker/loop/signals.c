#include "broker/loop/signals.h"

static void on_handle_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;

    signals->on_signal(signals, number);
}

void signals_open(struct signals *signals, struct loop *loop, const int *numbers,
                  void (*on_signal)(struct signals *signals, int number))
{
    signals->on_signal = on_signal;
    signals->count = 0;
    for (; *numbers; numbers++) {
        assert(signals->count < SIGNALS_MAX);
        uv_signal_t *handle = &signals->handles[signals->count++];

        /* Fail only for numbers that are no signals. */
        int rc = uv_signal_init(&loop->uv, handle);
        handle->data = signals;
        rc = rc < 0 ? rc : uv_signal_start(handle, on_handle_signal, *numbers);
        assert(rc == 0);
        (void)rc;
    }
}

void signals_close(struct signals *signals)
{
    for (int i = 0; i < signals->count; i++) {
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
    }
    signals->count = 0;
}
