#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/auth/auth.h"
#include "common/map.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/text.h"
#include "proto/message_tables.h"

static struct metrics_page page;
static int fd = -1;

static void create(uint32_t slots)
{
    cr_assert_eq(metrics_page_create(slots, &page, &fd), 0);
}

static void drop(void)
{
    metrics_page_unmap(&page);
    close(fd);
}

static struct text written(uint32_t workers)
{
    struct text text = TEXT_EMPTY;
    metrics_write_prometheus(&text, &page, (const uint32_t[]){0, 1, 2}, workers);
    cr_assert_not(text_failed(&text));
    return text;
}

/* Whether the text has exactly that line. */
static bool has_line(const struct text *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = text->data; (at = strstr(at, line)); at++) {
        if ((at == text->data || at[-1] == '\n') && at[len] == '\n') {
            return true;
        }
    }
    return false;
}

static void assert_line(const char *line)
{
    struct text text = written(1);
    cr_assert(has_line(&text, line), "no line: %s", line);
    text_deinit(&text);
}

/* ── The page ─────────────────────────────────────────────────────────────────────────────── */

Test(metrics, a_new_page_is_all_zeros_and_its_slots_are_apart)
{
    create(3);
    cr_assert_eq(page.slots, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq((uintptr_t)metrics_slot(&page, i) % METRICS_CACHE_LINE, 0);
        for (unsigned m = 0; m < METRIC_COUNT; m++) {
            cr_assert_eq(metric_read(metrics_slot(&page, i), (enum metric)m), 0);
        }
    }
    metric_add(metrics_slot(&page, 1), METRIC_CONNECTIONS, 5);
    cr_assert_eq(metric_read(metrics_slot(&page, 0), METRIC_CONNECTIONS), 0);
    cr_assert_eq(metric_read(metrics_slot(&page, 2), METRIC_CONNECTIONS), 0);
    drop();
}

Test(metrics, what_a_child_counts_is_seen_by_its_parent_and_survives_it)
{
    create(2);
    for (int round = 1; round <= 2; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct metrics_page own;
            if (metrics_page_map(fd, &own) == 0) {
                metric_add(metrics_slot(&own, 1), METRIC_MESSAGES_DELIVERED, 7);
                metric_add(metrics_slot(&own, 1), METRIC_CONNECTIONS, 3);
            }
            _exit(0);
        }
        cr_assert_eq(waitpid(child, NULL, 0), child);
        cr_assert_eq(metrics_sum(&page, METRIC_MESSAGES_DELIVERED), 7 * (uint64_t)round);
        cr_assert_eq(metrics_sum(&page, METRIC_CONNECTIONS), 3);
        metrics_slot_reset_gauges(metrics_slot(&page, 1));
        cr_assert_eq(metrics_sum(&page, METRIC_MESSAGES_DELIVERED), 7 * (uint64_t)round);
        cr_assert_eq(metrics_sum(&page, METRIC_CONNECTIONS), 0);
    }
    drop();
}

Test(metrics, resetting_zeroes_every_gauge_and_no_counter)
{
    static const enum metric gauges[] = {METRIC_CONNECTIONS,
                                         METRIC_ACCEPTING_PAUSED,
                                         METRIC_HANDSHAKES_IN_FLIGHT,
                                         METRIC_SUBSCRIPTIONS,
                                         METRIC_TASKS_WATCHED,
                                         METRIC_WEBSOCKET_CONNECTIONS,
                                         METRIC_LINKS_UP,
                                         METRIC_RECORDER_ACTIVE,
                                         METRIC_LIBRARY_DISAGREES,
                                         METRIC_TASKS_WITHOUT_STATE,
                                         METRIC_TLS_CERTIFICATE_EXPIRES};
    struct metrics_slot slot = {0};

    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        metric_set(&slot, (enum metric)m, 9);
    }
    metrics_slot_reset_gauges(&slot);
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        bool is_gauge = false;
        for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
            is_gauge = is_gauge || gauges[i] == (enum metric)m;
        }
        cr_assert_eq(metric_read(&slot, (enum metric)m), is_gauge ? 0 : 9, "metric %u", m);
    }
}

