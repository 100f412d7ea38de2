#include "common/state_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The variable's value; NULL when it isn't set, or empty. */
static const char *variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (; *environment; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=') {
            const char *value = *environment + len + 1;
            return *value ? value : NULL;
        }
    }
    return NULL;
}

static int join(char ret_path[PATH_MAX], const char *first, size_t first_len, const char *rest)
{
    if (first_len + strlen(rest) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(ret_path, first, first_len);
    strcpy(ret_path + first_len, rest);
    return 0;
}

int state_dir_default(char *const *environment, char ret_path[PATH_MAX])
{
    const char *base = variable(environment, "STATE_DIRECTORY");

    if (base) {
        return join(ret_path, base, strcspn(base, ":"), "");
    }
    if (geteuid() == 0) {
        return join(ret_path, "", 0, "/var/lib/progressd");
    }
    if ((base = variable(environment, "XDG_STATE_HOME"))) {
        return join(ret_path, base, strlen(base), "/progressd");
    }
    if ((base = variable(environment, "HOME"))) {
        return join(ret_path, base, strlen(base), "/.local/state/progressd");
    }
    return -ENOENT;
}

static int make_one(const char *path)
{
    struct stat status;

    if (mkdir(path, 0700) == 0) {
        return 0;
    }
    if (errno != EEXIST) {
        return -errno;
    }
    if (stat(path, &status) < 0) {
        return -errno;
    }
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int state_dir_make(const char *path)
{
    char partial[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof(partial)) {
        return -ENAMETOOLONG;
    }
    memcpy(partial, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (partial[i] == '/') {
            partial[i] = '\0';
            int rc = make_one(partial);
            if (rc) {
                return rc;
            }
            partial[i] = '/';
        }
    }
    return make_one(partial);
}
