#include "client/cli/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret_file.h"

#define VARIABLE_MAX 64

/* ── The environment ─────────────────────────────────────────────────────────────────────────── */

int secret_from_environment(const char *variable, struct text *text)
{
    char file_variable[VARIABLE_MAX];
    const char *value = getenv(variable);

    if (value && *value) {
        text_puts(text, value);
    } else {
        snprintf(file_variable, sizeof(file_variable), "%s_FILE", variable);
        const char *path = getenv(file_variable);
        if (!path || !*path) {
            return SECRET_NONE;
        }
        int rc = secret_file_read(path, text);
        if (rc) {
            return rc < 0 ? rc : -EINVAL;
        }
    }
    return text_failed(text) ? -ENOMEM : text->len == 0 ? -ENODATA : 0;
}

/* ── The command line ────────────────────────────────────────────────────────────────────────── */

static void cover(const char *at, size_t len)
{
    memset((char *)at, 'x', len);
}

void secret_cover(const char *argument)
{
    if (argument) {
        cover(argument, strlen(argument));
    }
}

void secret_cover_url(const char *argument)
{
    const char *user = argument ? strstr(argument, "://") : NULL;

    if (!user) {
        return;
    }
    user += strlen("://");
    const char *at = memrchr(user, '@', strcspn(user, "/"));
    const char *colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;
    if (colon) {
        cover(colon + 1, (size_t)(at - colon - 1));
    }
}

void secret_cover_key(const char *argument)
{
    const char *data = argument ? strstr(argument, ":base64:") : NULL;

    if (data) {
        secret_cover(data + strlen(":base64:"));
    }
}
