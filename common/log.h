/* One line of text for each event worth knowing, on standard error.
 *
 * Receives   a level, the module's name, a message and its fields
 * Hands on   one write(2) of a whole line: logfmt, or JSON
 * Owns       the process' log settings
 *
 *   time=2026-11-23T06:16:17.123Z level=info process=worker-0 module=hub msg="task watched" task=42
 *
 * Only broker/ and client/cli/ log; common/ and proto/ return what went wrong instead. Values and
 * messages are escaped, bytes that are no UTF-8 replaced, so that no input can forge a line;
 * names of fields come from the code only. Secrets are never passed in. Keeps errno, allocates
 * nothing.
 *
 * The log neither floods nor blocks. Of each kind of line, which is its module and message, only so
 * many are written as log_limit.h says; debug lines are not limited. A line that standard error
 * does not take at once is lost. Both are counted, and log_tick() says how many.
 */
#ifndef PROGRESSD_COMMON_LOG_H
#define PROGRESSD_COMMON_LOG_H

#include <stdint.h>
#include <string.h>

#include "common/result.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* Settings of this process; until then: info, logfmt, "progressd". `process` ("supervisor",
 * "worker-3") is copied, up to 31 bytes. Opens standard error once more if it is a pipe or a
 * terminal, so that writes to it can't block; the other users of the pipe notice nothing. */
void log_configure(enum log_level level, enum log_format format, const char *process);

/* Names of the levels and formats: "error" … "debug"; "logfmt", "json". 0 or -EINVAL. */
int log_level_from_name(const char *name, enum log_level *ret_level) MUST_CHECK;
int log_format_from_name(const char *name, enum log_format *ret_format) MUST_CHECK;

/* Whether a line of that level would be written: for fields that cost something to make. */
int log_enabled(enum log_level level);

struct log_field {
    enum { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_INT } kind;
    const char *name;
    const char *text; /* need not end in NUL */
    size_t text_len;
    int64_t number;
};

#define LOG_TEXT(name, text_) ((struct log_field){LOG_FIELD_TEXT, name, text_, strlen(text_), 0})
#define LOG_SPAN(name, text_, len_) ((struct log_field){LOG_FIELD_TEXT, name, text_, len_, 0})
#define LOG_INT(name, number_) ((struct log_field){LOG_FIELD_INT, name, NULL, 0, number_})

/* Writes one line, if that level is enabled and its kind has not used up its allowance. Longer than
 * 4 KiB it is cut at the end of a character, and ends with the field cut=true. `module` and
 * `message` are string literals, `fields` ends with LOG_FIELD_END. */
void log_write(enum log_level level, const char *module, const char *message,
               const struct log_field *fields);

/* Writes a line for each line of `text` (NULL: none), which is its field `why`. */
void log_lines(enum log_level level, const char *module, const char *message, const char *text);

/* Says how many lines were left out or lost, some seconds after the first of them. To be called
 * about once a second, and costs nothing while there is nothing to say. */
void log_tick(void);

/* The same at once, for the end of a process. */
void log_end(void);

/* log_event(LOG_INFO, "hub", "task watched", LOG_TEXT("task", id), LOG_INT("watchers", 3)); */
#define log_event(level, module, message, ...)                                           \
    do {                                                                                 \
        if (log_enabled(level)) {                                                        \
            log_write(level, module, message,                                            \
                      (const struct log_field[]){                                        \
                          __VA_ARGS__ __VA_OPT__(, ){LOG_FIELD_END, NULL, NULL, 0, 0}}); \
        }                                                                                \
    } while (0)

#endif
