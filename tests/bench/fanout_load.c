/* The load of tests/bench/fanout: watchers of tasks, and the job that publishes to them.
 *
 *   fanout_load --port PORT --publish SOCKET --pid PID --watchers N --tasks T [--token TOKEN]
 *
 * With a token: PORT is progressd's, SOCKET that of its Redis, PID its worker's. Without one: they
 * are send_loop's, and updates go to it as the frames it is to send.
 *
 * Prints how many watchers are connected, which may be fewer than N; then reads lines from standard
 * input, "run RATE SECONDS", and prints a line of JSON for each. RATE is updates a second, task by
 * task in turn; at 0 each task's next update is published as soon as all have got the last one.
 * Ends with its input.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/ws_frame.h"
#include "tests/bench/send_loop.h"
#include "tests/bench/watchers.h"

#define DESCRIPTORS_BESIDE_WATCHERS 32

/* A run is over when nothing came for this long, although something should. */
#define QUIET_MS 1000

/* The usual update, of one length whatever is in it. */
#define PAYLOAD_FORMAT                                 \
    "{\"percentage\":%.2f,\"stage\":\"transcribing\"," \
    "\"timestamp\":\"2026-01-01T00:00:00.000Z\"}"

struct options {
    uint16_t port;
    const char *publish, *token;
    int pid;
    uint32_t watchers, tasks;
};

struct load {
    const struct options *options;
    struct watchers watchers;
    int publish_fd;
    uint64_t published;
    uint64_t *task_published;
};

/* What a process has used of the processor, in microseconds. */
struct cpu {
    double total, user;
};

/* ── Publishing ──────────────────────────────────────────────────────────────────────────────── */

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        die(path);
    }
    strcpy(address.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die(path);
    }
    return fd;
}

static void write_all(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("publishing");
    }
}

static void publish_to_redis(struct load *load, uint32_t task, const char *payload)
{
    char key[32], command[1024];
    int key_len = snprintf(key, sizeof(key), "progress:" WATCHERS_TASK_FORMAT, task);
    int len = snprintf(command, sizeof(command),
                       "*6\r\n$5\r\nFCALL\r\n$16\r\nprogress_publish\r\n$1\r\n1\r\n"
                       "$%d\r\n%s\r\n$15\r\nprogress_update\r\n$%zu\r\n%s\r\n",
                       key_len, key, strlen(payload), payload);

    write_all(load->publish_fd, command, (size_t)len);
}

/* What the broker would make of it: send_loop has only to send it. */
static void publish_to_send_loop(struct load *load, uint32_t task, const char *payload)
{
    struct send_loop_update update = {.task = task};
    char text[sizeof(update.frame) - WS_HEADER_MAX];
    size_t header;
    int len = snprintf(text, sizeof(text),
                       "{\"type\":\"progress_update\",\"taskId\":\"" WATCHERS_TASK_FORMAT
                       "\",\"rev\":\"he2nq8zvn8-%" PRIu64 "\",\"payload\":%s}",
                       task, wall_clock_us(), payload);

    header = ws_frame_header(update.frame, WS_TEXT, (uint64_t)len, NULL);
    memcpy(update.frame + header, text, (size_t)len);
    update.len = (uint32_t)header + (uint32_t)len;
    write_all(load->publish_fd, &update, sizeof(update));
}

static void publish(struct load *load, uint32_t task)
{
    char payload[256];

    snprintf(payload, sizeof(payload), PAYLOAD_FORMAT, 10 + (double)(load->published % 8990) / 100);
    if (load->options->token) {
        publish_to_redis(load, task, payload);
    } else {
        publish_to_send_loop(load, task, payload);
    }
    load->published++;
    load->task_published[task]++;
}

/* Reads Redis' answers, which all must be revs: "$27\r\n…\r\n". */
static void read_answers(struct load *load)
{
    static char answers[65536];
    ssize_t n;

    while ((n = recv(load->publish_fd, answers, sizeof(answers), MSG_DONTWAIT)) > 0) {
        if (memmem(answers, (size_t)n, "\r\n-", 3) || answers[0] == '-') {
            fprintf(stderr, "Redis answers: %.*s", (int)n, answers);
            exit(EXIT_FAILURE);
        }
    }
    if (n == 0 || errno != EAGAIN) {
        die("the connection for publishing");
    }
}

/* ── A run ───────────────────────────────────────────────────────────────────────────────────── */

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The kernel counts the total exactly, and tells user and system apart by samples. */
static struct cpu cpu_of(int pid)
{
    unsigned long long ns;
    unsigned long user, system;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
    file = fopen(path, "re");
    if (!file || fscanf(file, "%llu", &ns) != 1) {
        die(path);
    }
    fclose(file);
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file || fscanf(file,
                        "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                        "%lu %lu",
                        &user, &system) != 2) {
        die(path);
    }
    fclose(file);
    return (struct cpu){.total = (double)ns / 1e3,
                        .user = (double)user * 1e6 / (double)sysconf(_SC_CLK_TCK)};
}

static uint64_t watchers_of(const struct load *load, uint32_t task)
{
    const uint32_t tasks = load->options->tasks;

    return (load->watchers.count - task + tasks - 1) / tasks;
}

static bool has_arrived(const struct load *load, uint32_t task)
{
    return load->watchers.task_updates[task] >=
           load->task_published[task] * watchers_of(load, task);
}

