#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/secret_file.h"

static char path[32];

static void make_file(void)
{
    strcpy(path, "/tmp/test_secret_file.XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
    rmdir(path);
}

TestSuite(secret_file, .init = make_file, .fini = remove_file);

/* What is unsafe about the file in that mode; "" when nothing is. */
static const char *judged(mode_t mode)
{
    static char why[SECRET_FILE_WHY_SIZE];

    cr_assert_eq(chmod(path, mode), 0);
    int rc = secret_file_judge(path, why);
    cr_assert(rc == 0 || rc == SECRET_FILE_UNSAFE);
    return rc == 0 ? "" : why;
}

Test(secret_file, a_file_is_safe_that_not_every_user_may_read)
{
    cr_assert_str_eq(judged(0600), "");
    cr_assert_str_eq(judged(0440), "");
    cr_assert_str_eq(judged(0644), "can be read by every user; make its mode 0600");
    cr_assert_str_eq(judged(0602), "can be changed by every user; make its mode 0600");
}

Test(secret_file, a_folder_is_safe_that_not_every_user_may_change)
{
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_str_eq(judged(0755), "");
    cr_assert_str_eq(judged(01777), "can be changed by every user; make its mode 0700");
}

Test(secret_file, another_users_file_is_not_safe)
{
    if (geteuid() != 0) {
        cr_skip("only root can give a file away");
    }
    cr_assert_eq(chown(path, 12345, (gid_t)-1), 0);
    cr_assert_not_null(strstr(judged(0600), "belongs to user 12345"));
}

Test(secret_file, a_missing_file_is_an_error)
{
    char why[SECRET_FILE_WHY_SIZE];
    struct text text = TEXT_EMPTY;

    cr_assert_eq(secret_file_judge("/nowhere/x", why), -ENOENT);
    cr_assert_eq(secret_file_read("/nowhere/x", &text), -ENOENT);
    cr_assert_eq(secret_file_read("/tmp", &text), -EISDIR);
    secret_text_deinit(&text);
}

/* Reads the file after it was given `len` bytes. */
static int read_back(const char *content, size_t len, struct text *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_eq(fwrite(content, 1, len, file), len);
    fclose(file);
    secret_text_deinit(text);
    return secret_file_read(path, text);
}

Test(secret_file, its_text_is_read_without_the_line_ends_behind_it)
{
    static char content[SECRET_FILE_MAX + 1];
    struct text text = TEXT_EMPTY;

    cr_assert_eq(read_back("a\nb\r\n\n", 6, &text), 0);
    cr_assert_str_eq(text.data, "a\nb");
    cr_assert_eq(read_back("", 0, &text), 0);
    cr_assert_eq(text.len, 0);
    cr_assert_eq(read_back("a\0b", 3, &text), SECRET_FILE_INVALID);
    memset(content, 'x', sizeof(content));
    cr_assert_eq(read_back(content, SECRET_FILE_MAX, &text), 0);
    cr_assert_eq(text.len, SECRET_FILE_MAX);
    cr_assert_eq(read_back(content, sizeof(content), &text), SECRET_FILE_INVALID);
    secret_text_deinit(&text);
}