Test(metrics, a_child_cannot_cut_the_page_off)
{
    create(1);
    cr_assert_eq(ftruncate(fd, 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    drop();
}

Test(metrics, a_page_of_another_layout_is_refused)
{
    struct metrics_page mapped = {NULL, 1, 1};
    create(2);

    /* magic, version, table, slots, slot size */
    for (unsigned word = 0; word < 5; word++) {
        uint32_t *header = page.memory;
        header[word] ^= 1;
        cr_assert_eq(metrics_page_map(fd, &mapped), METRICS_OTHER_LAYOUT, "word %u", word);
        header[word] ^= 1;
    }
    cr_assert_null(mapped.memory);
    cr_assert_eq(metrics_page_map(fd, &mapped), 0);
    metrics_page_unmap(&mapped);
    metrics_page_unmap(&mapped);
    drop();
}

Test(metrics, what_is_no_page_is_refused)
{
    struct metrics_page mapped;
    int pipe_ends[2];
    cr_assert_eq(pipe(pipe_ends), 0);
    int empty = memfd_create("empty", 0), zeros = memfd_create("zeros", 0);
    cr_assert_eq(ftruncate(zeros, 8192), 0);

    cr_assert_eq(metrics_page_map(pipe_ends[0], &mapped), METRICS_OTHER_LAYOUT);
    cr_assert_eq(metrics_page_map(empty, &mapped), METRICS_OTHER_LAYOUT);
    cr_assert_eq(metrics_page_map(zeros, &mapped), METRICS_OTHER_LAYOUT);
    cr_assert_eq(metrics_page_map(-1, &mapped), -EBADF);
}

/* ── Codes ────────────────────────────────────────────────────────────────────────────────── */

Test(metrics, each_close_code_of_the_protocol_has_a_row_of_its_own)
{
    static const unsigned codes[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                     1011, 1012, 1013, 4401, 4403, 4408, 4429};
    create(1);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        char line[64];
        cr_assert_not_null(close_code_reason((enum close_code)codes[i]));
        snprintf(line, sizeof(line), "progressd_closes_total{code=\"%u\"} 1", codes[i]);
        metric_add(metrics_slot(&page, 0), metric_of_close_code(codes[i]), 1);
        assert_line(line);
    }
    cr_assert_eq(metric_of_close_code(1004), METRIC_CLOSES_OTHER);
    cr_assert_eq(metric_of_close_code(0), METRIC_CLOSES_OTHER);
    drop();
}

Test(metrics, each_http_status_has_a_row_of_its_own)
{
    static const unsigned codes[] = {200, 204, 304, 400, 401, 403, 404,
                                     405, 413, 426, 429, 431, 503};
    create(1);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        char line[64];
        snprintf(line, sizeof(line), "progressd_http_requests_total{code=\"%u\"} 1", codes[i]);
        metric_add(metrics_slot(&page, 0), metric_of_http_status(codes[i]), 1);
        assert_line(line);
    }
    cr_assert_eq(metric_of_http_status(500), METRIC_HTTP_OTHER);
    drop();
}

Test(metrics, request_errors_stand_in_the_order_of_the_protocols_error_codes)
{
    create(1);
    for (unsigned code = 0; code < ERROR_CODES; code++) {
        char line[96];
        snprintf(line, sizeof(line), "progressd_request_errors_total{code=\"%s\"} 1",
                 error_code_name((enum error_code)code));
        metric_add(metrics_slot(&page, 0),
                   (enum metric)(METRIC_REQUEST_ERROR_INVALID_MESSAGE + code), 1);
        assert_line(line);
    }
    drop();
}

