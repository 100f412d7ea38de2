/* How a line is put together, and written.
 *
 * Everything goes into one buffer on the stack; nothing is allocated and no lock is taken, so it
 * may be called when memory is out. The buffer is PIPE_BUF bytes: a whole line is one write(2) that
 * no other process' line can split. Its last TAIL_LEN bytes are kept for the line's end: a line
 * that had to be cut still has its quotes closed, and says that it was cut. A character is written
 * whole, escapes included, or not at all; so is a number, and a field's name.
 *
 * Standard error belongs to others too: setting O_NONBLOCK on it would change it for them. A pipe
 * or a terminal is opened a second time instead, which gives a description of our own. What can't
 * be opened again is asked with poll(2) before each write, and a socket is sent to with
 * MSG_DONTWAIT.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/json_escape.h"
#include "common/log_limit.h"
#include "common/utc_time.h"

#define LINE_MAX_LEN 4096
#define TAIL_LEN (sizeof("\",\"cut\":true}\n") - 1)
#define BARE_MAX_LEN 256 /* logfmt: longer texts get quotes, since only those can be cut */

static enum log_level configured_level = LOG_INFO;
static enum log_format configured_format = LOG_LOGFMT;
static char configured_process[32] = "progressd";

static struct log_limit limit;
static int own_fd = -1;     /* standard error opened once more, non-blocking; -1: not */
static uint64_t lost_lines; /* that standard error didn't take */

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const format_names[] = {"logfmt", "json"};

struct line {
    char data[LINE_MAX_LEN];
    size_t len;
    bool cut; /* something didn't fit; only the tail is added any more */
};

static void append(struct line *line, const char *data, size_t len)
{
    if (line->cut || line->len + len > LINE_MAX_LEN - TAIL_LEN) {
        line->cut = true;
        return;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
}

static void append_string(struct line *line, const char *string)
{
    append(line, string, strlen(string));
}

/* The same for the end of a line, which has its room kept. */
static void append_tail(struct line *line, const char *string)
{
    size_t len = strlen(string);
    assert(len <= LINE_MAX_LEN - line->len);
    memcpy(line->data + line->len, string, len);
    line->len += len;
}

/* Decodes the first character of `len` > 0 bytes (RFC 3629): its length, or 0 if the first byte
 * begins no valid one. */
static size_t decode(const unsigned char *at, size_t len, uint32_t *ret_character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = at[0] < 0x80             ? 1
                  : (at[0] & 0xe0) == 0xc0 ? 2
                  : (at[0] & 0xf0) == 0xe0 ? 3
                  : (at[0] & 0xf8) == 0xf0 ? 4
                                           : 0;
    if (need == 0 || need > len) {
        return 0;
    }
    uint32_t character = need == 1 ? at[0] : at[0] & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        character = character << 6 | (at[i] & 0x3f);
    }
    if (character < least[need] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff)) {
        return 0;
    }
    *ret_character = character;
    return need;
}

/* What a terminal or a viewer might take for an order or the end of the line: all of 16 bits. */
static bool is_control(uint32_t character)
{
    return character < 0x20 || (character >= 0x7f && character < 0xa0) || character == 0x2028 ||
           character == 0x2029;
}

/* Escapes as JSON does; bytes that are no UTF-8 become U+FFFD. */
static void append_escaped(struct line *line, const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;

    for (size_t i = 0, step; i < len && !line->cut; i += step) {
        uint32_t character;
        step = decode(at + i, len - i, &character);
        if (step == 0) {
            append_string(line, "\xef\xbf\xbd");
            step = 1;
        } else if (is_control(character) || character == '"' || character == '\\') {
            char escape[JSON_ESCAPE_SIZE];
            append(line, escape, json_escape((uint16_t)character, escape));
        } else {
            append(line, text + i, step);
        }
    }
}

/* Whether the text goes without quotes in logfmt. */
static bool is_bare(const char *text, size_t len)
{
    if (len == 0 || len > BARE_MAX_LEN) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || strchr("\"\\=", text[i])) {
            return false;
        }
    }
    return true;
}

static void append_name(struct line *line, const char *name)
{
    if (configured_format == LOG_JSON) {
        append_string(line, line->len == 0 ? "{\"" : ",\"");
        append_string(line, name);
        append_string(line, "\":");
    } else {
        append_string(line, line->len == 0 ? "" : " ");
        append_string(line, name);
        append_string(line, "=");
    }
}

/* A field whose text may be cut, quotes closed; with no room for its name it is left out. */
static void append_text(struct line *line, const char *name, const char *text, size_t len)
{
    size_t before = line->len;
    bool quoted = configured_format == LOG_JSON || !is_bare(text, len);

    append_name(line, name);
    append(line, quoted ? "\"" : text, quoted ? 1 : len);
    if (line->cut) {
        line->len = before;
    } else if (quoted) {
        append_escaped(line, text, len);
        append_tail(line, "\"");
    }
}

/* A field that stands whole or not at all. */
static void append_int(struct line *line, const char *name, int64_t number)
{
    size_t before = line->len;
    char digits[sizeof("-9223372036854775808")];

    snprintf(digits, sizeof(digits), "%" PRId64, number);
    append_name(line, name);
    append_string(line, digits);
    if (line->cut) {
        line->len = before;
    }
}

