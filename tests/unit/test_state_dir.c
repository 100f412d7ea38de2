#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/state_dir.h"

#define NOBODY 65534

static const char *default_in(char *const *environment)
{
    static char path[PATH_MAX];
    int rc = state_dir_default(environment, path);

    return rc ? strerror(-rc) : path;
}

Test(state_dir, systemd_names_it_first_of_all)
{
    char *one[] = {"HOME=/home/x", "STATE_DIRECTORY=/var/lib/a", NULL};
    char *two[] = {"STATE_DIRECTORY=/var/lib/a:/var/lib/b", NULL};

    cr_assert_str_eq(default_in(one), "/var/lib/a");
    cr_assert_str_eq(default_in(two), "/var/lib/a");
}

Test(state_dir, a_user_has_his_own_and_root_the_systems)
{
    char *both[] = {"STATE_DIRECTORY=", "HOME=/home/x", "XDG_STATE_HOME=/s", NULL};
    char *home[] = {"HOME_DIRECTORY=/y", "XDG_STATE_HOME=", "HOME=/home/x", NULL};
    char *none[] = {NULL};

    if (geteuid() == 0) {
        cr_assert_str_eq(default_in(both), "/var/lib/progressd");
        cr_assert_eq(seteuid(NOBODY), 0);
    }
    cr_assert_str_eq(default_in(both), "/s/progressd");
    cr_assert_str_eq(default_in(home), "/home/x/.local/state/progressd");
    cr_assert_str_eq(default_in(none), strerror(ENOENT));
    if (getuid() == 0) {
        cr_assert_eq(seteuid(0), 0); /* LeakSanitizer needs it when the test ends */
    }
}

Test(state_dir, a_path_that_is_too_long_is_refused)
{
    char variable[PATH_MAX + 32] = "STATE_DIRECTORY=";
    char *environment[] = {variable, NULL};

    memset(variable + 16, 'x', PATH_MAX);
    cr_assert_str_eq(default_in(environment), strerror(ENAMETOOLONG));
}

Test(state_dir, it_is_made_with_all_above_it_for_its_owner_alone)
{
    char top[] = "/tmp/test_state_dir.XXXXXX", path[64], file[80];
    struct stat status;

    cr_assert_not_null(mkdtemp(top));
    snprintf(path, sizeof path, "%s/a/b", top);
    cr_assert_eq(state_dir_make(path), 0);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0700);
    cr_assert_eq(state_dir_make(path), 0);

    snprintf(file, sizeof file, "%s/file", path);
    fclose(fopen(file, "w"));
    cr_assert_eq(state_dir_make(file), -ENOTDIR);
    strcat(file, "/below");
    cr_assert_eq(state_dir_make(file), -ENOTDIR);

    snprintf(file, sizeof file, "%s/file", path);
    unlink(file);
    rmdir(path);
    snprintf(path, sizeof path, "%s/a", top);
    rmdir(path);
    rmdir(top);
}
