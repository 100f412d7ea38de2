#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli/child.h"
#include "client/cli/progress_reader.h"
#include "client/cli/redis_target.h"
#include "client/cli/server.h"
#include "client/cli/wire.h"
#include "client/publisher/publisher.h"
#include "proto/message_tables.h"
#include "proto/utf8.h"

/* How it works
 *
 * What the command prints is read, written on, and only then looked into; telling Redis is the
 * publisher's business, whose thread nobody here waits for before the end. So the command runs as
 * fast as what reads its output.
 *
 * It has ended when its process has. What it printed until then is passed on, however slow the
 * reader is; what it left in the background may hold the pipes open, and is heard for OUTLIVE_MS.
 */

#define OUTLIVE_MS 500
#define CHUNK 65536 /* what a pipe holds */
#define CLOSE_TIMEOUT_DEFAULT_S 10
#define CLOSE_TIMEOUT_MAX_S 3600
#define RESULT_URL_MAX 2048
#define STAGE_DEFAULT "working"
#define WHY_SIZE 256

/* A percentage that falls by so much is a second pass, or another try. */
#define RESTART_FALL 10

/* As shells have it. */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_SIGNAL 128

struct run {
    const struct command *command;
    const char *format, *from, *task_id, *stage, *duration, *result_url;
    uint32_t total, close_timeout_s;
    bool retryable, resets;
    char **argv;
    const char *name; /* the command's, without its path, which isn't for watchers */

    struct progress_reader reader;
    bool reads_from[PROGRESS_STREAMS];
    double told;     /* the last percentage; -1: none */
    unsigned passes; /* of the command over its work, as far as its percentages tell */
    struct progressd_publisher *job;
    struct child child;
    int owed[PROGRESS_STREAMS]; /* what waited in the pipes when the command had ended, in bytes */
};

/* ── What the user said ──────────────────────────────────────────────────────────────────────── */

static bool is_duration(const char *text, double *ret_seconds)
{
    char *end;

    *ret_seconds = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*ret_seconds) && *ret_seconds > 0;
}

/* NULL, or what is wrong. */
static const char *read_format(struct run *run)
{
    double whole = 0;
    enum progress_format format = PROGRESS_NONE;

    if (!run->format) {
        format = PROGRESS_NONE;
    } else if (strcmp(run->format, "ffmpeg") == 0) {
        format = PROGRESS_FFMPEG;
    } else if (strcmp(run->format, "percent") == 0) {
        format = PROGRESS_PERCENT;
    } else if (strcmp(run->format, "lines") == 0) {
        format = PROGRESS_LINES;
        whole = run->total;
    } else {
        return "--format: must be ffmpeg, percent or lines";
    }
    if ((format == PROGRESS_LINES) != (run->total > 0)) {
        return "--total and --format lines go together";
    }
    if (run->duration && (format != PROGRESS_FFMPEG || !is_duration(run->duration, &whole))) {
        return "--duration: must be seconds, and goes with --format ffmpeg";
    }
    progress_reader_init(&run->reader, format, whole, run->from != NULL);
    return NULL;
}

/* Which output is looked into. NULL, or what is wrong. */
static const char *read_from(struct run *run)
{
    const bool is_stdout = run->from && strcmp(run->from, "stdout") == 0;
    const bool is_stderr = run->from && strcmp(run->from, "stderr") == 0;
    const enum progress_format format = run->reader.format;

    if (run->from &&
        ((!is_stdout && !is_stderr) || (format != PROGRESS_PERCENT && format != PROGRESS_LINES))) {
        return "--from: must be stdout or stderr, and goes with --format percent and lines";
    }
    run->reads_from[PROGRESS_STDOUT] = !is_stderr;
    run->reads_from[PROGRESS_STDERR] = is_stderr || (!run->from && format != PROGRESS_LINES);
    return NULL;
}

static bool is_text(const char *text, size_t least, size_t most)
{
    const size_t len = strlen(text);

    return len >= least && len <= most && utf8_is_valid(text, len);
}

