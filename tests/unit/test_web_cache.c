#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/web/web_cache.h"
#include "common/mem.h"

static char directory[] = "/tmp/test_web_cache.XXXXXX";
static struct web_cache *cache;

static void enter_directory(void)
{
    strcpy(directory + sizeof(directory) - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    cache = web_cache_new();
    cr_assert_not_null(cache);
}

static void remove_directory(void)
{
    char command[80];

    web_cache_free(cache);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(web_cache, .init = enter_directory, .fini = remove_directory);

/* The clock that files are judged at rest by: an hour from now unless a test says otherwise. */
static time_t ahead_s = 3600;

/* In place of libc's. */
time_t time(time_t *ret_time)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time) {
        *ret_time = now.tv_sec + ahead_s;
    }
    return now.tv_sec + ahead_s;
}

/* What fstat(2) says, instead of the truth; NULL: the truth. */
static const struct stat *claimed;

/* In place of libc's. */
int fstat(int fd, struct stat *ret_status)
{
    if (claimed) {
        *ret_status = *claimed;
        return 0;
    }
    return fstatat(fd, "", ret_status, AT_EMPTY_PATH);
}

static int open_file(const char *name, struct stat *status)
{
    int fd = open(name, O_RDONLY);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, status), 0);
    return fd;
}

static int get(const char *name, const struct web_content **ret_content)
{
    struct stat status;
    int fd = open_file(name, &status);
    int r = web_cache_get(cache, fd, &status, ret_content);

    close(fd);
    return r;
}

static const struct web_content *content_of(const char *name)
{
    const struct web_content *content = NULL;

    cr_assert_eq(get(name, &content), 0);
    return content;
}

/* Writes the file in place: the inode stays. */
static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_file(const char *name, off_t size)
{
    write_file(name, name);
    cr_assert_eq(truncate(name, size), 0);
}

static void expect_text(const struct web_content *content, const char *text)
{
    cr_expect_eq(content->bytes->len, strlen(text));
    cr_expect_arr_eq(content->bytes->data, text, strlen(text));
}

Test(web_cache, reads_a_file_once_for_all)
{
    struct bytes *bytes;

    write_file("a", "hello");
    bytes = bytes_ref(content_of("a")->bytes);
    expect_text(content_of("a"), "hello");
    cr_assert_eq(content_of("a")->bytes, bytes);
    cr_assert_eq(bytes->refs, 2);
    cr_assert_eq(web_cache_files(cache), 1);
    cr_assert_eq(web_cache_bytes(cache), 5);
    bytes_unref(bytes);
}

Test(web_cache, the_etag_is_the_contents)
{
    write_file("a", "abc");
    write_file("b", "abc");
    write_file("c", "abd");
    cr_assert_str_eq(content_of("a")->etag, "ba7816bf8f01cfea414140de5dae2223");
    cr_assert_str_eq(content_of("b")->etag, "ba7816bf8f01cfea414140de5dae2223");
    cr_assert_str_neq(content_of("c")->etag, content_of("a")->etag);
}

Test(web_cache, an_empty_file_has_its_etag_too)
{
    make_file("a", 0);
    cr_assert_eq(content_of("a")->bytes->len, 0);
    cr_assert_str_eq(content_of("a")->etag, "e3b0c44298fc1c149afbf4c8996fb924");
}

Test(web_cache, a_file_that_changed_is_read_again_and_the_old_bytes_stay_good)
{
    struct bytes *bytes;

    write_file("a", "one");
    bytes = bytes_ref(content_of("a")->bytes);
    usleep(20000); /* longer than a tick of the file system's clock */
    write_file("a", "two");
    expect_text(content_of("a"), "two");
    write_file("b", "three");
    cr_assert_eq(rename("b", "a"), 0);
    expect_text(content_of("a"), "three");
    cr_assert_arr_eq(bytes->data, "one", 3);
    bytes_unref(bytes);
}

Test(web_cache, a_file_that_changed_just_now_is_read_each_time_but_kept_once)
{
    const struct web_content *content;
    struct bytes *bytes;
    struct stat status;
    int fd;

    ahead_s = 0;
    write_file("a", "one");
    fd = open_file("a", &status);
    claimed = &status; /* whatever happens within a tick of the file system's clock */
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), 0);
    bytes = bytes_ref(content->bytes);
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), 0);
    cr_assert_eq(content->bytes, bytes, "the same content is the same bytes");
    write_file("a", "two");
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), 0);
    expect_text(content, "two");
    cr_assert_arr_eq(bytes->data, "one", 3);

    ahead_s = 3600;
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), 0);
    write_file("a", "not");
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), 0);
    expect_text(content, "two");
    bytes_unref(bytes);
    close(fd);
}

