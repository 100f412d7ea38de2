#include "broker/config/config_file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct config_file {
    const char *path;
    FILE *stream;
    int line; /* the one that inih has, from 1 */
    int rc;   /* the first failure; nothing more is read after it */
    config_file_on_line on_line;
    void *context;
    struct text *message;
};

PRINTF_LIKE(2, 3) static void fail(struct config_file *file, const char *format, ...)
{
    char reason[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    text_printf(file->message, "%s:%d: %s\n", file->path, file->line, reason);
    file->rc = CONFIG_FILE_INVALID;
}

/* inih's ini_reader: fgets() that counts lines and refuses what inih would misread. */
static char *next_line(char *buffer, int size, void *context)
{
    struct config_file *file = context;

    if (file->rc || !fgets(buffer, size, file->stream)) {
        return NULL;
    }
    file->line++;
    size_t len = strlen(buffer);
    if ((len > 0 && buffer[len - 1] == '\n') || feof(file->stream)) {
        return buffer;
    }
    if (len < (size_t)size - 1) {
        fail(file, "has a NUL byte");
    } else {
        fail(file,
             "is longer than %d characters, the most that a line may have (a list goes on "
             "in the next line if that is indented; an environment variable has no limit)",
             size - 2);
    }
    return NULL;
}

/* inih's ini_handler: 0 is its failure. */
static int on_pair(void *context, const char *section, const char *name, const char *value)
{
    struct config_file *file = context;

    if (file->rc) {
        return 0;
    }
    if (*section && strcmp(section, "progressd") != 0) {
        fail(file, "is in section [%s]: options stand in [progressd] or in no section", section);
    } else {
        file->rc = file->on_line(file->context, name, value, file->line);
    }
    return file->rc == 0;
}

int config_file_read(const char *path, config_file_on_line on_line, void *context,
                     struct text *message)
{
    struct config_file file = {
        .path = path, .on_line = on_line, .context = context, .message = message};

    file.stream = fopen(path, "re");
    if (!file.stream) {
        text_printf(message, "%s: cannot be read: %s\n", path, strerror(errno));
        return CONFIG_FILE_INVALID;
    }
    errno = 0;
    int bad_line = ini_parse_stream(next_line, &file, on_pair, &file);
    if (file.rc == 0 && ferror(file.stream)) {
        text_printf(message, "%s: cannot be read: %s\n", path, strerror(errno));
        file.rc = CONFIG_FILE_INVALID;
    }
    if (bad_line > 0 && (file.rc == 0 || bad_line < file.line)) {
        file.line = bad_line; /* inih goes on behind a line that it can't read */
        fail(&file, "is neither `name = value` nor a comment");
    }
    fclose(file.stream);
    return file.rc;
}
