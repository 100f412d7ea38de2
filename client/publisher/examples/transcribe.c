/* Transcribes English speech, and tells how far it is.
 *
 * usage: transcribe REDIS_URL TASK AUDIO TRANSCRIPT
 *
 * ffmpeg turns AUDIO, of any format, into samples, which libpocketsphinx decodes; TRANSCRIPT is
 * the file that the text is written to. Stages: loading (the model), transcribing, finishing.
 * Progress is the share of the samples that were decoded; what there will be is known from the
 * recording's length, which ffprobe tells.
 *
 * Exit status: 0 the transcript is there, and so is its message; 1 the job failed, and the task
 * ends with an error that says why; 2 wrong usage; 130 or 143 it was interrupted.
 */
#include <errno.h>
#include <limits.h>
#include <pocketsphinx.h>
#include <progressd/publisher.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES_PER_SECOND 16000
#define SAMPLES_AT_ONCE 2048
#define END_PATIENCE_MS 60000

extern char **environ;

static volatile sig_atomic_t interrupted;

static void transcribe_on_signal(int number)
{
    interrupted = number;
}

/* ── Other programs ──────────────────────────────────────────────────────────────────────────── */

struct program {
    pid_t pid;
    FILE *output;
};

/* Starts a program whose standard output is read here. */
static int program_start(struct program *program, const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    int ends[2];

    if (pipe(ends) != 0) {
        return -errno;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    int rc = posix_spawnp(&program->pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        return -rc;
    }
    program->output = fdopen(ends[0], "r");
    return 0;
}

/* Whether it ended well. */
static bool program_end(struct program *program)
{
    int status;

    fclose(program->output);
    while (waitpid(program->pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The length of a recording in seconds; 0: it isn't known. */
static double length_of(const char *audio)
{
    const char *const argv[] = {
        "ffprobe", "-v",  "error", "-show_entries", "format=duration", "-of",
        "csv=p=0", audio, NULL};
    struct program ffprobe;
    double seconds = 0;

    if (program_start(&ffprobe, argv) != 0) {
        return 0;
    }
    if (fscanf(ffprobe.output, "%lf", &seconds) != 1) {
        seconds = 0;
    }
    return program_end(&ffprobe) && seconds > 0 ? seconds : 0;
}

static int start_ffmpeg(struct program *ffmpeg, const char *audio)
{
    const char *const argv[] = {"ffmpeg", "-nostdin", "-v", "error", "-i", audio, "-vn", "-ac", "1",
                                "-ar",    "16000",    "-f", "s16le", "-",  NULL};

    return program_start(ffmpeg, argv);
}

/* ── Decoding ────────────────────────────────────────────────────────────────────────────────── */

static ps_decoder_t *load_decoder(void)
{
    cmd_ln_t *settings =
        cmd_ln_init(NULL, ps_args(), TRUE, "-hmm", MODELDIR "/en-us/en-us", "-lm",
                    MODELDIR "/en-us/en-us.lm.bin", "-dict", MODELDIR "/en-us/cmudict-en-us.dict",
                    "-logfn", "/dev/null", NULL);
    ps_decoder_t *decoder = settings ? ps_init(settings) : NULL;

    cmd_ln_free_r(settings);
    return decoder;
}

/* Writes the text of what was said since the last silence. */
static void end_utterance(ps_decoder_t *decoder, FILE *transcript)
{
    ps_end_utt(decoder);
    const char *text = ps_get_hyp(decoder, NULL);

    if (text && *text) {
        fprintf(transcript, "%s\n", text);
    }
}

/* Decodes until the samples end, and tells how many there were of `expected` (0: not known). */
static void transcribe_decode(ps_decoder_t *decoder, FILE *samples, FILE *transcript,
                              uint64_t expected, struct progressd_publisher *job)
{
    int16_t buffer[SAMPLES_AT_ONCE];
    uint64_t decoded = 0;
    bool speaking = false;
    size_t count;

    ps_start_utt(decoder);
    while (!interrupted &&
           (count = fread(buffer, sizeof(buffer[0]), SAMPLES_AT_ONCE, samples)) > 0) {
        ps_process_raw(decoder, buffer, count, FALSE, FALSE);
        decoded += count;
        if (expected > 0) {
            const uint64_t done = decoded < expected ? decoded : expected;

            progressd_update(job, 100.0 * (double)done / (double)expected, done * sizeof(buffer[0]),
                             expected * sizeof(buffer[0]));
        }
        if (speaking && !ps_get_in_speech(decoder)) {
            end_utterance(decoder, transcript);
            ps_start_utt(decoder);
        }
        speaking = ps_get_in_speech(decoder);
    }
    end_utterance(decoder, transcript);
}

/* ── The job ─────────────────────────────────────────────────────────────────────────────────── */

static int transcribe_fail(struct progressd_publisher *job, const char *code, const char *why)
{
    fprintf(stderr, "transcribe: %s\n", why);
    progressd_fail(job, code, why, false);
    return 1;
}

static int cancel(struct progressd_publisher *job)
{
    progressd_fail(job, "CANCELLED", "the transcription was interrupted", true);
    return 128 + interrupted;
}

static int decode_all(ps_decoder_t *decoder, const char *audio, FILE *transcript,
                      struct progressd_publisher *job)
{
    const double seconds = length_of(audio);
    struct program ffmpeg;

    if (start_ffmpeg(&ffmpeg, audio) != 0) {
        return transcribe_fail(job, "NO_FFMPEG", "ffmpeg can't be started");
    }
    progressd_stage(job, "transcribing");
    transcribe_decode(decoder, ffmpeg.output, transcript, (uint64_t)(seconds * SAMPLES_PER_SECOND),
                      job);
    const bool whole = program_end(&ffmpeg);
    if (interrupted) {
        return cancel(job);
    }
    if (!whole) {
        return transcribe_fail(job, "UNREADABLE_AUDIO", "ffmpeg can't read the recording");
    }
    return 0;
}

/* file:// and the whole path, percent-encoded. */
static void print_url(FILE *out, const char *path)
{
    fputs("file://", out);
    for (; *path; path++) {
        if (strchr("/._~-", *path) || (*path >= '0' && *path <= '9') ||
            (*path >= 'A' && *path <= 'Z') || (*path >= 'a' && *path <= 'z')) {
            fputc(*path, out);
        } else {
            fprintf(out, "%%%02X", (unsigned char)*path);
        }
    }
}

static int transcribe_complete(struct progressd_publisher *job, const char *transcript)
{
    char path[PATH_MAX], url[3 * PATH_MAX + sizeof("file://")];
    FILE *out = fmemopen(url, sizeof(url), "w");

    if (!out || !realpath(transcript, path)) {
        return transcribe_fail(job, "RESULT_NOT_WRITTEN", strerror(errno));
    }
    print_url(out, path);
    fclose(out);
    puts(path);
    return progressd_complete(job, url, -1) == PROGRESSD_OK ? 0 : 1;
}

static int transcribe(struct progressd_publisher *job, const char *audio, const char *path)
{
    progressd_reset(job);
    progressd_stage(job, "loading");
    ps_decoder_t *decoder = load_decoder();
    if (!decoder) {
        return transcribe_fail(job, "NO_MODEL",
                               "the model of English can't be loaded from " MODELDIR);
    }
    FILE *transcript = fopen(path, "w");
    if (!transcript) {
        ps_free(decoder);
        return transcribe_fail(job, "RESULT_NOT_WRITTEN", strerror(errno));
    }
    int status = decode_all(decoder, audio, transcript, job);
    ps_free(decoder);
    if (fclose(transcript) != 0 && status == 0) {
        return transcribe_fail(job, "RESULT_NOT_WRITTEN", strerror(errno));
    }
    if (status != 0) {
        return status;
    }
    progressd_stage(job, "finishing");
    return transcribe_complete(job, path);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = transcribe_on_signal};
    struct progressd_publisher *job;

    if (argc != 5) {
        fprintf(stderr, "usage: transcribe REDIS_URL TASK AUDIO TRANSCRIPT\n");
        return 2;
    }
    if (progressd_open(argv[1], argv[2], NULL, &job) != PROGRESSD_OK) {
        fprintf(stderr, "transcribe: the URL or the task id is wrong\n");
        return 2;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    const int status = transcribe(job, argv[3], argv[4]);
    const enum progressd_result closed = progressd_close(job, END_PATIENCE_MS);
    if (closed != PROGRESSD_OK) {
        fprintf(stderr, "transcribe: the end could not be published: %s\n",
                progressd_result_name(closed));
        return 1;
    }
    return status;
}
