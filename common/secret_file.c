#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int secret_file_judge(const char *path, char why[SECRET_FILE_WHY_SIZE])
{
    struct stat status;

    if (stat(path, &status) < 0) {
        return -errno;
    }
    const char *kind = S_ISDIR(status.st_mode) ? "0700" : "0600";
    if (status.st_uid != geteuid() && status.st_uid != 0) {
        snprintf(why, SECRET_FILE_WHY_SIZE,
                 "belongs to user %u, who can read and change it; progressd runs as user %u",
                 (unsigned)status.st_uid, (unsigned)geteuid());
        return SECRET_FILE_UNSAFE;
    }
    /* That others may see which files a folder has tells them nothing. */
    mode_t others = status.st_mode & (S_ISDIR(status.st_mode) ? S_IWOTH : S_IROTH | S_IWOTH);
    if (others) {
        snprintf(why, SECRET_FILE_WHY_SIZE, "can be %s by every user; make its mode %s",
                 others & S_IWOTH ? "changed" : "read", kind);
        return SECRET_FILE_UNSAFE;
    }
    return 0;
}

static int read_all(int fd, struct text *text)
{
    char buffer[4096];
    ssize_t count;
    int rc = 0;

    do {
        count = read(fd, buffer, sizeof(buffer));
        if (count > 0) {
            text_append(text, buffer, (size_t)count);
        }
    } while ((count > 0 && text->len <= SECRET_FILE_MAX) || (count < 0 && errno == EINTR));
    if (count < 0) {
        rc = -errno;
    }
    explicit_bzero(buffer, sizeof(buffer));
    return rc;
}

static void trim_line_ends(struct text *text)
{
    while (text->len > 0 && strchr("\r\n", text->data[text->len - 1])) {
        text->data[--text->len] = '\0';
    }
}

int secret_file_read(const char *path, struct text *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    int rc = read_all(fd, text);
    close(fd);
    if (rc) {
        return rc;
    }
    if (text_failed(text)) {
        return -ENOMEM;
    }
    if (text->len > SECRET_FILE_MAX || (text->len > 0 && strlen(text->data) < text->len)) {
        return SECRET_FILE_INVALID;
    }
    trim_line_ends(text);
    return 0;
}

void secret_text_deinit(struct text *text)
{
    if (text->data) {
        explicit_bzero(text->data, text->len);
    }
    text_deinit(text);
}