/* EXIT_DONE, or EXIT_USAGE after a complaint. */
static int check_options(struct run *run)
{
    const char *wrong = read_format(run);

    if (!wrong) {
        wrong = read_from(run);
    }
    if (!wrong && !is_text(run->stage, 1, STAGE_MAX)) {
        wrong = "--stage: must be 1 to 128 bytes of UTF-8";
    }
    if (!wrong && !is_text(run->result_url, 0, RESULT_URL_MAX)) {
        wrong = "--result-url: must be at most 2048 bytes of UTF-8";
    }
    if (!wrong && !run->task_id) {
        wrong = "--task is missing";
    }
    if (wrong) {
        command_complain(run->command, "%s", wrong);
        return EXIT_USAGE;
    }
    return server_task_is_valid(run->command, run->task_id) ? EXIT_DONE : EXIT_USAGE;
}

/* ── The command's output ────────────────────────────────────────────────────────────────────── */

static bool write_on(int fd, const char *data, size_t len)
{
    while (len > 0) {
        const ssize_t written = write(fd, data, len);

        if (written >= 0) {
            data += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Tells how far the command is. One that clearly begins again enters a stage of its own, so that
 * nobody takes its new percentages for old ones. */
static void tell_progress(struct run *run)
{
    char stage[STAGE_MAX + 1];

    if (run->reader.percentage < run->told - RESTART_FALL &&
        snprintf(stage, sizeof(stage), "%s (%u)", run->stage, run->passes + 1) <
            (int)sizeof(stage)) {
        run->passes++;
        progressd_stage(run->job, stage);
    }
    run->told = run->reader.percentage;
    progressd_update(run->job, run->told, 0, 0);
}

/* Passes on what the command printed. Where it can't be, the pipe is closed, so that the command
 * is told what it would be told without us. */
static void pass_on(struct run *run, enum progress_stream stream)
{
    static const int targets[] = {STDOUT_FILENO, STDERR_FILENO};
    static char chunk[CHUNK];
    const ssize_t len = read(run->child.outputs[stream], chunk, sizeof(chunk));

    if (len < 0 && errno == EINTR) {
        return;
    }
    if (len <= 0) {
        child_close_output(&run->child, stream);
        return;
    }
    if (run->owed[stream] > 0) {
        run->owed[stream] -= (int)len;
    }
    if (!write_on(targets[stream], chunk, (size_t)len)) {
        if (errno != EPIPE) {
            command_complain(run->command, "cannot pass on its output: %s", strerror(errno));
        }
        child_close_output(&run->child, stream);
    }
    if (run->reads_from[stream] && progress_reader_feed(&run->reader, stream, chunk, (size_t)len)) {
        tell_progress(run);
    }
}

static void look_what_is_owed(struct run *run)
{
    for (int i = 0; i < PROGRESS_STREAMS; i++) {
        if (ioctl(run->child.outputs[i], FIONREAD, &run->owed[i]) != 0) {
            run->owed[i] = 0; /* closed */
        }
    }
}

/* After the command's end: whether there is, or may be, output to pass on. */
static bool expects_output(const struct run *run, int64_t deadline)
{
    for (int i = 0; i < PROGRESS_STREAMS; i++) {
        if (run->child.outputs[i] >= 0 && (run->owed[i] > 0 || wire_clock() < deadline)) {
            return true;
        }
    }
    return false;
}

/* Until the command has ended and its output has been read. */
static void attend(struct run *run)
{
    struct child *child = &run->child;
    int64_t deadline = -1; /* of the output, once the command has ended */

    while (deadline < 0 || expects_output(run, deadline)) {
        struct pollfd fds[PROGRESS_STREAMS] = {
            {.fd = child->outputs[PROGRESS_STDOUT], .events = POLLIN},
            {.fd = child->outputs[PROGRESS_STDERR], .events = POLLIN},
        };
        const struct timespec patience = {.tv_nsec = OUTLIVE_MS * 1000000L};

        if (deadline < 0 && child_has_ended(child)) {
            deadline = wire_deadline(OUTLIVE_MS);
            look_what_is_owed(run);
            continue;
        }
        if (ppoll(fds, PROGRESS_STREAMS, deadline < 0 ? NULL : &patience, &child->mask) <= 0) {
            continue;
        }
        for (int i = 0; i < PROGRESS_STREAMS; i++) {
            if (fds[i].revents) {
                pass_on(run, i);
            }
        }
    }
}

/* ── What watchers are told ──────────────────────────────────────────────────────────────────── */

static void tell_failure(struct run *run, const char *code, const char *how, int number)
{
    char message[WHY_SIZE];

    snprintf(message, sizeof(message), "%s %s %d", run->name, how, number);
    progressd_fail(run->job, code, message, run->retryable);
}

/* The exit status for it. */
static int tell_end(struct run *run, const struct child_end *end)
{
    if (end->signal) {
        tell_failure(run, end->interrupted ? "CANCELLED" : "KILLED", "was ended by signal",
                     end->signal);
        return EXIT_SIGNAL + end->signal;
    }
    if (end->status != 0) {
        tell_failure(run, end->interrupted ? "CANCELLED" : "EXIT_STATUS", "ended with status",
                     end->status);
    } else {
        progressd_complete(run->job, run->result_url, -1);
    }
    return end->status;
}

static int tell_not_started(struct run *run, int rc)
{
    char message[WHY_SIZE];

    command_complain(run->command, "cannot run %s: %s", run->argv[0], strerror(-rc));
    snprintf(message, sizeof(message), "%s could not be started", run->name);
    progressd_fail(run->job, "NOT_STARTED", message, run->retryable);
    return rc == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

/* Waits until the end is stored. What becomes of that changes nothing in the exit status, which is
 * the command's. */
static void close_job(struct run *run)
{
    const unsigned timeout_ms = run->close_timeout_s * 1000;
    char why[WHY_SIZE];

    if (progressd_flush(run->job, timeout_ms) != PROGRESSD_OK) {
        progressd_error(run->job, why, sizeof(why));
        command_complain(run->command, "not all was stored: %s", why[0] ? why : "no time was left");
    }
    progressd_close(run->job, 0);
}

/* ── The command ─────────────────────────────────────────────────────────────────────────────── */

/* What is opened later must not become the command's output by chance. */
static int hold_standard_files(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0) {
        return -errno;
    }
    close(fd);
    return 0;
}

static int run_command(struct run *run)
{
    struct child_end end;
    int rc;

    if (run->resets) {
        progressd_reset(run->job);
    }
    progressd_stage(run->job, run->stage);
    rc = child_start(run->argv, &run->child);
    if (rc) {
        return tell_not_started(run, rc);
    }
    attend(run);
    child_wait(&run->child, &end);
    return tell_end(run, &end);
}

static int open_and_run(struct run *run, const struct redis_target_options *options)
{
    struct redis_target target;
    int rc = hold_standard_files();

    if (rc) {
        command_complain(run->command, "/dev/null: %s", strerror(-rc));
        return EXIT_FAILED;
    }
    if (redis_target_find(run->command, options, &target) != EXIT_DONE) {
        return EXIT_USAGE;
    }
    const struct progressd_options settings = {.prefix = target.prefix};
    const enum progressd_result result =
        progressd_open(target.server.url, run->task_id, &settings, &run->job);
    redis_target_deinit(&target);
    if (result != PROGRESSD_OK) {
        command_complain(run->command, "cannot publish: %s", progressd_result_name(result));
        return EXIT_FAILED;
    }
    rc = run_command(run);
    close_job(run);
    return rc;
}

static int run_with(const struct command *command, int argc, char **argv)
{
    struct redis_target_options target = {0};
    struct run run = {
        .command = command,
        .stage = STAGE_DEFAULT,
        .result_url = "",
        .close_timeout_s = CLOSE_TIMEOUT_DEFAULT_S,
        .told = -1,
        .passes = 1,
    };
    const struct option_def defs[] = {
        {"task", 't', OPTION_TEXT, &run.task_id, 0, 0},
        {"format", 'f', OPTION_TEXT, &run.format, 0, 0},
        {"from", 0, OPTION_TEXT, &run.from, 0, 0},
        {"total", 0, OPTION_NUMBER, &run.total, 1, UINT32_MAX},
        {"duration", 0, OPTION_TEXT, &run.duration, 0, 0},
        {"stage", 0, OPTION_TEXT, &run.stage, 0, 0},
        {"result-url", 0, OPTION_TEXT, &run.result_url, 0, 0},
        {"retryable", 0, OPTION_FLAG, &run.retryable, 0, 0},
        {"reset", 0, OPTION_FLAG, &run.resets, 0, 0},
        {"close-timeout", 0, OPTION_NUMBER, &run.close_timeout_s, 0, CLOSE_TIMEOUT_MAX_S},
        {"redis-url", 0, OPTION_TEXT, &target.redis_url, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &target.state_dir, 0, 0},
        {"prefix", 0, OPTION_TEXT, &target.prefix, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, OPERANDS_COMMAND};
    int count, rc = options_read(command, &options, argc, argv, &run.argv, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    rc = check_options(&run);
    if (rc != EXIT_DONE) {
        return rc;
    }
    const char *slash = strrchr(run.argv[0], '/');
    run.name = slash ? slash + 1 : run.argv[0];
    return open_and_run(&run, &target);
}

const struct command command_run = {
    .name = "run",
    .operands = "--task TASK -- COMMAND [ARGUMENT…]",
    .summary = "run a command, and publish how far it is",
    .help =
        "The command's output is passed on as it comes, and progress is read from it:\n"
        "\n"
        "  progressctl run --task 42 --format ffmpeg --result-url /results/42.wav -- \\\n"
        "      ffmpeg -nostdin -i talk.mp4 -progress pipe:2 -nostats talk.wav\n"
        "\n"
        "  -t, --task TASK          the task whose progress it is\n"
        "  -f, --format ffmpeg      what -progress pipe:1 or pipe:2 prints\n"
        "               percent     numbers before a percent sign: 42%, 42.5 %; those of one\n"
        "                           output that stand behind the same words, or behind none\n"
        "               lines       each line printed counts, against --total;\n"
        "                           without --format only the stage and the end are told\n"
        "  --from stdout|stderr     where percentages or lines are looked for; by default\n"
        "                           percentages in both, and rather in standard error; lines in\n"
        "                           standard output\n"
        "  --total N                how many lines there will be\n"
        "  --duration SECONDS       what ffmpeg will put out; by default the longest input, which\n"
        "                           it names at its start (not with -v error). Needed where only\n"
        "                           a part is put out: ffmpeg's -ss, -t, -to\n"
        "  --stage NAME             the stage to enter; " STAGE_DEFAULT ". A command whose\n"
        "                           percentages begin again enters \"NAME (2)\" and so on\n"
        "  --result-url URL         where the result is, once the command has succeeded\n"
        "  --retryable              a failure isn't the task's end: it may be run again\n"
        "  --reset                  begin the task anew, also if it has ended\n"
        "  --close-timeout SECONDS  how long to wait, after the command, until the end is\n"
        "                           stored; 10\n" REDIS_TARGET_HELP "\n"
        "While Redis is away the command runs on, and the newest state is kept. SIGINT, SIGTERM,\n"
        "SIGHUP (the terminal is gone), SIGQUIT, SIGUSR1 and SIGUSR2 are sent on to the command, "
        "and\n"
        "to all of its process group if it has one of its own (setsid); should this program be\n"
        "killed, the command is sent SIGTERM. Its output being no terminal, some programs print it "
        "late:\n"
        "see their options, or stdbuf(1).\n"
        "\n"
        "Codes of the errors published: EXIT_STATUS, KILLED, CANCELLED (this program was sent a\n"
        "signal), NOT_STARTED.\n"
        "\n"
        "Exit status: the command's; 128 and the signal that ended it; 126 it can't be run; 127\n"
        "it isn't found; 2 wrong usage; 1 nothing could be started.\n",
    .run = run_with,
};
