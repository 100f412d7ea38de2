#include <criterion/criterion.h>
#include <string.h>

#include "broker/redis/redis_info.h"

#define GOOD                                                                          \
    "# Server\r\nredis_version:7.2.4\r\nredis_mode:standalone\r\nprocess_id:4711\r\n" \
    "run_id:abc\r\nmaxmemory_policy:noeviction\r\nloading:0\r\nrole:master\r\n"

static struct redis_info read_info(const char *text)
{
    struct redis_info info;

    redis_info_read((struct span){text, strlen(text)}, &info);
    return info;
}

static const char *objection(const char *text)
{
    struct redis_info info = read_info(text);
    const char *why = redis_info_objection(&info);

    return why ? why : "";
}

Test(redis_info, reads_the_facts)
{
    struct redis_info info = read_info(GOOD);

    cr_assert_eq(info.mode, REDIS_STANDALONE);
    cr_assert_eq(info.version, 7);
    cr_assert_eq(info.process_id, 4711);
    cr_assert(info.is_master && !info.is_loading && !redis_info_evicts(&info));
    cr_assert_eq(info.run_id.len, 3);
    cr_assert_null(redis_info_objection(&info));
}

Test(redis_info, takes_a_name_only_at_the_beginning_of_a_line)
{
    cr_assert_eq(read_info("x_role:master\r\nrole:slave\r\n").is_master, false);
    cr_assert_eq(read_info("note:role:master\r\n").is_master, false);
}

Test(redis_info, names_what_speaks_against_a_server)
{
    cr_assert_not_null(strstr(objection("redis_version:6.2.14\r\nrole:master\r\n"), "older"));
    cr_assert_not_null(strstr(objection(""), "older"));
    cr_assert_not_null(strstr(objection("redis_version:7.0.15\r\nrole:slave\r\n"), "replica"));
    cr_assert_not_null(
        strstr(objection("redis_version:7.0.15\r\nloading:1\r\nrole:master\r\n"), "loading"));
    cr_assert_not_null(
        strstr(objection("redis_version:7.0.15\r\nasync_loading:1\r\nrole:master\r\n"), "loading"));
    cr_assert_not_null(strstr(
        objection("redis_version:7.0.15\r\nredis_mode:cluster\r\nrole:master\r\n"), "Cluster"));
    cr_assert_not_null(
        strstr(objection("redis_version:7.0.15\r\nredis_mode:sentinel\r\n"), "Sentinel"));
}

Test(redis_info, knows_the_policies_that_remove_keys)
{
    struct redis_info info = read_info("maxmemory_policy:allkeys-lru\r\n");

    cr_assert(redis_info_evicts(&info));
    info = read_info("maxmemory_policy:volatile-ttl\r\n");
    cr_assert(redis_info_evicts(&info));
    info = read_info("");
    cr_assert_not(redis_info_evicts(&info), "it may be hidden, and need not be wrong");
}

Test(redis_info, survives_what_is_no_info)
{
    static const char *const texts[] = {"\r",
                                        "\n",
                                        "role",
                                        "role:",
                                        ":",
                                        "redis_version:\r\n",
                                        "redis_version:99999999999999999999\r\n",
                                        "process_id:-1"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct redis_info info = read_info(texts[i]);
        cr_assert_not_null(redis_info_objection(&info));
        cr_assert_geq(info.process_id, 0);
    }
}
