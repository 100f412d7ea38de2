#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "broker/config/origin.h"
#include "common/mem.h"

#define SPAN(text) ((struct span){text, strlen(text)})

static bool allowed(const char *list, const char *origin, const char *host)
{
    struct origins origins = {0};
    struct span fault;

    cr_assert_eq(origins_add(&origins, list, &fault), 0);
    bool is_allowed = origin_is_allowed(&origins, SPAN(origin), SPAN(host));
    origins_deinit(&origins);
    return is_allowed;
}

Test(origin, without_a_list_only_pages_of_the_same_host_and_port_are_allowed)
{
    cr_assert(allowed("", "http://example.com", "example.com"));
    cr_assert(allowed("", "https://Example.COM", "example.com"));
    cr_assert(allowed("", "https://example.com", "example.com:443"));
    cr_assert(allowed("", "https://example.com:443", "example.com"));
    cr_assert(allowed("", "http://127.0.0.1:8080", "127.0.0.1:8080"));
    cr_assert(allowed("", "http://[::1]:8080", "[::1]:8080"));
    cr_assert(allowed("", "http://[::1]", "[::1]:80"));

    cr_assert_not(allowed("", "http://example.com", "example.com:8080"));
    cr_assert_not(allowed("", "http://example.com:8080", "example.com"));
    cr_assert_not(allowed("", "https://example.com", "example.com:80"));
    cr_assert_not(allowed("", "https://evil.com", "example.com"));
    cr_assert_not(allowed("", "https://example.com.evil.com", "example.com"));
    cr_assert_not(allowed("", "https://notexample.com", "example.com"));
    cr_assert_not(allowed("", "http://[::1]:8080", "[::2]:8080"));
}

Test(origin, with_a_list_only_its_members_are_allowed)
{
    const char *list = "https://app.example.com, http://localhost:3000\thttps://b.example:8443";

    cr_assert(allowed(list, "https://app.example.com", "x"));
    cr_assert(allowed(list, "HTTPS://APP.example.com:443", "x"));
    cr_assert(allowed(list, "http://localhost:3000", "x"));
    cr_assert(allowed(list, "https://b.example:8443", "x"));

    cr_assert_not(allowed(list, "http://app.example.com", "x"));
    cr_assert_not(allowed(list, "https://app.example.com:80", "x"));
    cr_assert_not(allowed(list, "http://localhost", "x"));
    cr_assert_not(allowed(list, "http://localhost:30000", "x"));
    cr_assert_not(allowed(list, "https://b.example", "x"));
    cr_assert_not(allowed(list, "https://same.host", "same.host"));
}

Test(origin, a_star_allows_everything_and_null_is_allowed_by_nothing_else)
{
    cr_assert(allowed("*", "https://anything.example", "x"));
    cr_assert(allowed("https://a.example *", "null", "x"));
    cr_assert(allowed("*", "", "x"));
    cr_assert_not(allowed("", "null", "null"));
    cr_assert_not(allowed("https://a.example", "null", "null"));
}

Test(origin, null_can_be_allowed_by_name)
{
    cr_assert(allowed("null", "null", "x"));
    cr_assert(allowed("https://a.example null", "null", "x"));
    cr_assert(allowed("https://a.example, null", "https://a.example", "x"));
    cr_assert_not(allowed("null", "http://same.host", "same.host"), "in the place of the default");
    cr_assert_not(allowed("null", "", "x"));
    cr_assert_not(allowed("null", "nullx", "x"));
}

Test(origin, what_is_no_origin_is_not_allowed)
{
    static const char *const texts[] = {"",
                                        "example.com",
                                        "://example.com",
                                        "http://",
                                        "http://:80",
                                        "http://example.com/",
                                        "http://example.com:",
                                        "http://example.com:0",
                                        "http://[::1",
                                        "http://[::1]x",
                                        "http://example.com:65616",
                                        "http://u@example.com",
                                        "http://example.com http://evil.com",
                                        "ht tp://example.com",
                                        "http://[]:80:80",
                                        "http://example.com:+80",
                                        "http://exa\xc3\xa4mple.com",
                                        "aaaaaaaaaaaaaaaa://example.com"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert_not(allowed("", texts[i], "example.com"), "%s", texts[i]);
    }
    cr_assert_not(allowed("", "http://example.com", ""));
    cr_assert_not(allowed("", "http://example.com", "example.com:x"));
}

Test(origin, a_nul_byte_is_no_part_of_an_origin)
{
    struct origins none = {0};

    cr_assert_not(origin_is_allowed(&none, (struct span){"http://a\0b", 10}, SPAN("a")));
    cr_assert_not(origin_is_allowed(&none, (struct span){"http://a", 8}, (struct span){"a\0", 2}));
    cr_assert_not(origin_is_allowed(&none, (struct span){NULL, 0}, (struct span){NULL, 0}));
}

Test(origin, a_host_longer_than_any_name_is_not_allowed)
{
    char origin[300] = "http://";

    memset(origin + 7, 'a', ORIGIN_HOST_MAX);
    cr_assert(allowed("", origin, origin + 7));
    origin[7 + ORIGIN_HOST_MAX] = 'a';
    cr_assert_not(allowed("", origin, origin + 7));
}

Test(origin, the_word_at_fault_in_a_list_is_told)
{
    struct origins origins = {0};
    struct span fault;

    cr_assert_eq(origins_add(&origins, "https://a.example,https://b.example/path , *", &fault),
                 ORIGIN_INVALID);
    cr_assert_eq(fault.len, strlen("https://b.example/path"));
    cr_assert_eq(memcmp(fault.at, "https://b.example/path", fault.len), 0);
    cr_assert_eq(origins_add(&origins, "Null", &fault), ORIGIN_INVALID);
    origins_deinit(&origins);
}

Test(origin, a_written_list_reads_the_same)
{
    struct origins origins = {0}, back = {0};
    struct text text = TEXT_EMPTY;
    struct span fault;

    cr_assert_eq(origins_add(&origins, "null,*,HTTPS://A.example:443 http://[::1]:81", &fault), 0);
    origins_write(&origins, &text);
    cr_assert_str_eq(text.data, "* null https://a.example http://[::1]:81");
    cr_assert_eq(origins_add(&back, text.data, &fault), 0);
    cr_assert_eq(back.count, 2);
    cr_assert(back.any && back.allows_null);
    text_deinit(&text);
    origins_deinit(&origins);
    origins_deinit(&back);
}

Test(origin, running_out_of_memory_is_returned)
{
    struct origins origins = {0};
    struct span fault;

    mem_fail_nth(2);
    cr_assert_eq(origins_add(&origins, "http://a http://b", &fault), -ENOMEM);
    cr_assert_eq(origins.count, 1);
    origins_deinit(&origins);
}
