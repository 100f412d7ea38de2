/* Drives libprogressd-publisher for tests/integration/test_publisher.py: reads a command a line
 * from standard input, and answers each with a line.
 *
 * usage: publisher_driver URL TASK [SETTING=VALUE…]
 *
 *   settings   alive=SECONDS, alive=no, prefix=PREFIX; own=SOCKET: on a connection of the caller's
 *   commands   stage NAME · update PERCENTAGE DONE TOTAL · complete URL · fail CODE TEXT
 *              retryable CODE TEXT · reset · error · flush MS · close MS
 *              load THREADS RATE MS: as many threads, each with so many updates a second
 *   answers    the result's name; error: and its text; load: and the number of calls, and the
 *              slowest of them in microseconds
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <progressd/publisher.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 16

struct load {
    struct progressd_publisher *publisher;
    double rate, seconds;
    uint64_t calls, slowest_ns;
    enum progressd_result result;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *run_load(void *argument)
{
    struct load *load = argument;
    const uint64_t total = (uint64_t)(load->rate * load->seconds);
    const uint64_t began = now_ns();

    for (uint64_t i = 0; i < total; i++) {
        const uint64_t due = began + (uint64_t)((double)i / load->rate * 1e9);
        const struct timespec until = {(time_t)(due / 1000000000), (long)(due % 1000000000)};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        const uint64_t before = now_ns();
        const enum progressd_result result =
            progressd_update(load->publisher, 100.0 * (double)i / (double)total, i, total);
        const uint64_t taken = now_ns() - before;

        load->calls++;
        if (taken > load->slowest_ns) {
            load->slowest_ns = taken;
        }
        if (result != PROGRESSD_OK) {
            load->result = result;
        }
    }
    return NULL;
}

static void load_publisher(struct progressd_publisher *publisher, const char *arguments)
{
    struct load loads[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    struct load all = {.publisher = publisher};
    unsigned count;

    if (sscanf(arguments, "%u %lf %lf", &count, &all.rate, &all.seconds) != 3 ||
        count > THREADS_MAX) {
        exit(2);
    }
    all.seconds /= 1000;
    for (unsigned i = 0; i < count; i++) {
        loads[i] = all;
        if (pthread_create(&threads[i], NULL, run_load, &loads[i]) != 0) {
            exit(1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        all.calls += loads[i].calls;
        if (loads[i].slowest_ns > all.slowest_ns) {
            all.slowest_ns = loads[i].slowest_ns;
        }
        if (loads[i].result != PROGRESSD_OK) {
            all.result = loads[i].result;
        }
    }
    printf("%s %" PRIu64 " %" PRIu64 "\n", progressd_result_name(all.result), all.calls,
           all.slowest_ns / 1000);
}

static enum progressd_result update(struct progressd_publisher *publisher, const char *arguments)
{
    double percentage = 0;
    uint64_t done = 0, total = 0;

    sscanf(arguments, "%lf %" SCNu64 " %" SCNu64, &percentage, &done, &total);
    return progressd_update(publisher, percentage, done, total);
}

static enum progressd_result fail(struct progressd_publisher *publisher, char *arguments,
                                  bool retryable)
{
    char *message = strchr(arguments, ' ');

    if (message) {
        *message++ = '\0';
    }
    return progressd_fail(publisher, arguments, message, retryable);
}

/* False after `close`. */
static bool obey(struct progressd_publisher *publisher, const char *command, char *arguments)
{
    enum progressd_result result = PROGRESSD_OK;
    char text[256] = "";

    if (strcmp(command, "load") == 0) {
        load_publisher(publisher, arguments);
        return true;
    }
    if (strcmp(command, "stage") == 0) {
        result = progressd_stage(publisher, arguments);
    } else if (strcmp(command, "update") == 0) {
        result = update(publisher, arguments);
    } else if (strcmp(command, "complete") == 0) {
        result = progressd_complete(publisher, arguments, -1);
    } else if (strcmp(command, "fail") == 0 || strcmp(command, "retryable") == 0) {
        result = fail(publisher, arguments, strcmp(command, "fail") != 0);
    } else if (strcmp(command, "reset") == 0) {
        result = progressd_reset(publisher);
    } else if (strcmp(command, "error") == 0) {
        result = progressd_error(publisher, text, sizeof(text));
    } else if (strcmp(command, "flush") == 0) {
        result = progressd_flush(publisher, (unsigned)atoi(arguments));
    } else if (strcmp(command, "close") == 0) {
        result = progressd_close(publisher, (unsigned)atoi(arguments));
    } else {
        exit(2);
    }
    printf("%s%s%s\n", progressd_result_name(result), *text ? " " : "", text);
    return strcmp(command, "close") != 0;
}

static enum progressd_result open_publisher(int argc, char **argv,
                                            struct progressd_publisher **ret_publisher)
{
    struct progressd_options options = {0};
    redisContext *own = NULL;

    for (int i = 3; i < argc; i++) {
        const char *value = strchr(argv[i], '=') + 1;

        if (strncmp(argv[i], "own=", 4) == 0) {
            own = redisConnectUnix(value);
        } else if (strncmp(argv[i], "prefix=", 7) == 0) {
            options.prefix = value;
        } else if (strcmp(argv[i], "alive=no") == 0) {
            options.no_alive = true;
        } else {
            options.alive_seconds = (unsigned)atoi(value);
        }
    }
    return own ? progressd_open_on(own, argv[2], &options, ret_publisher)
               : progressd_open(argv[1], argv[2], &options, ret_publisher);
}

int main(int argc, char **argv)
{
    struct progressd_publisher *publisher;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    bool open = true;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) {
        return 2;
    }
    const enum progressd_result result = open_publisher(argc, argv, &publisher);
    printf("%s\n", progressd_result_name(result));
    if (result != PROGRESSD_OK) {
        return 1;
    }
    while (open && (len = getline(&line, &size, stdin)) > 0) {
        line[len - 1] = '\0';
        char *arguments = strchr(line, ' ');

        if (arguments) {
            *arguments++ = '\0';
        }
        open = obey(publisher, line, arguments ? arguments : "");
    }
    free(line);
    return 0;
}
