#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/process/redis_server.h"

static char directory[] = "/tmp/test_redis_server.XXXXXX";
static char why[REDIS_SERVER_WHY_SIZE];

static void make_directory(void)
{
    cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/" REDIS_SERVER_LOCK, directory);
    unlink(path);
    rmdir(directory);
}

TestSuite(redis_server, .init = make_directory, .fini = remove_directory);

/* ── The directory ───────────────────────────────────────────────────────────────────────────── */

Test(redis_server, a_directory_is_claimed_by_one_at_a_time)
{
    int lock = -1, other = -1;

    cr_assert_eq(redis_server_claim(directory, &lock, why), 0);
    cr_assert(fcntl(lock, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(redis_server_claim(directory, &other, why), REDIS_SERVER_INVALID);
    cr_assert_not_null(strstr(why, "another progressd uses the state directory"));
    cr_assert_not_null(strstr(why, directory));
    cr_assert_eq(other, -1);
    close(lock);
    cr_assert_eq(redis_server_claim(directory, &other, why), 0);
    close(other);
}

Test(redis_server, a_missing_directory_is_made_for_its_owner_alone)
{
    char path[64];
    struct stat status;
    int lock;

    snprintf(path, sizeof(path), "%s/new", directory);
    cr_assert_eq(redis_server_claim(path, &lock, why), 0);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0700);
    close(lock);
    strcat(path, "/" REDIS_SERVER_LOCK);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

Test(redis_server, a_directory_that_cannot_be_made_is_told_with_the_reason)
{
    int lock;

    cr_assert_eq(redis_server_claim("/dev/null/state", &lock, why), REDIS_SERVER_INVALID);
    cr_assert_str_eq(why, "cannot make the state directory /dev/null/state: Not a directory");
}

Test(redis_server, the_longest_path_leaves_room_for_the_socket)
{
    char path[REDIS_SERVER_PATH_SIZE];
    int lock;

    memset(path, 'x', sizeof(path));
    memcpy(path, "/dev/null/", 10);
    path[REDIS_SERVER_PATH_SIZE - sizeof("/" STATE_DIR_REDIS_SOCKET)] = '\0';
    cr_assert_eq(redis_server_claim(path, &lock, why), REDIS_SERVER_INVALID);
    cr_assert_not_null(strstr(why, "cannot make"), "%s", why);

    path[strlen(path)] = 'x';
    path[REDIS_SERVER_PATH_SIZE - sizeof("/" STATE_DIR_REDIS_SOCKET) + 1] = '\0';
    cr_assert_eq(redis_server_claim(path, &lock, why), REDIS_SERVER_INVALID);
    cr_assert_not_null(strstr(why, "97 bytes, and 96 are the most"), "%s", why);
}

/* ── Becoming another program ────────────────────────────────────────────────────────────────── */

/* The exit status of a child that becomes `program`; `parent` 0 is this process. */
static int become(char *program, int parent)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        parent = parent ? parent : getppid();
        _exit(redis_server_exec(parent, (char *const[]){program, NULL}));
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

Test(redis_server, a_child_becomes_the_program)
{
    cr_assert_eq(become("true", 0), 0);
    cr_assert_eq(become("false", 0), 1);
}

Test(redis_server, a_program_that_is_missing_or_cannot_run_is_told_apart)
{
    cr_assert_eq(become("/nowhere/redis-server", 0), REDIS_SERVER_EXIT_NOT_FOUND);
    cr_assert_eq(become("/dev/null", 0), REDIS_SERVER_EXIT_FAILED);
}

Test(redis_server, a_child_whose_parent_is_gone_becomes_nothing)
{
    cr_assert_eq(become("true", 1), REDIS_SERVER_EXIT_FAILED);
}
