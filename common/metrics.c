#include "common/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

#define PAGE_MAGIC 0x70676d78u /* "pgmx" */
#define LAYOUT_VERSION 2u      /* of what the table doesn't say: the header and the slots' form */

struct page_header {
    _Alignas(METRICS_CACHE_LINE) uint32_t magic;
    uint32_t version;
    uint32_t table; /* a checksum: another table is another layout */
    uint32_t slots;
    uint32_t slot_size;
};

enum type { COUNTER, GAUGE };

/* METRICS_TABLE as it is written: a family, then its rows. The n-th row is enum metric's n. */
static const struct entry {
    const char *family; /* NULL: a row of the family before */
    const char *help;
    enum type type;
    const char *label;
} table[] = {
#define FAMILY(type, name, help) {name, help, type, ""},
#define ROW(name, label) {NULL, NULL, COUNTER, label},
    METRICS_TABLE(FAMILY, ROW)
#undef FAMILY
#undef ROW
};

static const struct {
    const char *name, *help;
} histograms[] = {
#define HISTOGRAM(name, prometheus_name, help) {prometheus_name, help},
    METRICS_HISTOGRAMS(HISTOGRAM)
#undef HISTOGRAM
};

/* ── The page ─────────────────────────────────────────────────────────────────────────────── */

/* FNV-1a over names and labels, ends included. */
static uint32_t add_to_checksum(uint32_t checksum, const char *string)
{
    for (size_t i = 0; i <= strlen(string); i++) {
        checksum = (checksum ^ (unsigned char)string[i]) * 16777619u;
    }
    return checksum;
}

static uint32_t table_checksum(void)
{
    uint32_t checksum = 2166136261u;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        checksum = add_to_checksum(checksum, table[i].family ? table[i].family : table[i].label);
    }
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
        checksum = add_to_checksum(checksum, histograms[i].name);
    }
    return checksum;
}

static size_t page_size(uint32_t slots)
{
    return sizeof(struct page_header) + slots * sizeof(struct metrics_slot);
}

/* NULL, and why in errno, when it can't be mapped. */
static void *map_memory(int fd, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* The size is sealed, so that no child can cut the page off under the supervisor. */
static int make_file(size_t size)
{
    int fd = memfd_create("progressd-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int metrics_page_create(uint32_t slots, struct metrics_page *ret_page, int *ret_fd)
{
    assert(slots > 0 && slots <= METRICS_MAX_SLOTS);
    size_t size = page_size(slots);
    int fd = make_file(size);
    if (fd < 0) {
        return fd;
    }
    void *memory = map_memory(fd, size);
    if (!memory) {
        int r = -errno;
        close(fd);
        return r;
    }
    *(struct page_header *)memory = (struct page_header){
        .magic = PAGE_MAGIC,
        .version = LAYOUT_VERSION,
        .table = table_checksum(),
        .slots = slots,
        .slot_size = sizeof(struct metrics_slot),
    };
    *ret_page = (struct metrics_page){memory, size, slots};
    *ret_fd = fd;
    return 0;
}

static bool is_our_layout(const struct page_header *header, size_t size)
{
    return header->magic == PAGE_MAGIC && header->version == LAYOUT_VERSION &&
           header->table == table_checksum() && header->slot_size == sizeof(struct metrics_slot) &&
           header->slots > 0 && header->slots <= METRICS_MAX_SLOTS &&
           size == page_size(header->slots);
}

int metrics_page_map(int fd, struct metrics_page *ret_page)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0) {
        return -errno;
    }
    if (!S_ISREG(stat.st_mode) || stat.st_size < (off_t)sizeof(struct page_header)) {
        return METRICS_OTHER_LAYOUT;
    }
    size_t size = (size_t)stat.st_size;
    void *memory = map_memory(fd, size);
    if (!memory) {
        return -errno;
    }
    const struct page_header *header = memory;
    if (!is_our_layout(header, size)) {
        munmap(memory, size);
        return METRICS_OTHER_LAYOUT;
    }
    *ret_page = (struct metrics_page){memory, size, header->slots};
    return 0;
}

void metrics_page_unmap(struct metrics_page *page)
{
    if (page->memory) {
        munmap(page->memory, page->size);
    }
    *page = (struct metrics_page){NULL, 0, 0};
}

struct metrics_slot *metrics_slot(const struct metrics_page *page, uint32_t i)
{
    assert(i < page->slots);
    struct page_header *header = page->memory;
    return (struct metrics_slot *)(header + 1) + i;
}

void metrics_slot_reset_gauges(struct metrics_slot *slot)
{
    enum type type = COUNTER;
    enum metric metric = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].family) {
            type = table[i].type;
            continue;
        }
        if (type == GAUGE) {
            metric_set(slot, metric, 0);
        }
        metric++;
    }
}