static bool have_all_arrived(const struct load *load)
{
    for (uint32_t task = 0; task < load->options->tasks; task++) {
        if (!has_arrived(load, task)) {
            return false;
        }
    }
    return true;
}

/* Publishes what is due, and says how long nothing will be. */
static int publish_due(struct load *load, double rate, double elapsed)
{
    const uint32_t tasks = load->options->tasks;

    if (rate == 0) {
        for (uint32_t task = 0; task < tasks; task++) {
            if (has_arrived(load, task)) {
                publish(load, task);
            }
        }
        return QUIET_MS;
    }
    while ((double)load->published / rate <= elapsed) {
        publish(load, (uint32_t)(load->published % tasks));
    }
    return (int)ceil(((double)load->published / rate - elapsed) * 1000);
}

static int by_size(const void *one, const void *other)
{
    const uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

    return (a > b) - (a < b);
}

static uint32_t age_at(const struct watchers *watchers, double quantile)
{
    return watchers->ages ? watchers->ages_us[(uint32_t)(quantile * (watchers->ages - 1))] : 0;
}

static void report(const struct load *load, double seconds, struct cpu server, struct cpu own)
{
    const struct watchers *watchers = &load->watchers;
    uint64_t expected = 0;

    for (uint32_t task = 0; task < load->options->tasks; task++) {
        expected += load->task_published[task] * watchers_of(load, task);
    }
    qsort(watchers->ages_us, watchers->ages, sizeof(watchers->ages_us[0]), by_size);
    printf("{\"seconds\":%.3f,\"published\":%" PRIu64 ",\"expected\":%" PRIu64
           ",\"delivered\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"cpu_us\":%.0f,\"cpu_user_us\":%.0f,\"own_cpu_us\":%.0f,"
           "\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"max_us\":%u}\n",
           seconds, load->published, expected, watchers->updates, watchers->bytes, server.total,
           server.user, own.total, age_at(watchers, 0.5), age_at(watchers, 0.99),
           age_at(watchers, 0.999), age_at(watchers, 1));
    fflush(stdout);
}

static struct cpu cpu_since(struct cpu before, int pid)
{
    struct cpu now = cpu_of(pid);

    return (struct cpu){now.total - before.total, now.user - before.user};
}

static void run(struct load *load, double rate, double seconds)
{
    const struct cpu server = cpu_of(load->options->pid), own = cpu_of(getpid());
    const double began = seconds_now();
    double last = began, now = began;

    watchers_reset(&load->watchers);
    load->published = 0;
    memset(load->task_published, 0, load->options->tasks * sizeof(load->task_published[0]));
    while (now - began < seconds) {
        (void)watchers_read(&load->watchers, publish_due(load, rate, now - began));
        read_answers(load);
        now = seconds_now();
    }
    last = now;
    while (!have_all_arrived(load) && watchers_read(&load->watchers, QUIET_MS)) {
        last = seconds_now();
    }
    read_answers(load);
    report(load, last - began, cpu_since(server, load->options->pid), cpu_since(own, getpid()));
}

/* ── Beginning ───────────────────────────────────────────────────────────────────────────────── */

/* As many watchers as there are descriptors for. */
static uint32_t watchers_possible(uint32_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        die("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < (rlim_t)wanted + DESCRIPTORS_BESIDE_WATCHERS) {
        return (uint32_t)limit.rlim_max - DESCRIPTORS_BESIDE_WATCHERS;
    }
    return wanted;
}

static void open_watchers(struct load *load)
{
    const struct options *options = load->options;
    const struct cpu before = cpu_of(options->pid);

    watchers_open(&load->watchers, watchers_possible(options->watchers), options->tasks,
                  options->port, options->token);
    printf("{\"watchers\":%u,\"cpu_us\":%.0f}\n", load->watchers.count,
           cpu_since(before, options->pid).total);
    fflush(stdout);
}

static bool parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},
        {"publish", required_argument, NULL, 's'},
        {"pid", required_argument, NULL, 'i'},
        {"token", required_argument, NULL, 'k'},
        {"watchers", required_argument, NULL, 'w'},
        {"tasks", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 'p':
            options->port = (uint16_t)atoi(optarg);
            break;
        case 's':
            options->publish = optarg;
            break;
        case 'i':
            options->pid = atoi(optarg);
            break;
        case 'k':
            options->token = optarg;
            break;
        case 'w':
            options->watchers = (uint32_t)atoi(optarg);
            break;
        case 't':
            options->tasks = (uint32_t)atoi(optarg);
            break;
        default:
            return false;
        }
    }
    return options->port && options->publish && options->pid && options->tasks &&
           options->watchers >= options->tasks;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct load load = {.options = &options};
    double rate, seconds;
    char line[128];

    if (!parse_options(argc, argv, &options)) {
        fprintf(stderr, "usage: fanout_load --port PORT --publish SOCKET --pid PID --watchers N "
                        "--tasks T [--token TOKEN]\n");
        return 2;
    }
    load.publish_fd = connect_unix(options.publish);
    load.task_published = calloc(options.tasks, sizeof(load.task_published[0]));
    if (!load.task_published) {
        die("calloc");
    }
    open_watchers(&load);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "run %lf %lf", &rate, &seconds) != 2 || rate < 0 || seconds <= 0) {
            errno = EINVAL;
            die("an order");
        }
        run(&load, rate, seconds);
    }
    return 0;
}
