#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_url.h"

static struct redis_url read_url(const char *url)
{
    struct redis_url redis;
    char why[REDIS_URL_WHY_SIZE] = "";
    int rc = redis_url_read(url, &redis, why);

    cr_assert_eq(rc, 0, "%s: %s", url, why);
    cr_assert_str_eq(redis.url, url);
    return redis;
}

static void check_tcp(const char *url, const char *host, int port, const char *user,
                      const char *password)
{
    struct redis_url redis = read_url(url);

    cr_assert_eq(redis.kind, REDIS_URL_TCP);
    cr_assert_str_eq(redis.host, host);
    cr_assert_eq(redis.port, port);
    cr_assert_null(redis.path);
    cr_assert(user ? redis.user && strcmp(redis.user, user) == 0 : !redis.user, "%s", url);
    cr_assert(password ? redis.password && strcmp(redis.password, password) == 0 : !redis.password,
              "%s", url);
    redis_url_deinit(&redis);
}

static const char *refusal(const char *url)
{
    static char why[REDIS_URL_WHY_SIZE];
    struct redis_url redis;

    strcpy(why, "accepted");
    int rc = redis_url_read(url, &redis, why);
    if (rc == 0) {
        redis_url_deinit(&redis);
    } else {
        cr_assert_eq(rc, REDIS_URL_INVALID);
    }
    return why;
}

Test(redis_url, a_server_has_a_host_and_may_have_a_port)
{
    check_tcp("redis://localhost", "localhost", 6379, NULL, NULL);
    check_tcp("redis://10.0.0.1:7000", "10.0.0.1", 7000, NULL, NULL);
    check_tcp("redis://[::1]", "::1", 6379, NULL, NULL);
    check_tcp("redis://[fe80::1]:65535/", "fe80::1", 65535, NULL, NULL);
    check_tcp("REDIS://redis_1.internal:1/0", "redis_1.internal", 1, NULL, NULL);
}

Test(redis_url, user_and_password_are_decoded)
{
    check_tcp("redis://user:pass@h", "h", 6379, "user", "pass");
    check_tcp("redis://:pass@h:1", "h", 1, NULL, "pass");
    check_tcp("redis://user@h", "h", 6379, "user", NULL);
    check_tcp("redis://user:@h", "h", 6379, "user", "");
    check_tcp("redis://u%3a%40:p%2F%25%3f%c3%A9@h", "h", 6379, "u:@", "p/%?\xc3\xa9");
    check_tcp("redis://u:a:b@c@h", "h", 6379, "u", "a:b@c");
}

Test(redis_url, a_socket_has_a_path)
{
    struct redis_url redis = read_url("unix:///run/re%20dis/r.sock");

    cr_assert_eq(redis.kind, REDIS_URL_UNIX);
    cr_assert_str_eq(redis.path, "/run/re dis/r.sock");
    cr_assert_null(redis.user);
    redis_url_deinit(&redis);

    redis = read_url("unix://me:p%40@/r.sock");
    cr_assert_str_eq(redis.path, "/r.sock");
    cr_assert_str_eq(redis.user, "me");
    cr_assert_str_eq(redis.password, "p@");
    redis_url_deinit(&redis);
}

Test(redis_url, nothing_is_an_embedded_one)
{
    struct redis_url redis = read_url("");

    cr_assert_eq(redis.kind, REDIS_URL_NONE);
    redis_url_deinit(&redis);
}

Test(redis_url, another_database_and_tls_are_refused_with_the_reason)
{
    cr_assert_not_null(strstr(refusal("redis://h/1"), "pub/sub ignores"));
    cr_assert_not_null(strstr(refusal("redis://h:1/15"), "pub/sub ignores"));
    cr_assert_not_null(strstr(refusal("rediss://h"), "TLS"));
}

Test(redis_url, a_wrong_url_is_refused)
{
    static const char *const urls[] = {
        "localhost:6379",  "http://h",        "redis:/h",         "redis://",
        "redis://:6379",   "redis://u:p@",    "redis://h:",       "redis://h:0",
        "redis://h:65536", "redis://h:6379x", "redis://h:1:2",    "redis://h/x",
        "redis://h/0/1",   "redis://h?db=1",  "redis://h#x",      "redis://[::1",
        "redis://[::1]1",  "redis://[]",      "redis://h h",      "redis://[h/]",
        "redis://u%@h",    "redis://u%4@h",   "redis://u%zz@h",   "redis://:%00@h",
        "unix://",         "unix://r.sock",   "unix://me/r.sock", "unix:///a?db=1",
        "unix:///a%",      "unix://u:%0@/a",  "redis://p/w:x@h",  "redis://h:99999999999999"};

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        cr_assert_str_neq(refusal(urls[i]), "accepted", "%s", urls[i]);
    }
}

Test(redis_url, a_refusal_repeats_nothing_of_the_url)
{
    static const char *const urls[] = {
        "secret",          "redis://u:secret@",      "redis://u:secret%@h", "redis://secret/x@h",
        "redis://:secret", "unix://u:secret@r.sock", "rediss://u:secret@h", "redis://u:secret@h/9"};

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        const char *why = refusal(urls[i]);

        cr_assert_str_neq(why, "accepted");
        cr_assert_null(strstr(why, "secret"), "%s", why);
    }
}

Test(redis_url, a_path_is_as_long_as_a_socket_can_be)
{
    char url[256] = "unix:///";
    size_t start = strlen(url);

    memset(url + start, 'x', 106);
    cr_assert_str_eq(refusal(url), "accepted");
    url[start + 106] = 'x';
    cr_assert_not_null(strstr(refusal(url), "107"));
}

Test(redis_url, running_out_of_memory_is_returned)
{
    struct redis_url redis;
    char why[REDIS_URL_WHY_SIZE];

    for (unsigned n = 1; n <= 4; n++) {
        mem_fail_nth(n);
        cr_assert_eq(redis_url_read("redis://u:p@h", &redis, why), -ENOMEM);
    }
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail_nth(n);
        cr_assert_eq(redis_url_read("unix:///a", &redis, why), -ENOMEM);
    }
}
