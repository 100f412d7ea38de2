#include "tests/support/client_fixture.h"
#include "tests/support/state_pairs.h"

Test(http_connection, answers_requests_one_after_the_other)
{
    struct fixture *fixture = open_http();

    say(fixture, GET("/a"));
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; ");
    say(fixture, GET("/b"));
    turn(fixture);
    hear(fixture);
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200 OK"), 2);
    cr_assert_eq(fixture->http.state, HTTP_CONNECTION_READING);
    end(fixture);
}

Test(http_connection, reads_a_request_byte_by_byte)
{
    struct fixture *fixture = open_http();
    const char *text = GET("/a") GET("/b");

    for (const char *at = text; *at; at++) {
        say_bytes(fixture, at, 1);
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    end(fixture);
}

Test(http_connection, answers_pipelined_requests_in_order)
{
    struct fixture *fixture = open_http();
    char expected[4096] = "", path[16], request[64];
    const char *at;

    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "/%d", i);
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
        say(fixture, request);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "request %s; ",
                 path);
    }
    turn(fixture); /* without any further event: more than are looked at before answers go */
    hear(fixture);
    cr_assert_str_eq(fixture->log, expected);
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 200);
    at = fixture->received;
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "\r\n\r\n/%d", i);
        at = strstr(at, path);
        cr_assert_not_null(at, "answer %d is in its place", i);
    }
    end(fixture);
}

Test(http_connection, who_pipelines_and_does_not_read_is_not_read_either)
{
    struct fixture *fixture = open_http();
    const char *request = GET("/0123456789");
    const size_t len = strlen(request);
    size_t sent = 0;

    send_budget = 10000;
    for (ssize_t n = 1; n > 0; sent += n > 0 ? (size_t)n : 0) {
        n = write(fixture->peer, request + sent % len, len - sent % len);
        turn(fixture);
    }
    cr_assert(fixture->channel.blocked);
    cr_assert(!fixture->channel.stream.wants_read);
    cr_assert_leq(metric_read(&fixture->metrics, METRIC_BYTES_RECEIVED), 2 * CHANNEL_READ_MAX);
    send_budget = SIZE_MAX; /* and all is answered once it reads */
    for (uint32_t before = UINT32_MAX; before != fixture->requests;) {
        before = fixture->requests;
        for (int i = 0; i < 3; i++) {
            forget_received(fixture);
            turn(fixture);
        }
    }
    cr_assert_eq(metric_read(&fixture->metrics, METRIC_BYTES_RECEIVED), sent);
    cr_assert_eq(fixture->requests, sent / len);
    end(fixture);
}

static void expect_shared_bodies(const struct bytes *body, unsigned count)
{
    struct fixture *fixture = open_http();
    const char *at = fixture->received;

    shared_body = bytes_copy(body->data, body->len);
    for (unsigned i = 0; i < count; i++) {
        say(fixture, GET("/shared"));
    }
    for (int i = 0; i < 2000; i++) { /* a client that takes it byte by byte */
        send_budget = 1;
        turn(fixture);
        hear(fixture);
    }
    send_budget = SIZE_MAX;
    for (unsigned i = 0; i < count; i++) {
        at = strstr(at, "\r\n\r\n");
        cr_assert_not_null(at, "response %u of %u", i, count);
        at += 4;
        cr_assert_arr_eq(at, body->data, body->len);
        at += body->len;
    }
    cr_assert_eq(at, fixture->received + fixture->received_len);
    cr_assert_eq(shared_body->refs, 1, "all that was sent is let go");
    end(fixture);
    bytes_unref(TAKE(shared_body));
}

Test(http_connection, a_response_may_end_in_a_body_that_others_are_sent_too)
{
    struct bytes *body = bytes_copy("hello", 5), *empty = bytes_new(0);
    struct bytes *like_a_pong = bytes_copy((uint8_t[]){0x80 | WS_PONG, 1}, 2);

    expect_shared_bodies(body, 3);
    expect_shared_bodies(empty, 3);
    expect_shared_bodies(like_a_pong, 20);
    bytes_unref(body);
    bytes_unref(empty);
    bytes_unref(like_a_pong);
}

Test(http_connection, who_goes_while_a_shared_body_is_sent_lets_go_of_it)
{
    struct fixture *fixture = open_http();

    shared_body = bytes_new(1 << 20);
    memset(shared_body->data, 'x', shared_body->len);
    send_budget = 1000;
    say(fixture, GET("/shared") GET("/shared"));
    turn(fixture);
    cr_assert_eq(shared_body->refs, 3);
    end(fixture);
    cr_assert_eq(shared_body->refs, 1);
    bytes_unref(TAKE(shared_body));
}

Test(http_connection, can_be_answered_later_and_reads_nothing_meanwhile)
{
    struct fixture *fixture = open_http();

    fixture->later = true;
    say(fixture, GET("/a") GET("/b") "GET /c HT");
    turn(fixture);
    say(fixture, "TP/1.1\r\nHost: h\r\n\r\n");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; ");
    cr_assert(!fixture->channel.stream.wants_read);
    answer(&fixture->http, fixture->http.request);
    cr_assert_str_eq(fixture->log, "request /a; request /b; ");
    turn(fixture);
    answer(&fixture->http, fixture->http.request);
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /a; request /b; request /c; ");
    answer(&fixture->http, fixture->http.request);
    turn(fixture);
    hear(fixture);
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 3);
    end(fixture);
}