static void append_time(struct line *line)
{
    struct timespec now;
    char time[UTC_TIME_SIZE];

    clock_gettime(CLOCK_REALTIME, &now);
    utc_time_format((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, time);
    append_text(line, "time", time, strlen(time));
}

static int index_of_name(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    return -EINVAL;
}

/* Opens standard error a second time if writes to it could block. */
static void open_own_fd(void)
{
    struct stat status;

    if (own_fd >= 0) {
        close(own_fd);
        own_fd = -1;
    }
    if (fstat(STDERR_FILENO, &status) == 0 &&
        (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
        own_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
}

void log_configure(enum log_level level, enum log_format format, const char *process)
{
    configured_level = level;
    configured_format = format;
    snprintf(configured_process, sizeof(configured_process), "%s", process);
    open_own_fd();
}

int log_level_from_name(const char *name, enum log_level *ret_level)
{
    int i = index_of_name(name, level_names, ARRAY_LEN(level_names));
    if (i < 0) {
        return i;
    }
    *ret_level = (enum log_level)i;
    return 0;
}

int log_format_from_name(const char *name, enum log_format *ret_format)
{
    int i = index_of_name(name, format_names, ARRAY_LEN(format_names));
    if (i < 0) {
        return i;
    }
    *ret_format = (enum log_format)i;
    return 0;
}

int log_enabled(enum log_level level)
{
    return level <= configured_level;
}

static void append_fields(struct line *line, const struct log_field *fields)
{
    for (const struct log_field *field = fields; field->kind != LOG_FIELD_END; field++) {
        if (field->kind == LOG_FIELD_INT) {
            append_int(line, field->name, field->number);
        } else {
            append_text(line, field->name, field->text, field->text_len);
        }
    }
}

static void append_end(struct line *line)
{
    bool json = configured_format == LOG_JSON;
    if (line->cut) {
        append_tail(line, json ? ",\"cut\":true" : " cut=true");
    }
    append_tail(line, json ? "}\n" : "\n");
}

static ssize_t write_shared(const char *data, size_t len)
{
    ssize_t written = send(STDERR_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (written < 0 && errno == ENOTSOCK) {
        struct pollfd stderr_poll = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (poll(&stderr_poll, 1, 0) > 0) {
            written = write(STDERR_FILENO, data, len);
        }
    }
    return written;
}

/* Whether standard error took the line. */
static bool write_line(const struct line *line)
{
    ssize_t written;

    do {
        written = own_fd >= 0 ? write(own_fd, line->data, line->len)
                              : write_shared(line->data, line->len);
    } while (written < 0 && errno == EINTR);
    return written >= 0;
}

static bool put(enum log_level level, const char *module, const char *message,
                const struct log_field *fields)
{
    struct line line;
    line.len = 0;
    line.cut = false;

    append_time(&line);
    append_text(&line, "level", level_names[level], strlen(level_names[level]));
    append_text(&line, "process", configured_process, strlen(configured_process));
    append_text(&line, "module", module, strlen(module));
    append_text(&line, "msg", message, strlen(message));
    append_fields(&line, fields);
    append_end(&line);
    return write_line(&line);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void log_write(enum log_level level, const char *module, const char *message,
               const struct log_field *fields)
{
    int saved_errno = errno;

    if (log_enabled(level) &&
        (level == LOG_DEBUG || log_limit_admit(&limit, now_ms(), (int)level, module, message))) {
        lost_lines += !put(level, module, message, fields);
    }
    errno = saved_errno;
}

void log_lines(enum log_level level, const char *module, const char *message, const char *text)
{
    while (text && *text) {
        size_t len = strcspn(text, "\n");

        log_event(level, module, message, LOG_SPAN("why", text, len));
        text += len + (text[len] == '\n');
    }
}

/* ── What was left out ───────────────────────────────────────────────────────────────────────── */

#define MODULE "log"

static bool report_kind(const struct log_limit_kind *kind)
{
    const struct log_field fields[] = {
        LOG_TEXT("of_module", kind->module ? kind->module : ""),
        LOG_TEXT("of", kind->message ? kind->message : ""),
        LOG_INT("count", (int64_t)kind->left_out),
        {LOG_FIELD_END, NULL, NULL, 0, 0},
    };
    return put((enum log_level)kind->level, MODULE, "lines left out", fields);
}

static bool report_lost(void)
{
    const struct log_field fields[] = {
        LOG_INT("count", (int64_t)lost_lines),
        {LOG_FIELD_END, NULL, NULL, 0, 0},
    };
    return put(LOG_ERROR, MODULE, "lines lost, standard error took no more", fields);
}

/* What can't be written now stays counted for the next time. */
static void report(bool all)
{
    struct log_limit_kind *kind;

    if (lost_lines == 0 && limit.left_out == 0) {
        return;
    }
    if (lost_lines > 0) {
        if (!report_lost()) {
            return;
        }
        lost_lines = 0;
    }
    uint64_t now = now_ms();
    while ((kind = log_limit_due(&limit, now, all)) != NULL && report_kind(kind)) {
        log_limit_reported(&limit, kind);
    }
}

void log_tick(void)
{
    report(false);
}

void log_end(void)
{
    report(true);
}
