#include "broker/web/web_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/http_target.h"

#define INDEX "index.html"

/* O_NONBLOCK: a pipe that lies in the folder must not keep us waiting for its writer. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

static void close_at(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

/* ── The path ────────────────────────────────────────────────────────────────────────────────── */

/* Whether each component is there and none begins with a dot. The last may be missing: then the
 * path ends in a slash, or is empty. */
static bool has_plain_components(const char *path)
{
    while (*path) {
        if (*path == '/' || *path == '.') {
            return false;
        }
        path += strcspn(path, "/");
        path += *path == '/';
    }
    return true;
}

/* Decodes it once, and without its first slash. False when it can't name a file that is served. */
static bool read_path(struct span encoded, char path[WEB_PATH_MAX + 1])
{
    size_t len;

    if (encoded.len == 0 || encoded.at[0] != '/' ||
        http_percent_decode((struct span){encoded.at + 1, encoded.len - 1}, path, WEB_PATH_MAX,
                            &len) != 0 ||
        memchr(path, '\0', len)) {
        return false;
    }
    path[len] = '\0';
    if (!has_plain_components(path)) {
        return false;
    }
    if (len == 0 || path[len - 1] == '/') {
        if (len + strlen(INDEX) > WEB_PATH_MAX) {
            return false;
        }
        strcpy(path + len, INDEX);
    }
    return true;
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

/* Goes down one folder after the other, none of which may be a symlink. The file, or -errno. */
static int walk(int root, const char *path)
{
    CLEANUP(close_at) int folder = -1;
    int fd;

    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        char name[WEB_PATH_MAX + 1];
        int next;

        memcpy(name, path, (size_t)(slash - path));
        name[slash - path] = '\0';
        next = openat(folder < 0 ? root : folder, name, FOLDER_FLAGS | O_NOFOLLOW);
        if (next < 0) {
            return -errno;
        }
        close_at(&folder);
        folder = next;
    }
    fd = openat(folder < 0 ? root : folder, path, READ_FLAGS | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* Where an open file lies, by name. False when the system can't say. */
static bool read_place(int fd, char place[PATH_MAX])
{
    char link[40];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, place, PATH_MAX - 1);
    if (len <= 0) {
        return false;
    }
    place[len] = '\0';
    return true;
}

/* Whether the file lies below the folder without a hidden name on the way there: a symlink may have
 * led to it. */
static bool lies_in_the_open(int root, int fd)
{
    char folder[PATH_MAX], file[PATH_MAX];
    size_t len;

    if (!read_place(root, folder) || !read_place(fd, file)) {
        return false;
    }
    len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    return strncmp(file, folder, len) == 0 && file[len] == '/' &&
           has_plain_components(file + len + 1);
}

/* Follows the symlinks on the way. The file, or -errno. */
static int follow(int root, const char *path)
{
    struct open_how how = {.flags = READ_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    const int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

    if (fd < 0) {
        return -errno;
    }
    if (!lies_in_the_open(root, fd)) {
        close(fd);
        return -EACCES;
    }
    return fd;
}

/* The file, or -errno. */
static int open_beneath(int root, const char *path)
{
    struct open_how how = {.flags = READ_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

    if (fd >= 0) {
        return fd;
    }
    if (errno == ELOOP) {
        return follow(root, path);
    }
    /* EPERM: how filters that are older than the call refuse it. */
    return errno == ENOSYS || errno == EPERM ? walk(root, path) : -errno;
}

/* Failures that are the system's, and pass; all others say that the path names nothing to serve. */
static bool is_passing(int error)
{
    return error == -EAGAIN || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -EINTR || error == -EIO;
}

static int web_root_failed(int error)
{
    return is_passing(error) ? error : WEB_ROOT_MISSING;
}

int web_root_open(const char *root, struct span encoded_path, struct web_file *ret_file)
{
    CLEANUP(close_at) int folder = -1;
    CLEANUP(close_at) int fd = -1;

    if (!read_path(encoded_path, ret_file->path)) {
        return WEB_ROOT_MISSING;
    }
    folder = open(root, FOLDER_FLAGS);
    if (folder < 0) {
        return web_root_failed(-errno);
    }
    fd = open_beneath(folder, ret_file->path);
    if (fd < 0) {
        return web_root_failed(fd);
    }
    if (fstat(fd, &ret_file->status) < 0) {
        return web_root_failed(-errno);
    }
    if (S_ISDIR(ret_file->status.st_mode)) {
        return WEB_ROOT_FOLDER;
    }
    if (!S_ISREG(ret_file->status.st_mode)) {
        return WEB_ROOT_MISSING;
    }
    ret_file->fd = fd;
    fd = -1;
    return 0;
}
