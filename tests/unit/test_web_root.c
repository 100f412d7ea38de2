#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/web/web_root.h"

/* A folder `root`, and beside it what must never be served. */
static char directory[] = "/tmp/test_web_root.XXXXXX";
static char root[64];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

static void enter_directory(void)
{
    strcpy(directory + sizeof(directory) - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    snprintf(root, sizeof(root), "%s/root", directory);
    cr_assert_eq(mkdir("root", 0700) | mkdir("root/assets", 0700) | mkdir("root/.git", 0700), 0);
    write_file("secret", "secret");
    write_file("root/index.html", "index");
    write_file("root/assets/app.js", "app");
    write_file("root/assets/index.html", "assets' index");
    write_file("root/a b%2f", "odd");
    write_file("root/.env", "hidden");
    write_file("root/.git/config", "hidden");
}

static void remove_directory(void)
{
    char command[80];

    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(web_root, .init = enter_directory, .fini = remove_directory);

static int open_path(const char *path, struct web_file *file)
{
    return web_root_open(root, (struct span){path, strlen(path)}, file);
}

/* What the path yields: the file's content, or why there is none. */
static const char *found(const char *path)
{
    static char text[64];
    struct web_file file;
    ssize_t n;

    switch (open_path(path, &file)) {
    case 0:
        n = read(file.fd, text, sizeof(text) - 1);
        cr_assert_geq(n, 0);
        cr_assert_eq(n, file.status.st_size);
        close(file.fd);
        text[n] = '\0';
        return text;
    case WEB_ROOT_MISSING:
        return "(missing)";
    case WEB_ROOT_FOLDER:
        return "(folder)";
    default:
        return "(error)";
    }
}

/* From here on openat2(2) fails with that, as on an old kernel or behind a container's filter. */
static void forbid_openat2(int with_errno)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)with_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(rules), .filter = rules};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    cr_assert_lt(syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0), 0);
    cr_assert_eq(errno, with_errno);
}

/* ── What is found ───────────────────────────────────────────────────────────────────────────── */

static void check_what_is_served(void)
{
    cr_expect_str_eq(found("/"), "index");
    cr_expect_str_eq(found("/index.html"), "index");
    cr_expect_str_eq(found("/assets/app.js"), "app");
    cr_expect_str_eq(found("/%61ssets%2Fapp%2ejs"), "app");
    cr_expect_str_eq(found("/assets/"), "assets' index");
    cr_expect_str_eq(found("/assets"), "(folder)");
    cr_expect_str_eq(found("/a%20b%252f"), "odd");
    cr_expect_str_eq(found("/nothing"), "(missing)");
    cr_expect_str_eq(found("/nothing/"), "(missing)");
    cr_expect_str_eq(found("/index.html/"), "(missing)");
    cr_expect_str_eq(found("/index.html/more"), "(missing)");
}

Test(web_root, finds_files_and_the_indexes_of_folders)
{
    check_what_is_served();
}

Test(web_root, tells_the_files_path_below_the_folder)
{
    struct web_file file;

    cr_assert_eq(open_path("/%61ssets/", &file), 0);
    cr_assert_str_eq(file.path, "assets/index.html");
    cr_assert(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
    close(file.fd);
}

Test(web_root, the_folder_may_be_a_symlink_and_is_opened_anew_each_time)
{
    snprintf(root, sizeof(root), "%s/current", directory);
    cr_assert_str_eq(found("/"), "(missing)");
    cr_assert_eq(symlink("root", "current"), 0);
    cr_assert_str_eq(found("/"), "index");
    cr_assert_eq(unlink("current") | symlink("root/assets", "current"), 0);
    cr_assert_str_eq(found("/"), "assets' index");
}

/* ── What is not ─────────────────────────────────────────────────────────────────────────────── */

static const char *const escapes[] = {
    "/../secret",
    "/..",
    "/../",
    "/.",
    "/./index.html",
    "/assets/../index.html",
    "/assets/../../secret",
    "/assets/..",
    "/%2e%2e/secret",
    "/%2E%2E%2Fsecret",
    "/.%2e/secret",
    "/..%2fsecret",
    "/assets%2f..%2f..%2fsecret",
    "/assets/%2e%2e/%2e%2e/secret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/%c0%ae%c0%ae/secret",
    "/..\\secret",
    "/%5c..%5csecret",
    "/..;/secret",
    "/.../secret",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/%2f%2fetc%2fpasswd",
    "///",
    "/assets//app.js",
    "//",
    "/index.html%00",
    "/index.html%00.js",
    "/%00",
    "/assets/%00/../../secret",
    "/.env",
    "/%2eenv",
    "/.git/config",
    "/.git/",
    "/assets/.env",
    "/%",
    "/%2",
    "/%zz",
    "/index.html%",
    "/index.html\n",
    "",
    "*",
    "index.html",
    "example.com:80",
};

static void check_what_is_refused(void)
{
    write_file("root/assets/.env", "hidden");
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        cr_expect_str_eq(found(escapes[i]), "(missing)", "%s", escapes[i]);
    }
}

Test(web_root, no_path_leads_out_or_to_what_is_hidden)
{
    check_what_is_refused();
}

