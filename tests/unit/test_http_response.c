#include <criterion/criterion.h>
#include <string.h>

#include "common/mem.h"
#include "proto/http_response.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

#define DATE "Date: Mon, 23 Nov 2026 06:16:17 GMT\r\n"

static struct text written(struct http_response response)
{
    struct text text = TEXT_EMPTY;

    response.now = 1795414577;
    http_response_write(&text, &response);
    cr_assert_not(text_failed(&text));
    return text;
}

static void check_text(struct text text, const char *expected)
{
    cr_expect_eq(text.len, strlen(expected), "%s", text.data);
    cr_expect_str_eq(text.data, expected);
    text_deinit(&text);
}

Test(http_response, a_response_is_written_whole)
{
    check_text(written((struct http_response){.status = 200,
                                              .content_type = "text/plain",
                                              .headers = "ETag: \"a-1\"\r\nX: y\r\n",
                                              .body = SPAN("body")}),
               "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n" DATE
               "ETag: \"a-1\"\r\nX: y\r\n\r\nbody");
}

Test(http_response, a_body_may_hold_any_bytes)
{
    struct text text = written(
        (struct http_response){.status = 200, .content_type = "text/plain", .body = SPAN("a\0b")});

    cr_assert_arr_eq(text.data + text.len - 3, "a\0b", 3);
    text_deinit(&text);
}

Test(http_response, a_response_without_a_body_says_so)
{
    check_text(written((struct http_response){.status = 404}),
               "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" DATE "\r\n");
}

Test(http_response, without_a_clock_there_is_no_date)
{
    struct text text = TEXT_EMPTY;

    text_puts(&text, "before ");
    http_response_write(&text, &(struct http_response){.status = 204});
    check_text(text, "before HTTP/1.1 204 No Content\r\n\r\n");
}

Test(http_response, closing_is_announced)
{
    check_text(written((struct http_response){
                   .status = 503, .headers = "Retry-After: 3\r\n", .close = true}),
               "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n" DATE
               "Connection: close\r\nRetry-After: 3\r\n\r\n");
}

Test(http_response, head_has_the_length_of_a_body_and_no_body)
{
    check_text(written((struct http_response){.status = 200,
                                              .content_type = "application/json",
                                              .body = SPAN("{}"),
                                              .head_only = true}),
               "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
               "Content-Type: application/json\r\n" DATE "\r\n");
}

Test(http_response, statuses_without_a_body_have_none_and_no_length)
{
    static const struct {
        int status;
        const char *expected;
    } cases[] = {
        {101, "HTTP/1.1 101 Switching Protocols\r\n" DATE "\r\n"},
        {204, "HTTP/1.1 204 No Content\r\n" DATE "\r\n"},
        {304, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        check_text(written((struct http_response){.status = cases[i].status}), cases[i].expected);
        check_text(written((struct http_response){
                       .status = cases[i].status, .content_type = "text/plain", .body = SPAN("x")}),
                   cases[i].expected);
    }
}

Test(http_response, an_error_is_json_with_its_text_escaped)
{
    struct text text = TEXT_EMPTY;
    struct http_response response = {
        .status = 401, .headers = "WWW-Authenticate: Bearer\r\n", .now = 1795414577};

    http_response_write_error(&text, &response, "UNAUTHORIZED", "say \"please\"\n");
    check_text(text, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 62\r\n"
                     "Content-Type: application/json\r\n" DATE "WWW-Authenticate: Bearer\r\n\r\n"
                     "{\"error\":{\"code\":\"UNAUTHORIZED\",\"message\":\"say "
                     "\\\"please\\\"\\n\"}}");

    text = TEXT_EMPTY;
    response.head_only = true;
    http_response_write_error(&text, &response, "UNAUTHORIZED", "say \"please\"\n");
    check_text(text, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 62\r\n"
                     "Content-Type: application/json\r\n" DATE "WWW-Authenticate: Bearer\r\n\r\n");
}

Test(http_response, running_out_of_memory_is_remembered_in_the_text)
{
    struct http_response response = {.status = 400};

    for (unsigned n = 1; n <= 2; n++) {
        struct text text = TEXT_EMPTY;
        mem_fail_nth(n);
        http_response_write_error(&text, &response, "BAD_REQUEST", "");
        mem_fail_nth(0);
        cr_assert(text_failed(&text));
        text_deinit(&text);
    }
}

Test(http_response, every_status_in_use_has_a_reason)
{
    static const int statuses[] = {101, 200, 204, 301, 304, 400, 401, 403, 404,
                                   405, 408, 413, 426, 429, 431, 500, 503};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        cr_expect_str_not_empty(http_reason(statuses[i]), "%d", statuses[i]);
    }
    cr_expect_str_eq(http_reason(599), "");
}
