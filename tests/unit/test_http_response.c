#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "proto/http_response.h"

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

/* Checks that the text is `head` but for its Date line, which stands at the `@`; and that the date
 * is one of now. */
static void check_response(const struct text *text, const char *expected)
{
    const char *at = strchr(expected, '@');
    size_t before = (size_t)(at - expected), date_len = strlen("Date: ") + HTTP_DATE_SIZE + 1;
    char earlier[HTTP_DATE_SIZE], now[HTTP_DATE_SIZE];
    time_t seconds = time(NULL);

    cr_assert_not(text_failed(text));
    cr_assert_eq(text->len, strlen(expected) - 1 + date_len, "%s", text->data);
    cr_assert_arr_eq(text->data, expected, before, "%s", text->data);
    cr_assert_str_eq(text->data + before + date_len, at + 1, "%s", text->data);

    http_date_format(now, seconds);
    http_date_format(earlier, seconds - 1);
    cr_assert_arr_eq(text->data + before, "Date: ", 6);
    cr_assert(memcmp(text->data + before + 6, now, HTTP_DATE_SIZE - 1) == 0 ||
              memcmp(text->data + before + 6, earlier, HTTP_DATE_SIZE - 1) == 0);
    cr_assert_arr_eq(text->data + before + 6 + HTTP_DATE_SIZE - 1, "\r\n", 2);
}

Test(http_response, a_response_is_written_whole)
{
    struct text text = TEXT_EMPTY;

    http_response_write(&text, &(struct http_response){.status = 200,
                                                       .content_type = "text/plain",
                                                       .headers = "ETag: \"a-1\"\r\nX: y\r\n",
                                                       .body = SPAN("a\0b")});
    cr_assert_eq(text.data[text.len - 2], '\0');
    text.data[text.len - 2] = '-';
    check_response(&text, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n@"
                          "ETag: \"a-1\"\r\nX: y\r\n\r\na-b");
    text_deinit(&text);
}

Test(http_response, a_response_without_a_body_says_so)
{
    struct text text = TEXT_EMPTY;

    http_response_write(&text, &(struct http_response){.status = 404});
    check_response(&text, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n@\r\n");
    text_deinit(&text);
}

Test(http_response, a_response_is_appended_to_what_the_text_holds)
{
    struct text text = TEXT_EMPTY;

    text_puts(&text, "before ");
    http_response_write(&text, &(struct http_response){.status = 204});
    check_response(&text, "before HTTP/1.1 204 No Content\r\n@\r\n");
    text_deinit(&text);
}

Test(http_response, closing_is_announced)
{
    struct text text = TEXT_EMPTY;

    http_response_write(&text, &(struct http_response){
                                   .status = 503, .headers = "Retry-After: 3\r\n", .close = true});
    check_response(&text, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n@"
                          "Connection: close\r\nRetry-After: 3\r\n\r\n");
    text_deinit(&text);
}

Test(http_response, head_has_the_length_of_a_body_and_no_body)
{
    struct text text = TEXT_EMPTY;

    http_response_write(&text, &(struct http_response){.status = 200,
                                                       .content_type = "application/json",
                                                       .body = SPAN("{}"),
                                                       .head_only = true});
    check_response(&text, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                          "Content-Type: application/json\r\n@\r\n");
    text_deinit(&text);
}

Test(http_response, statuses_without_a_body_have_none_and_no_length)
{
    static const struct {
        int status;
        const char *expected;
    } cases[] = {
        {101, "HTTP/1.1 101 Switching Protocols\r\n@\r\n"},
        {204, "HTTP/1.1 204 No Content\r\n@\r\n"},
        {304, "HTTP/1.1 304 Not Modified\r\n@\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text text = TEXT_EMPTY;
        http_response_write(&text, &(struct http_response){.status = cases[i].status});
        check_response(&text, cases[i].expected);
        text_deinit(&text);
        http_response_write(&text, &(struct http_response){.status = cases[i].status,
                                                           .content_type = "text/plain",
                                                           .body = SPAN("x")});
        check_response(&text, cases[i].expected);
        text_deinit(&text);
    }
}

Test(http_response, an_error_is_json_with_its_text_escaped)
{
    struct text text = TEXT_EMPTY;
    struct http_response response = {.status = 401, .headers = "WWW-Authenticate: Bearer\r\n"};

    http_response_write_error(&text, &response, "UNAUTHORIZED", "say \"please\"\n");
    check_response(&text,
                   "HTTP/1.1 401 Unauthorized\r\nContent-Length: 62\r\n"
                   "Content-Type: application/json\r\n@WWW-Authenticate: Bearer\r\n\r\n"
                   "{\"error\":{\"code\":\"UNAUTHORIZED\",\"message\":\"say \\\"please\\\"\\n\"}}");
    text_deinit(&text);

    response.head_only = true;
    http_response_write_error(&text, &response, "UNAUTHORIZED", "say \"please\"\n");
    check_response(&text, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 62\r\n"
                          "Content-Type: application/json\r\n@WWW-Authenticate: Bearer\r\n\r\n");
    text_deinit(&text);
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
    static const int statuses[] = {101, 200, 204, 304, 400, 401, 403, 404,
                                   405, 408, 413, 426, 429, 431, 500, 503};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        cr_expect_str_not_empty(http_reason(statuses[i]), "%d", statuses[i]);
    }
    cr_expect_str_eq(http_reason(599), "");
}

Test(http_response, dates_are_imf_fixdates)
{
    static const struct {
        int64_t seconds;
        const char *expected;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951827696, "Tue, 29 Feb 2000 12:34:56 GMT"},
        {1795414577, "Mon, 23 Nov 2026 06:16:17 GMT"},
        {HTTP_DATE_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char date[HTTP_DATE_SIZE];
        http_date_format(date, cases[i].seconds);
        cr_expect_str_eq(date, cases[i].expected);
    }
}
