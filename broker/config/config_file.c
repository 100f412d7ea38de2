#include "broker/config/config_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define BLANKS " \t\r\n\v\f"

struct config_file {
    const char *path;
    int line;      /* from 1 */
    char *name;    /* of the last line that had one, which an indented line goes on with; or NULL */
    char *section; /* another one than [progressd]; NULL: in that or in none */
    config_file_on_line on_line;
    void *context;
    struct text *message;
};

PRINTF_LIKE(2, 3) static int fail(const struct config_file *file, const char *format, ...)
{
    char reason[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    text_printf(file->message, "%s:%d: %s\n", file->path, file->line, reason);
    return CONFIG_FILE_INVALID;
}

static bool is_blank(char c)
{
    return strchr(BLANKS, c) != NULL; /* the NUL too */
}

static bool begins_comment(char c)
{
    return c == '#' || c == ';';
}

/* Whether nothing but a comment follows. */
static bool is_end(const char *text)
{
    text += strspn(text, BLANKS);
    return !*text || begins_comment(*text);
}

/* Cuts blanks off the end. */
static void trim_end(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && is_blank(text[len - 1])) {
        len--;
    }
    text[len] = '\0';
}

/* Takes a value out of its quotes, within which \" and \\ stand for " and \. False if the quotes
 * don't close, or anything but a comment follows them. */
static bool unquote(char *value)
{
    char *to = value, *from = value + 1;

    for (; *from != '"'; from++) {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\')) {
            from++;
        }
        if (!*from) {
            return false;
        }
        *to++ = *from;
    }
    *to = '\0';
    return is_end(from + 1);
}

/* Cuts a comment off: it begins the value, or follows a blank. */
static void cut_comment(char *value)
{
    for (char *at = value; *at; at++) {
        if (begins_comment(*at) && (at == value || is_blank(at[-1]))) {
            *at = '\0';
            return;
        }
    }
}

static int take_value(struct config_file *file, char *value)
{
    value += strspn(value, BLANKS);
    if (*value == '"') {
        if (!unquote(value)) {
            return fail(file, "has a value whose quotes do not close at its end");
        }
    } else {
        cut_comment(value);
        trim_end(value);
    }
    if (file->section) {
        return fail(file, "is in section [%s]: options stand in [progressd] or in no section",
                    file->section);
    }
    return file->on_line(file->context, file->name, value, file->line);
}

static int take_pair(struct config_file *file, char *line)
{
    char *equals = strchr(line, '=');

    if (!equals) {
        return fail(file, "is neither `name = value` nor a comment");
    }
    *equals = '\0';
    trim_end(line);
    mem_free(file->name);
    file->name = mem_strndup(line, strlen(line));
    return file->name ? take_value(file, equals + 1) : -ENOMEM;
}

static int take_section(struct config_file *file, char *line)
{
    char *end = strchr(line, ']');

    if (!end || !is_end(end + 1)) {
        return fail(file, "is neither `name = value` nor a comment");
    }
    *end = '\0';
    mem_free(file->name);
    mem_free(file->section);
    file->name = file->section = NULL;
    if (strcmp(line + 1, "progressd") != 0) {
        file->section = mem_strndup(line + 1, strlen(line + 1));
        return file->section ? 0 : -ENOMEM;
    }
    return 0;
}

static int take_line(struct config_file *file, char *line)
{
    char *start = line + strspn(line, BLANKS);

    if (!*start || begins_comment(*start)) {
        return 0;
    }
    if (start > line && file->name) {
        return take_value(file, start);
    }
    return *start == '[' ? take_section(file, start) : take_pair(file, start);
}

static int read_lines(struct config_file *file, FILE *stream)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int rc = 0;

    errno = 0;
    while (rc == 0 && (len = getline(&line, &size, stream)) >= 0) {
        file->line++;
        bool is_marked = file->line == 1 && strncmp(line, byte_order_mark, 3) == 0;
        rc = strlen(line) < (size_t)len ? fail(file, "has a NUL byte")
                                        : take_line(file, line + (is_marked ? 3 : 0));
        explicit_bzero(line, size);
    }
    free(line);
    if (rc == 0 && !feof(stream)) {
        text_printf(file->message, "%s: cannot be read: %s\n", file->path, strerror(errno));
        rc = errno == ENOMEM ? -ENOMEM : CONFIG_FILE_INVALID;
    }
    return rc;
}

int config_file_read(const char *path, config_file_on_line on_line, void *context,
                     struct text *message)
{
    struct config_file file = {
        .path = path, .on_line = on_line, .context = context, .message = message};
    FILE *stream = fopen(path, "re");

    if (!stream) {
        text_printf(message, "%s: cannot be read: %s\n", path, strerror(errno));
        return CONFIG_FILE_INVALID;
    }
    int rc = read_lines(&file, stream);
    mem_free(file.name);
    mem_free(file.section);
    fclose(stream);
    return rc;
}