uint64_t metrics_sum(const struct metrics_page *page, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < page->slots; i++) {
        sum += metric_read(metrics_slot(page, i), metric);
    }
    return sum;
}

/* ── Metrics of codes ─────────────────────────────────────────────────────────────────────── */

enum metric metric_of_close_code(unsigned code)
{
    switch (code) {
#define CASE(code) \
    case code:     \
        return METRIC_CLOSES_##code;
        CASE(1000)
        CASE(1001)
        CASE(1002)
        CASE(1003)
        CASE(1005)
        CASE(1006)
        CASE(1007)
        CASE(1008)
        CASE(1009)
        CASE(1011)
        CASE(1012)
        CASE(1013)
        CASE(4401)
        CASE(4403)
        CASE(4408)
        CASE(4429)
#undef CASE
    default:
        return METRIC_CLOSES_OTHER;
    }
}

enum metric metric_of_http_status(unsigned status)
{
    switch (status) {
#define CASE(status) \
    case status:     \
        return METRIC_HTTP_##status;
        CASE(200)
        CASE(204)
        CASE(304)
        CASE(400)
        CASE(401)
        CASE(403)
        CASE(404)
        CASE(405)
        CASE(413)
        CASE(426)
        CASE(429)
        CASE(431)
        CASE(503)
#undef CASE
    default:
        return METRIC_HTTP_OTHER;
    }
}

/* ── Prometheus' text ─────────────────────────────────────────────────────────────────────── */

static void write_head(struct text *text, const char *name, const char *type, const char *help)
{
    text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_metrics(struct text *text, const struct metrics_page *page)
{
    const char *family = NULL;
    enum metric metric = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].family) {
            family = table[i].family;
            write_head(text, family, table[i].type == GAUGE ? "gauge" : "counter", table[i].help);
            continue;
        }
        bool labelled = table[i].label[0] != '\0';
        text_printf(text, "%s%s%s%s %" PRIu64 "\n", family, labelled ? "{" : "", table[i].label,
                    labelled ? "}" : "", metrics_sum(page, metric));
        metric++;
    }
}

/* A histogram's sum over all slots. */
struct totals {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t sum_us;
};

static struct totals add_up(const struct metrics_page *page, enum histogram which)
{
    struct totals totals = {.sum_us = 0};
    for (uint32_t i = 0; i < page->slots; i++) {
        const struct metrics_histogram *histogram = &metrics_slot(page, i)->histograms[which];
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
            totals.buckets[b] += atomic_load_explicit(&histogram->buckets[b], memory_order_relaxed);
        }
        totals.sum_us += atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
    }
    return totals;
}

/* Seconds as a decimal, exact to the microsecond. */
#define SECONDS_FORMAT "%" PRIu64 ".%06" PRIu64
#define SECONDS(us) (us) / 1000000, (us) % 1000000

/* Prometheus' buckets count all that is shorter, too; the last is the count, so that the two agree
 * though workers go on counting while they are read. */
static void write_histogram(struct text *text, const struct metrics_page *page,
                            enum histogram which)
{
    const char *name = histograms[which].name;
    struct totals totals = add_up(page, which);
    uint64_t count = 0;

    write_head(text, name, "histogram", histograms[which].help);
    for (unsigned b = 0; b < HISTOGRAM_BOUNDS; b++) {
        uint64_t bound_us = UINT64_C(1) << (HISTOGRAM_LEAST_BITS + b);
        count += totals.buckets[b];
        text_printf(text, "%s_bucket{le=\"" SECONDS_FORMAT "\"} %" PRIu64 "\n", name,
                    SECONDS(bound_us), count);
    }
    count += totals.buckets[HISTOGRAM_BOUNDS];
    text_printf(text, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    text_printf(text, "%s_sum " SECONDS_FORMAT "\n", name, SECONDS(totals.sum_us));
    text_printf(text, "%s_count %" PRIu64 "\n", name, count);
}

static void write_worker_connections(struct text *text, const struct metrics_page *page,
                                     const uint32_t *slots, uint32_t workers)
{
    static const char name[] = "progressd_worker_connections";
    write_head(text, name, "gauge", "Open client connections of each worker.");
    for (uint32_t i = 0; i < workers; i++) {
        text_printf(text, "%s{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", name, slots[i],
                    metric_read(metrics_slot(page, slots[i]), METRIC_CONNECTIONS));
    }
}

void metrics_write_prometheus(struct text *text, const struct metrics_page *page,
                              const uint32_t *slots, uint32_t workers)
{
    write_metrics(text, page);
    for (unsigned i = 0; i < HISTOGRAM_COUNT; i++) {
        write_histogram(text, page, (enum histogram)i);
    }
    write_worker_connections(text, page, slots, workers);
}
