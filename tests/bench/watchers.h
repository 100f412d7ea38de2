/* Many watchers in one process, which read and count what they are sent as cheaply as can be.
 *
 * Receives   updates of tasks, over loopback TCP: from progressd, or from send_loop as bare frames
 * Hands on   numbers: how many came, of which task, how late
 * Owns       the sockets and an epoll instance
 *
 * Watcher i watches task i % tasks. Anything that goes wrong ends the process, with a word.
 */
#ifndef PROGRESSD_TESTS_BENCH_WATCHERS_H
#define PROGRESSD_TESTS_BENCH_WATCHERS_H

#include <stdint.h>

/* Every n-th update's age is noted. */
#define WATCHERS_SAMPLE 8
#define WATCHERS_SAMPLES_MAX (1u << 20)

struct watchers {
    int epoll_fd;
    uint32_t count, tasks;
    struct watcher *items;
    uint64_t updates, bytes; /* of updates, frame headers included */
    uint64_t *task_updates;  /* of each task */
    uint32_t *ages_us;       /* from publication to the read, of every WATCHERS_SAMPLE-th update */
    uint32_t ages;
};

/* The name of task `i`; all are of one length. */
#define WATCHERS_TASK_FORMAT "bench-%05u"

/* Connects them all, some at a time. With a token they are WebSocket clients that subscribe; with
 * NULL they say no more than the number of their task, in 4 bytes. */
void watchers_open(struct watchers *watchers, uint32_t count, uint32_t tasks, uint16_t port,
                   const char *token);

/* Waits for something to read, at most `timeout_ms`, and reads it. Whether something came. */
int watchers_read(struct watchers *watchers, int timeout_ms);

/* Begins to count anew. */
void watchers_reset(struct watchers *watchers);

/* Microseconds since 1970, as revs have them. */
uint64_t wall_clock_us(void);

/* Prints what went wrong, and ends the process. */
_Noreturn void die(const char *what);

#endif