Test(metrics, auth_failures_stand_in_the_order_of_their_enum)
{
    static const char *const labels[] = {
#define X(name, label, text) [name] = label,
        AUTH_FAILURES(X)
#undef X
    };
    create(1);
    for (unsigned i = 0; i < ARRAY_LEN(labels); i++) {
        char line[96];
        snprintf(line, sizeof(line), "progressd_auth_failures_total{reason=\"%s\"} 1", labels[i]);
        metric_add(metrics_slot(&page, 0), (enum metric)(METRIC_AUTH_MISSING + i), 1);
        assert_line(line);
    }
    drop();
}

/* ── Histograms ───────────────────────────────────────────────────────────────────────────── */

/* The bucket that one observation went into. */
static unsigned bucket_of(uint64_t microseconds)
{
    struct metrics_histogram histogram = {0};
    unsigned found = HISTOGRAM_BUCKETS;

    metrics_histogram_observe(&histogram, microseconds);
    cr_assert_eq(histogram.sum_us, microseconds);
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        if (histogram.buckets[b] != 0) {
            cr_assert_eq(histogram.buckets[b], 1);
            cr_assert_eq(found, HISTOGRAM_BUCKETS, "in two buckets");
            found = b;
        }
    }
    return found;
}

Test(metrics, a_duration_goes_into_the_smallest_bucket_whose_bound_it_does_not_pass)
{
    cr_assert_eq(bucket_of(0), 0);
    cr_assert_eq(bucket_of(1), 0);
    for (unsigned b = 0; b < HISTOGRAM_BOUNDS; b++) {
        uint64_t bound = UINT64_C(64) << b;
        cr_assert_eq(bucket_of(bound - 1), b);
        cr_assert_eq(bucket_of(bound), b);
        cr_assert_eq(bucket_of(bound + 1), b + 1);
    }
    cr_assert_eq(bucket_of(UINT64_MAX), HISTOGRAM_BOUNDS);
}

Test(metrics, a_histogram_is_written_cumulated_over_buckets_and_slots_in_seconds)
{
    create(3);
    metrics_histogram_observe(&metrics_slot(&page, 0)->histograms[HISTOGRAM_LOOP_DELAY], 64);
    metrics_histogram_observe(&metrics_slot(&page, 1)->histograms[HISTOGRAM_LOOP_DELAY], 65);
    metrics_histogram_observe(&metrics_slot(&page, 2)->histograms[HISTOGRAM_LOOP_DELAY], 20000000);

    assert_line("# TYPE progressd_loop_delay_seconds histogram");
    assert_line("progressd_loop_delay_seconds_bucket{le=\"0.000064\"} 1");
    assert_line("progressd_loop_delay_seconds_bucket{le=\"0.000128\"} 2");
    assert_line("progressd_loop_delay_seconds_bucket{le=\"16.777216\"} 2");
    assert_line("progressd_loop_delay_seconds_bucket{le=\"+Inf\"} 3");
    assert_line("progressd_loop_delay_seconds_sum 20.000129");
    assert_line("progressd_loop_delay_seconds_count 3");
    assert_line("progressd_delivery_delay_seconds_count 0");
    drop();
}

/* ── Prometheus' text ─────────────────────────────────────────────────────────────────────── */

Test(metrics, slots_are_summed_and_workers_shown_one_by_one)
{
    create(4);
    metric_add(metrics_slot(&page, 0), METRIC_CONNECTIONS, 10);
    metric_add(metrics_slot(&page, 1), METRIC_CONNECTIONS, 5);
    metric_sub(metrics_slot(&page, 1), METRIC_CONNECTIONS, 1);
    metric_set(metrics_slot(&page, 3), METRIC_WORKER_RESTARTS, UINT64_MAX);

    struct text text = written(2);
    cr_assert(has_line(&text, "progressd_connections 14"));
    cr_assert(has_line(&text, "progressd_worker_connections{worker=\"0\"} 10"));
    cr_assert(has_line(&text, "progressd_worker_connections{worker=\"1\"} 4"));
    cr_assert(has_line(&text, "progressd_worker_restarts_total 18446744073709551615"));
    cr_assert_null(strstr(text.data, "worker=\"2\""));
    text_deinit(&text);
    drop();
}

