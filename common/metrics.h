/* Metrics: counters in memory that all processes of a node share, one slot a process.
 *
 * Receives   increments, from every module of a worker, the recorder, the supervisor
 * Hands on   sums, and Prometheus' text of all processes of a node
 * Owns       the mapping of the page; metrics_table.h lists what is counted
 *
 * The supervisor creates the page and hands its descriptor to its children. It gives each process
 * a slot, and only that process writes it: so an increment is a load and a store, without a lock
 * (relaxed atomics, since others read meanwhile). A worker never answers for another.
 *
 * A slot survives its process: the replacement goes on counting where the dead one stopped, so that
 * sums never go back. Only the gauges are zeroed, by the supervisor, between the two.
 */
#ifndef PROGRESSD_COMMON_METRICS_H
#define PROGRESSD_COMMON_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/metrics_table.h"
#include "common/result.h"

struct text;

enum metric {
#define METRICS_FAMILY(type, name, help)
#define METRICS_ROW(name, label) METRIC_##name,
    METRICS_TABLE(METRICS_FAMILY, METRICS_ROW)
#undef METRICS_FAMILY
#undef METRICS_ROW
        METRIC_COUNT
};

enum histogram {
#define METRICS_HISTOGRAM(name, prometheus_name, help) HISTOGRAM_##name,
    METRICS_HISTOGRAMS(METRICS_HISTOGRAM)
#undef METRICS_HISTOGRAM
        HISTOGRAM_COUNT
};

/* Bucket i counts what took up to 2^(6 + i) microseconds and fits no smaller one: 64 us, 128 us,
 * … 16.8 s; the last takes what is longer. */
#define HISTOGRAM_LEAST_BITS 6
#define HISTOGRAM_BOUNDS 19
#define HISTOGRAM_BUCKETS (HISTOGRAM_BOUNDS + 1)

struct metrics_histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
};

#define METRICS_CACHE_LINE 64

/* What one process counts. All zeros is a fresh slot, which tests may have on the stack. */
struct metrics_slot {
    _Alignas(METRICS_CACHE_LINE) _Atomic uint64_t values[METRIC_COUNT];
    struct metrics_histogram histograms[HISTOGRAM_COUNT];
    _Atomic uint64_t alive_ms; /* when its process' loop last turned, by CLOCK_MONOTONIC */
};

#define METRICS_MAX_SLOTS 1024

/* This process' view of the page. */
struct metrics_page {
    void *memory; /* begins with the layout's version, then come the slots */
    size_t size;
    uint32_t slots;
};

/* Creates a page of 1 to METRICS_MAX_SLOTS fresh slots, and maps it. *ret_fd is a memfd of the
 * caller's, closed on exec, for children to map; its size is sealed. 0 or -errno. */
int metrics_page_create(uint32_t slots, struct metrics_page *ret_page, int *ret_fd) MUST_CHECK;

enum metrics_page_outcome { METRICS_OTHER_LAYOUT = 1 };

/* Maps a page that the supervisor created; `fd` stays the caller's, and may be closed. 0, -errno,
 * or METRICS_OTHER_LAYOUT: it isn't such a page, or that of a program with other metrics. */
int metrics_page_map(int fd, struct metrics_page *ret_page) MUST_CHECK;

/* Unmaps; slots of the page are gone for this process. Accepts a page that is all zeros. */
void metrics_page_unmap(struct metrics_page *page);

/* Slot `i`, below page->slots. */
struct metrics_slot *metrics_slot(const struct metrics_page *page, uint32_t i);

/* Zeroes the gauges of a slot whose process has ended. */
void metrics_slot_reset_gauges(struct metrics_slot *slot);

/* The sum of a metric over all slots. */
uint64_t metrics_sum(const struct metrics_page *page, enum metric metric);

/* The metric that counts closes with that code, METRIC_CLOSES_OTHER for any code not listed. */
enum metric metric_of_close_code(unsigned code);

/* The metric that counts answers of that HTTP status, METRIC_HTTP_OTHER for one not listed. */
enum metric metric_of_http_status(unsigned status);

/* Appends everything in Prometheus' text format 0.0.4: the sums over all slots, then the
 * connections of each of the `workers` slots of a list. */
void metrics_write_prometheus(struct text *text, const struct metrics_page *page,
                              const uint32_t *slots, uint32_t workers);

static inline uint64_t metric_read(const struct metrics_slot *slot, enum metric metric)
{
    return atomic_load_explicit(&slot->values[metric], memory_order_relaxed);
}

/* Sets a gauge of the own slot. */
static inline void metric_set(struct metrics_slot *slot, enum metric metric, uint64_t value)
{
    atomic_store_explicit(&slot->values[metric], value, memory_order_relaxed);
}

/* Adds to a counter or gauge of the own slot. */
static inline void metric_add(struct metrics_slot *slot, enum metric metric, uint64_t n)
{
    metric_set(slot, metric, metric_read(slot, metric) + n);
}

/* Takes from a gauge of the own slot what was added before. */
static inline void metric_sub(struct metrics_slot *slot, enum metric metric, uint64_t n)
{
    assert(metric_read(slot, metric) >= n);
    metric_set(slot, metric, metric_read(slot, metric) - n);
}

/* The sign of life of the own slot's process; now_ms is uv_now(), which all processes share. */
static inline void metrics_sign_of_life(struct metrics_slot *slot, uint64_t now_ms)
{
    atomic_store_explicit(&slot->alive_ms, now_ms, memory_order_relaxed);
}

static inline uint64_t metrics_last_sign_of_life(const struct metrics_slot *slot)
{
    return atomic_load_explicit(&slot->alive_ms, memory_order_relaxed);
}

/* Counts one duration in a histogram of the own slot. */
static inline void metrics_histogram_observe(struct metrics_histogram *histogram,
                                             uint64_t microseconds)
{
    /* A bound belongs to its bucket, so the bits of the number before count; the ones below keep
     * them at HISTOGRAM_LEAST_BITS at least. */
    uint64_t before = microseconds - (microseconds > 0);
    unsigned bits = 64 - (unsigned)__builtin_clzll(before | ((1u << HISTOGRAM_LEAST_BITS) - 1));
    unsigned bucket = bits - HISTOGRAM_LEAST_BITS;
    if (bucket > HISTOGRAM_BOUNDS) {
        bucket = HISTOGRAM_BOUNDS;
    }
    _Atomic uint64_t *count = &histogram->buckets[bucket];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&histogram->sum_us,
                          atomic_load_explicit(&histogram->sum_us, memory_order_relaxed) +
                              microseconds,
                          memory_order_relaxed);
}

#endif