Test(web_cache, a_file_that_changes_while_it_is_read_is_not_handed_out)
{
    const struct web_content *content = NULL;
    struct stat status;
    int fd;

    write_file("a", "hello");
    fd = open_file("a", &status);
    cr_assert_eq(truncate("a", 2), 0);
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), WEB_CACHE_CHANGING, "shorter");
    cr_assert_eq(truncate("a", 9), 0);
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), WEB_CACHE_CHANGING, "longer");
    usleep(20000);
    write_file("a", "HELLO");
    cr_assert_eq(web_cache_get(cache, fd, &status, &content), WEB_CACHE_CHANGING, "another");
    cr_assert_null(content);
    cr_assert_eq(web_cache_files(cache), 0);
    close(fd);
}

Test(web_cache, a_file_above_the_limit_is_too_large)
{
    const struct web_content *content = NULL;

    make_file("a", WEB_FILE_MAX);
    make_file("b", WEB_FILE_MAX + 1);
    make_file("c", (off_t)1 << 33);
    cr_assert_eq(content_of("a")->bytes->len, WEB_FILE_MAX);
    cr_assert_eq(get("b", &content), WEB_CACHE_TOO_LARGE);
    cr_assert_eq(get("c", &content), WEB_CACHE_TOO_LARGE);
    cr_assert_null(content);
}

Test(web_cache, drops_what_was_not_asked_for_the_longest_time)
{
    const unsigned fit = WEB_CACHE_BYTES / WEB_FILE_MAX;
    char name[8];

    for (unsigned i = 0; i <= fit; i++) {
        snprintf(name, sizeof(name), "%u", i);
        make_file(name, WEB_FILE_MAX);
        content_of(name);
        content_of("0");
    }
    cr_assert_eq(web_cache_files(cache), fit);
    cr_assert_eq(web_cache_bytes(cache), WEB_CACHE_BYTES);
    content_of("0");
    content_of("2");
    cr_assert_eq(content_of("0")->bytes->data[0], '0');
}

Test(web_cache, has_a_bound_on_the_number_of_files)
{
    char name[8];

    for (unsigned i = 0; i < WEB_CACHE_FILES + 10; i++) {
        snprintf(name, sizeof(name), "%u", i);
        write_file(name, name);
        expect_text(content_of(name), name);
    }
    cr_assert_eq(web_cache_files(cache), WEB_CACHE_FILES);
}

Test(web_cache, keeps_what_somebody_is_being_sent_so_that_it_is_there_once)
{
    const unsigned count = 2 * WEB_CACHE_BYTES / WEB_FILE_MAX;
    struct bytes *held[2 * WEB_CACHE_BYTES / WEB_FILE_MAX];
    char name[8];

    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%u", i);
        make_file(name, WEB_FILE_MAX);
        held[i] = bytes_ref(content_of(name)->bytes);
    }
    cr_assert_eq(web_cache_files(cache), count);
    cr_assert_eq(content_of("0")->bytes, held[0]);
    for (unsigned i = 0; i < count; i++) {
        bytes_unref(held[i]);
    }
    content_of("1");
    cr_assert_eq(web_cache_bytes(cache), WEB_CACHE_BYTES);
}

Test(web_cache, running_out_of_memory_is_returned_and_changes_nothing)
{
    const struct web_content *content = NULL;
    int r = -ENOMEM;

    mem_fail_nth(1);
    cr_assert_null(web_cache_new());
    write_file("a", "hello");
    for (unsigned n = 1; r == -ENOMEM; n++) {
        mem_fail_nth(n);
        r = get("a", &content);
        mem_fail_nth(0);
        cr_assert(r == 0 || web_cache_files(cache) == 0);
        cr_assert(n > 2 || r == -ENOMEM);
    }
    cr_assert_eq(r, 0);
    expect_text(content, "hello");
}

Test(web_cache, what_cannot_be_read_is_an_error)
{
    const struct web_content *content = NULL;
    struct stat status;
    int fd;

    write_file("a", "hello");
    fd = open_file("a", &status);
    close(fd);
    cr_assert_eq(web_cache_get(cache, -1, &status, &content), -EBADF);
    cr_assert_eq(web_cache_files(cache), 0);
}
