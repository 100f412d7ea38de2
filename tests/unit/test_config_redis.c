#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "broker/config/config_redis.h"
#include "common/mem.h"

static struct config_redis read_url(const char *url)
{
    struct config_redis redis;
    char why[CONFIG_WHY_SIZE] = "";
    int rc = config_redis_read(url, &redis, why);

    cr_assert_eq(rc, 0, "%s: %s", url, why);
    cr_assert_str_eq(redis.url, url);
    return redis;
}

static void check_tcp(const char *url, const char *host, int port, const char *user,
                      const char *password)
{
    struct config_redis redis = read_url(url);

    cr_assert_eq(redis.kind, CONFIG_REDIS_TCP);
    cr_assert_str_eq(redis.host, host);
    cr_assert_eq(redis.port, port);
    cr_assert_null(redis.path);
    cr_assert(user ? redis.user && strcmp(redis.user, user) == 0 : !redis.user, "%s", url);
    cr_assert(password ? redis.password && strcmp(redis.password, password) == 0 : !redis.password,
              "%s", url);
    config_redis_deinit(&redis);
}

static const char *refusal(const char *url)
{
    static char why[CONFIG_WHY_SIZE];
    struct config_redis redis;

    strcpy(why, "accepted");
    int rc = config_redis_read(url, &redis, why);
    if (rc == 0) {
        config_redis_deinit(&redis);
    } else {
        cr_assert_eq(rc, CONFIG_INVALID);
    }
    return why;
}

Test(config_redis, a_server_has_a_host_and_may_have_a_port)
{
    check_tcp("redis://localhost", "localhost", 6379, NULL, NULL);
    check_tcp("redis://10.0.0.1:7000", "10.0.0.1", 7000, NULL, NULL);
    check_tcp("redis://[::1]", "::1", 6379, NULL, NULL);
    check_tcp("redis://[fe80::1]:65535/", "fe80::1", 65535, NULL, NULL);
    check_tcp("REDIS://redis_1.internal:1/0", "redis_1.internal", 1, NULL, NULL);
}

Test(config_redis, user_and_password_are_decoded)
{
    check_tcp("redis://user:pass@h", "h", 6379, "user", "pass");
    check_tcp("redis://:pass@h:1", "h", 1, NULL, "pass");
    check_tcp("redis://user@h", "h", 6379, "user", NULL);
    check_tcp("redis://user:@h", "h", 6379, "user", "");
    check_tcp("redis://u%3a%40:p%2F%25%3f%c3%A9@h", "h", 6379, "u:@", "p/%?\xc3\xa9");
    check_tcp("redis://u:a:b@c@h", "h", 6379, "u", "a:b@c");
}

Test(config_redis, a_socket_has_a_path)
{
    struct config_redis redis = read_url("unix:///run/re%20dis/r.sock");

    cr_assert_eq(redis.kind, CONFIG_REDIS_UNIX);
    cr_assert_str_eq(redis.path, "/run/re dis/r.sock");
    cr_assert_null(redis.user);
    config_redis_deinit(&redis);

    redis = read_url("unix://me:p%40@/r.sock");
    cr_assert_str_eq(redis.path, "/r.sock");
    cr_assert_str_eq(redis.user, "me");
    cr_assert_str_eq(redis.password, "p@");
    config_redis_deinit(&redis);
}

Test(config_redis, nothing_is_an_embedded_one)
{
    struct config_redis redis = read_url("");

    cr_assert_eq(redis.kind, CONFIG_REDIS_EMBEDDED);
    config_redis_deinit(&redis);
}

Test(config_redis, another_database_and_tls_are_refused_with_the_reason)
{
    cr_assert_not_null(strstr(refusal("redis://h/1"), "pub/sub ignores"));
    cr_assert_not_null(strstr(refusal("redis://h:1/15"), "pub/sub ignores"));
    cr_assert_not_null(strstr(refusal("rediss://h"), "TLS"));
}

Test(config_redis, a_wrong_url_is_refused)
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

Test(config_redis, a_refusal_repeats_nothing_of_the_url)
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

Test(config_redis, a_path_is_as_long_as_a_socket_can_be)
{
    char url[256] = "unix:///";
    size_t start = strlen(url);

    memset(url + start, 'x', 106);
    cr_assert_str_eq(refusal(url), "accepted");
    url[start + 106] = 'x';
    cr_assert_not_null(strstr(refusal(url), "107"));
}

Test(config_redis, running_out_of_memory_is_returned)
{
    struct config_redis redis;
    char why[CONFIG_WHY_SIZE];

    for (unsigned n = 1; n <= 4; n++) {
        mem_fail_nth(n);
        cr_assert_eq(config_redis_read("redis://u:p@h", &redis, why), -ENOMEM);
    }
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail_nth(n);
        cr_assert_eq(config_redis_read("unix:///a", &redis, why), -ENOMEM);
    }
}