static bool ends_with(const char *name, const char *end)
{
    return strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* What the format's checker knows while it goes through the lines. */
struct format_check {
    struct map seen; /* families, and samples with their labels */
    char family[128];
    char type[16]; /* "" between HELP and TYPE */
    unsigned samples;
};

static void check_new(struct format_check *check, const char *key)
{
    cr_assert_null(map_get(&check->seen, key, strlen(key)), "twice: %s", key);
    char *copy = mem_strndup(key, strlen(key));
    cr_assert_eq(map_add(&check->seen, copy, strlen(copy), copy), 0);
}

static void check_name(const char *name)
{
    cr_assert(isalpha((unsigned char)name[0]) || name[0] == '_', "%s", name);
    for (const char *at = name; *at; at++) {
        cr_assert(isalnum((unsigned char)*at) || *at == '_', "%s", name);
    }
}

static void check_comment(struct format_check *check, const char *line)
{
    char name[128], type[16];
    int text_at = 0;
    if (sscanf(line, "# HELP %127s %n", name, &text_at) == 1 && text_at > 0) {
        check_name(name);
        check_new(check, name);
        cr_assert_null(strchr(line, '\\'));
        cr_assert_eq(line[strlen(line) - 1], '.', "help is a sentence: %s", line);
        cr_assert(check->family[0] == '\0' || check->samples > 0, "no sample: %s", check->family);
        strcpy(check->family, name);
        check->type[0] = '\0';
        check->samples = 0;
        return;
    }
    cr_assert_eq(sscanf(line, "# TYPE %127s %15s", name, type), 2, "%s", line);
    cr_assert_str_eq(name, check->family, "TYPE follows HELP");
    cr_assert_str_empty(check->type);
    cr_assert(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
              strcmp(type, "histogram") == 0);
    cr_assert_eq(strcmp(type, "counter") == 0, ends_with(name, "_total"), "%s", name);
    strcpy(check->type, type);
}

/* {name="value"} and nothing that would need an escape. */
static void check_labels(const char *labels)
{
    char name[64], value[64];
    int end = 0;
    cr_assert_eq(sscanf(labels, "{%63[a-z]=\"%63[-A-Za-z0-9_.+]\"}%n", name, value, &end), 2, "%s",
                 labels);
    cr_assert_eq((size_t)end, strlen(labels), "%s", labels);
}

static void check_sample(struct format_check *check, char *line)
{
    char *space = strrchr(line, ' '), *rest;
    cr_assert_not_null(space);
    strtod(space + 1, &rest);
    cr_assert(rest > space + 1 && *rest == '\0', "no number: %s", line);
    *space = '\0';

    /* A sample is a name with its labels; HELP's names were put into the same set, without them. */
    char key[256];
    snprintf(key, sizeof(key), "sample %s", line);
    check_new(check, key);

    char *labels = strchr(line, '{');
    if (labels) {
        check_labels(labels);
        *labels = '\0';
    }
    check_name(line);
    size_t family_len = strlen(check->family);
    cr_assert_eq(strncmp(line, check->family, family_len), 0, "%s outside its family", line);
    const char *suffix = line + family_len;
    if (strcmp(check->type, "histogram") == 0) {
        cr_assert(strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_sum") == 0 ||
                  strcmp(suffix, "_count") == 0);
    } else {
        cr_assert_str_empty(suffix);
    }
    check->samples++;
}

Test(metrics, the_text_keeps_to_the_rules_of_the_format)
{
    struct format_check check = {.family = "", .type = ""};
    map_init(&check.seen);
    create(5);
    struct text text = written(3);

    cr_assert_eq(text.data[text.len - 1], '\n');
    for (char *line = text.data; *line;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        if (line[0] == '#') {
            check_comment(&check, line);
        } else {
            check_sample(&check, line);
        }
        line = end + 1;
    }
    cr_assert_eq(check.samples, 3); /* the last family: the workers */

    uint32_t position = 0;
    for (char *key; (key = map_next(&check.seen, &position));) {
        mem_free(key);
    }
    map_deinit(&check.seen);
    text_deinit(&text);
    drop();
}
