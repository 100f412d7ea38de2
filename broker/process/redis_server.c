#include "broker/process/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

/* ── The directory ───────────────────────────────────────────────────────────────────────────── */

static int redis_server_refuse(char why[REDIS_SERVER_WHY_SIZE], const char *what,
                               const char *state_dir, const char *reason)
{
    snprintf(why, REDIS_SERVER_WHY_SIZE, "%s %s: %s", what, state_dir, reason);
    return REDIS_SERVER_INVALID;
}

static int redis_server_lock(const char *state_dir, int *ret_lock, char why[REDIS_SERVER_WHY_SIZE])
{
    char path[REDIS_SERVER_PATH_SIZE];
    int fd;

    snprintf(path, sizeof(path), "%s/" REDIS_SERVER_LOCK, state_dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return redis_server_refuse(why, "cannot write in the state directory", state_dir,
                                   strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return redis_server_refuse(why, "another progressd uses the state directory", state_dir,
                                   "give this one its own with --state-dir");
    }
    *ret_lock = fd;
    return 0;
}

int redis_server_claim(const char *state_dir, int *ret_lock, char why[REDIS_SERVER_WHY_SIZE])
{
    if (strlen(state_dir) + sizeof("/" STATE_DIR_REDIS_SOCKET) > REDIS_SERVER_PATH_SIZE) {
        snprintf(why, REDIS_SERVER_WHY_SIZE,
                 "the path of the state directory is too long for a socket in it: %zu bytes, and "
                 "%zu are the most",
                 strlen(state_dir), REDIS_SERVER_PATH_SIZE - sizeof("/" STATE_DIR_REDIS_SOCKET));
        return REDIS_SERVER_INVALID;
    }
    int rc = state_dir_make(state_dir);
    if (rc < 0) {
        return redis_server_refuse(why, "cannot make the state directory", state_dir,
                                   strerror(-rc));
    }
    return redis_server_lock(state_dir, ret_lock, why);
}

/* ── The process ─────────────────────────────────────────────────────────────────────────────── */

int redis_server_spawn(uv_loop_t *loop, uv_process_t *process, const char *state_dir,
                       uv_exit_cb on_exit)
{
    char parent[16], socket[REDIS_SERVER_PATH_SIZE], log[REDIS_SERVER_PATH_SIZE];
    /* clang-format off */
    const char *argv[] = {
        "progressd", REDIS_SERVER_ROLE, parent, "redis-server",
        /* nowhere but on the socket, and for this user only */
        "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
        /* every write is kept; a full memory refuses new ones rather than forget old ones */
        "--dir", state_dir, "--appendonly", "yes", "--save", "",
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no", "--logfile", log, NULL,
    };
    /* clang-format on */
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
    const uv_process_options_t options = {
        .exit_cb = on_exit,
        .file = "/proc/self/exe",
        .args = (char **)argv,
        .stdio = stdio,
        .stdio_count = ARRAY_LEN(stdio),
    };

    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    snprintf(socket, sizeof(socket), "%s/" STATE_DIR_REDIS_SOCKET, state_dir);
    snprintf(log, sizeof(log), "%s/" REDIS_SERVER_LOG, state_dir);
    return uv_spawn(loop, process, &options);
}

int redis_server_exec(int parent, char *const *argv)
{
    /* A group of its own, so that Ctrl-C in a terminal doesn't end it before its users. */
    if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        return REDIS_SERVER_EXIT_FAILED;
    }
    /* The parent may have died before the line above. */
    if (getppid() != parent) {
        return REDIS_SERVER_EXIT_FAILED;
    }
    execvp(argv[0], argv);
    return errno == ENOENT ? REDIS_SERVER_EXIT_NOT_FOUND : REDIS_SERVER_EXIT_FAILED;
}