Test(web_root, a_path_that_is_too_long_is_missing)
{
    char path[2 * WEB_PATH_MAX];

    for (size_t len = WEB_PATH_MAX - 20; len < WEB_PATH_MAX + 20; len++) {
        memset(path, 'a', len);
        path[0] = '/';
        path[len - 1] = '/';
        cr_assert_eq(web_root_open(root, (struct span){path, len}, &(struct web_file){0}),
                     WEB_ROOT_MISSING, "%zu", len);
    }
    memset(path, 'a', sizeof(path));
    for (size_t i = 0; i < sizeof(path); i += 2) {
        path[i] = '/';
    }
    cr_assert_eq(web_root_open(root, (struct span){path, sizeof(path)}, &(struct web_file){0}),
                 WEB_ROOT_MISSING);
}

static void make_links(void)
{
    char target[80];

    cr_assert_eq(symlink("../secret", "root/out") | symlink("..", "root/up") |
                     symlink("/", "root/slash") | symlink("/proc/self/root", "root/magic") |
                     symlink("loop", "root/loop") | symlink("gone", "root/dangling") |
                     symlink("assets/../../secret", "root/winding"),
                 0);
    snprintf(target, sizeof(target), "%s/root/index.html", directory);
    cr_assert_eq(symlink(target, "root/absolute"), 0);
    cr_assert_eq(symlink("assets/app.js", "root/inside.js") |
                     symlink("../index.html", "root/assets/above.html") |
                     symlink("assets", "root/folder"),
                 0);
}

static void check_links_that_lead_out(void)
{
    cr_expect_str_eq(found("/out"), "(missing)");
    cr_expect_str_eq(found("/up/secret"), "(missing)");
    cr_expect_str_eq(found("/up"), "(missing)");
    cr_expect_str_eq(found("/slash/etc/passwd"), "(missing)");
    cr_expect_str_eq(found("/magic/etc/passwd"), "(missing)");
    cr_expect_str_eq(found("/loop"), "(missing)");
    cr_expect_str_eq(found("/dangling"), "(missing)");
    cr_expect_str_eq(found("/winding"), "(missing)");
    cr_expect_str_eq(found("/absolute"), "(missing)");
}

Test(web_root, no_symlink_leads_to_what_is_hidden)
{
    cr_assert_eq(symlink(".env", "root/env.txt") | symlink(".git", "root/git") |
                     symlink("../.env", "root/assets/env.txt") |
                     symlink("env.txt", "root/twice.txt"),
                 0);
    cr_expect_str_eq(found("/env.txt"), "(missing)");
    cr_expect_str_eq(found("/git/config"), "(missing)");
    cr_expect_str_eq(found("/git"), "(missing)");
    cr_expect_str_eq(found("/assets/env.txt"), "(missing)");
    cr_expect_str_eq(found("/twice.txt"), "(missing)");
}

Test(web_root, the_folder_itself_may_lie_below_a_hidden_one)
{
    cr_assert_eq(mkdir(".builds", 0700) | rename("root", ".builds/7") |
                     symlink(".builds/7", "root") | symlink("app.js", "root/assets/latest.js"),
                 0);
    cr_expect_str_eq(found("/assets/latest.js"), "app");
}

Test(web_root, symlinks_work_as_long_as_they_stay_within)
{
    make_links();
    check_links_that_lead_out();
    cr_expect_str_eq(found("/inside.js"), "app");
    cr_expect_str_eq(found("/assets/above.html"), "index");
    cr_expect_str_eq(found("/folder/app.js"), "app");
    cr_expect_str_eq(found("/folder"), "(folder)");
}

static void check_without_openat2(int with_errno)
{
    make_links();
    forbid_openat2(with_errno);
    check_what_is_served();
    check_what_is_refused();
    check_links_that_lead_out();
    cr_expect_str_eq(found("/inside.js"), "(missing)");
    cr_expect_str_eq(found("/assets/above.html"), "(missing)");
    cr_expect_str_eq(found("/folder/app.js"), "(missing)");
}

Test(web_root, without_openat2_no_symlink_is_followed_and_the_rest_is_the_same)
{
    check_without_openat2(ENOSYS);
}

Test(web_root, a_filter_that_forbids_openat2_is_no_different)
{
    check_without_openat2(EPERM);
}

Test(web_root, only_regular_files_are_served)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "root/socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(mkfifo("root/pipe", 0600), 0);
    cr_expect_str_eq(found("/pipe"), "(missing)");
    cr_expect_str_eq(found("/socket"), "(missing)");
    if (mknod("root/device", S_IFCHR | 0600, 1 << 8 | 3) == 0) { /* /dev/null; root's alone */
        cr_expect_str_eq(found("/device"), "(missing)");
    }
    close(fd);
}

Test(web_root, that_descriptors_ran_out_is_no_missing_file)
{
    const int next = dup(0); /* the first that is free */
    struct web_file file;
    struct rlimit limit;
    int r = -EMFILE;

    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    for (limit.rlim_cur = (rlim_t)next; r != 0; limit.rlim_cur++) {
        cr_assert_eq(r, -EMFILE);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        r = open_path("/", &file);
        cr_assert(r != 0 || limit.rlim_cur >= (rlim_t)next + 2, "one for the folder, one for it");
    }
    close(file.fd);
}
