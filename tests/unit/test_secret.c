#include "client/cli/secret.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_cover(void (*cover)(const char *), const char *argument, const char *covered)
{
    char copy[128];

    strcpy(copy, argument);
    cover(copy);
    cr_assert_str_eq(copy, covered, "%s: %s", argument, copy);
}

Test(secret, the_password_of_a_url_is_covered)
{
    check_cover(secret_cover_url, "redis://user:pass@host:6379", "redis://user:xxxx@host:6379");
    check_cover(secret_cover_url, "redis://:p%40ss@host", "redis://:xxxxxx@host");
    check_cover(secret_cover_url, "redis://:a:b@c@host/0", "redis://:xxxxx@host/0");
    check_cover(secret_cover_url, "unix://user:pass@/run/a:b@c", "unix://user:xxxx@/run/a:b@c");
    check_cover(secret_cover_url, "redis://host:6379", "redis://host:6379");
    check_cover(secret_cover_url, "unix:///run/a:b@c", "unix:///run/a:b@c");
    check_cover(secret_cover_url, "", "");
    check_cover(secret_cover_url, "user:pass@host", "user:pass@host");
}

Test(secret, tokens_and_keys_are_covered)
{
    check_cover(secret_cover, "a.b.c", "xxxxx");
    check_cover(secret_cover_key, "me=HS256:base64:AAAA", "me=HS256:base64:xxxx");
    check_cover(secret_cover_key, "HS256:/etc/key", "HS256:/etc/key");
    secret_cover(NULL);
    secret_cover_url(NULL);
    secret_cover_key(NULL);
}

static int read_variable(char *ret_value)
{
    struct text text = TEXT_EMPTY;
    int rc = secret_from_environment("SECRET_TEST", &text);

    strcpy(ret_value, rc == 0 ? text.data : "");
    text_deinit(&text);
    return rc;
}

static void write_file(const char *path, const char *content, size_t len)
{
    FILE *file = fopen(path, "w");

    cr_assert_eq(fwrite(content, 1, len, file), len);
    fclose(file);
}

Test(secret, a_variable_or_the_file_that_another_names_is_read)
{
    char path[] = "/tmp/secret-XXXXXX", value[128];
    static char long_content[70000];

    cr_assert_eq(read_variable(value), SECRET_NONE);
    close(mkstemp(path));
    setenv("SECRET_TEST_FILE", path, 1);
    cr_assert_eq(read_variable(value), -ENODATA);
    write_file(path, "a b\r\n\n", 6);
    cr_assert_eq(read_variable(value), 0);
    cr_assert_str_eq(value, "a b");
    memset(long_content, 'x', sizeof(long_content));
    write_file(path, long_content, sizeof(long_content));
    cr_assert_eq(read_variable(value), -EINVAL);
    setenv("SECRET_TEST", "direct", 1);
    cr_assert_eq(read_variable(value), 0);
    cr_assert_str_eq(value, "direct");
    unlink(path);
    unsetenv("SECRET_TEST");
    cr_assert_eq(read_variable(value), -ENOENT);
}