Test(http_connection, an_answer_after_it_was_closed_is_dropped)
{
    for (int upgrade = 0; upgrade <= 1; upgrade++) {
        struct fixture *fixture = open_http();

        fixture->later = true;
        say(fixture, upgrade ? UPGRADE : GET("/a"));
        turn(fixture);
        channel_abort(&fixture->channel);
        answer(&fixture->http, fixture->http.request);
        turn(fixture);
        hear(fixture);
        cr_assert_eq(fixture->received_len, 0);
        cr_assert_eq(fixture->closed, 1);
        end(fixture);
    }
}

Test(http_connection, closes_behind_the_last_answer)
{
    struct fixture *fixture = open_http();

    say(fixture, GET("/close") GET("/never"));
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /close; ending; ");
    cr_assert_eq(fixture->channel.state, CHANNEL_SHUT);
    cr_assert(hear(fixture), "the end follows the answer");
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 1);
    say(fixture, "what comes now is dropped");
    turn(fixture);
    cr_assert_eq(fixture->closed, 0);
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "request /close; ending; closed; ");
    end(fixture);
}

Test(http_connection, a_client_that_ends_its_side_early_still_gets_its_answer)
{
    struct fixture *fixture = open_http();

    fixture->later = true;
    say(fixture, GET("/a"));
    shutdown(fixture->peer, SHUT_WR);
    turn(fixture);
    turn(fixture);
    cr_assert_eq(fixture->closed, 0);
    answer(&fixture->http, fixture->http.request);
    turn(fixture);
    turn(fixture);
    turn(fixture);
    cr_assert(hear(fixture));
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 1);
    cr_assert_str_eq(fixture->log, "request /a; closed; ");
    end(fixture);
}

Test(http_connection, refuses_what_is_no_http_and_closes)
{
    static char long_header[HTTP_REQUEST_MAX + 1000], long_body[200];
    const struct {
        const char *request, *status;
    } cases[] = {
        {"\x16\x03\x01", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        {long_header, "HTTP/1.1 431"},
        {long_body, "HTTP/1.1 413"},
    };

    snprintf(long_header, sizeof(long_header), "GET / HTTP/1.1\r\nHost: h\r\nX: %0*d",
             HTTP_REQUEST_MAX, 0);
    snprintf(long_body, sizeof(long_body),
             "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", HTTP_REQUEST_BODY_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_http();

        say(fixture, cases[i].request);
        turn(fixture);
        turn(fixture);
        cr_assert(hear(fixture), "case %zu", i);
        cr_assert_eq(strncmp(fixture->received, cases[i].status, 12), 0, "%s", fixture->received);
        cr_assert_not_null(strstr(fixture->received, "Connection: close"));
        cr_assert_str_eq(fixture->log, "ending; ");
        end(fixture);
    }
}

Test(http_connection, a_client_that_ends_its_side_gets_all_of_its_answers)
{
    struct fixture *fixture = open_http();

    send_budget = 10;
    say(fixture, GET("/a") GET("/b"));
    shutdown(fixture->peer, SHUT_WR);
    turn(fixture);
    turn(fixture);
    cr_assert_eq(fixture->closed, 0);
    send_budget = SIZE_MAX;
    turn(fixture);
    turn(fixture);
    cr_assert(hear(fixture));
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 2);
    turn(fixture);
    cr_assert_eq(fixture->closed, 1, "there is no end to wait for");
    end(fixture);
}

Test(http_connection, half_a_request_and_an_end_are_no_request)
{
    struct fixture *fixture = open_http();

    say(fixture, "GET /a HTTP/1.1\r\nHost: h\r\n");
    shutdown(fixture->peer, SHUT_WR);
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "closed; ");
    end(fixture);
}

Test(http_connection, finishing_answers_what_has_come_and_closes_who_is_idle)
{
    const struct {
        const char *unread, *log;
        bool await_first;
    } cases[] = {
        {"", "closed; ", false},
        {"", "", true},
        {GET("/a"), "request /a; ending; ", false},
        {GET("/a") GET("/b"), "request /a; ending; ", false}, /* a last one has none behind it */
        {"GET /a HT", "", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_http();

        say(fixture, cases[i].unread);
        http_connection_finish(&fixture->http, cases[i].await_first);
        turn(fixture);
        cr_assert_str_eq(fixture->log, cases[i].log, "case %zu: %s", i, fixture->log);
        end(fixture);
    }
}

Test(http_connection, moves_between_states_as_its_header_says)
{
    static const bool allowed[][HTTP_CONNECTION_OVER + 1] = {
        [HTTP_CONNECTION_READING] =
            {[HTTP_CONNECTION_ANSWERING] = true, [HTTP_CONNECTION_OVER] = true},
        [HTTP_CONNECTION_ANSWERING] =
            {[HTTP_CONNECTION_READING] = true, [HTTP_CONNECTION_OVER] = true},
        [HTTP_CONNECTION_OVER] = {false},
    };

    EXPECT_STATE_PAIRS(&http_connection_machine, allowed);
}
