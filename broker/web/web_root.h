/* The folder of the web page: from a request's path to an open file in it.
 *
 * Receives   the path of a request
 * Hands on   the file, open, and what fstat(2) says of it
 * Owns       nothing
 *
 * No path leaves the folder. Once decoded a path has no NUL, no empty component and none that
 * begins with a dot, so neither `..` nor hidden files. The kernel holds what is left to the folder
 * (openat2(2), RESOLVE_BENEATH): symlinks work as long as they stay within, and lead to nothing
 * that is hidden (read from /proc). Where the kernel, or a container's filter, has no openat2(2),
 * no symlink below the folder is followed at all.
 *
 * The folder itself is opened anew each time, and may be a symlink: so one that is put in its place
 * while the broker runs is the one that is served.
 */
#ifndef PROGRESSD_BROKER_WEB_WEB_ROOT_H
#define PROGRESSD_BROKER_WEB_WEB_ROOT_H

#include <sys/stat.h>

#include "proto/json.h"

/* Longest path of a file below the folder. */
#define WEB_PATH_MAX 1023

struct web_file {
    int fd;                      /* regular, read-only; whoever asked closes it */
    struct stat status;          /* what it was when it was opened */
    char path[WEB_PATH_MAX + 1]; /* below the folder, decoded: "assets/index.js" */
};

enum web_root_outcome {
    WEB_ROOT_MISSING = 1, /* no file that may be served, for whatever reason */
    WEB_ROOT_FOLDER,      /* a folder, without the slash behind its name */
};

/* Opens the file that `encoded_path` (of a request, as it came) names below the folder `root`; a
 * path that ends in a slash names the folder's index.html. 0 and *ret_file; a web_root_outcome;
 * -errno when the system can't now: -EMFILE and the like; -EAGAIN while files are being moved. */
int web_root_open(const char *root, struct span encoded_path, struct web_file *ret_file) MUST_CHECK;

#endif
