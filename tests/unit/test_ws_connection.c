#include "tests/support/client_fixture.h"
#include "tests/support/state_pairs.h"

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

Test(ws_connection, takes_messages_and_sends_frames)
{
    struct fixture *fixture = open_websocket();

    say_frame(fixture, FIN | WS_TEXT, "hello");
    say_frame(fixture, FIN | WS_BINARY, "bin");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text hello; binary bin; ");
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "one", 3));
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "two", 3));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text one; text two; ");
    end(fixture);
}

Test(ws_connection, takes_frames_right_behind_the_request)
{
    for (int later = 0; later <= 1; later++) {
        struct fixture *fixture = open_http();
        uint8_t bytes[1024];
        size_t len = strlen(UPGRADE);

        fixture->later = later;
        memcpy(bytes, UPGRADE, len);
        len += put_frame(bytes + len, FIN | WS_TEXT, "a", 1);
        len += put_frame(bytes + len, FIN | WS_TEXT, "bc", 2);
        say_bytes(fixture, bytes, len - 1);
        turn(fixture);
        if (later) {
            cr_assert_str_eq(fixture->log, "request /ws; ");
            answer(&fixture->http, fixture->http.request);
        }
        say_bytes(fixture, bytes + len - 1, 1);
        turn(fixture);
        cr_assert_str_eq(fixture->log, "request /ws; text a; text bc; ");
        end(fixture);
    }
}

Test(ws_connection, takes_all_of_it_byte_by_byte)
{
    struct fixture *fixture = open_http();
    uint8_t bytes[1024];
    size_t len = strlen(UPGRADE);

    memcpy(bytes, UPGRADE, len);
    len += put_frame(bytes + len, WS_TEXT, "ab", 2);
    len += put_frame(bytes + len, FIN | WS_PING, "p", 1);
    len += put_frame(bytes + len, FIN | WS_CONTINUATION, "cd", 2);
    len += put_frame(bytes + len, FIN | WS_CLOSE, "\x03\xe8", 2);
    for (size_t i = 0; i < len; i++) {
        say_bytes(fixture, bytes + i, 1);
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /ws; text abcd; ending; ");
    end(fixture);
}

Test(ws_connection, keeps_no_memory_between_messages)
{
    struct fixture *fixture = open_websocket();
    uint8_t frame[64];
    size_t len = put_frame(frame, FIN | WS_TEXT, "in two pieces", 13);

    say_bytes(fixture, frame, len - 3);
    turn(fixture);
    cr_assert_not_null(fixture->ws.parser.midway);
    say_bytes(fixture, frame + len - 3, 3);
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text in two pieces; ");
    cr_assert_null(fixture->ws.parser.midway);
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "x", 1));
    turn(fixture);
    cr_assert_null(fixture->channel.outbox.queue);
    cr_assert_null(fixture->channel.outbox.begun);
    end(fixture);
}

Test(ws_connection, answers_each_ping_of_a_client_that_reads)
{
    struct fixture *fixture = open_websocket();
    char expected[512] = "";

    for (int i = 0; i < 10; i++) {
        char payload[8];

        snprintf(payload, sizeof(payload), "%d", i);
        say_frame(fixture, FIN | WS_PING, payload);
        snprintf(expected + strlen(expected), 32, "pong %d; ", i);
    }
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), expected);
    end(fixture);
}

Test(ws_connection, keeps_few_pongs_for_a_client_that_does_not)
{
    struct fixture *fixture = open_websocket();
    static uint8_t frames[16384];
    size_t len = 0;

    send_budget = 0;
    for (int i = 0; i < 3; i++) {
        say_frame(fixture, FIN | WS_PING, "first");
        turn(fixture);
    }
    cr_assert(!fixture->channel.stream.wants_read, "and is not read while one waits");
    send_budget = SIZE_MAX;
    turn(fixture);
    turn(fixture);
    forget_received(fixture);
    send_budget = 0;
    for (int i = 0; i < 1000; i++) { /* all in one read */
        char payload[8];
        int payload_len = snprintf(payload, sizeof(payload), "%d", i);

        len += put_frame(frames + len, FIN | WS_PING, payload, (size_t)payload_len);
    }
    say_bytes(fixture, frames, len);
    turn(fixture);
    cr_assert_leq(outbox_waiting(&fixture->channel.outbox), CHANNEL_BATCH);
    send_budget = SIZE_MAX;
    turn(fixture);
    cr_assert_not_null(strstr(frames_heard(fixture), "pong 999; "), "and answers when it reads");
    end(fixture);
}

/* ── The closing handshake ───────────────────────────────────────────────────────────────────── */

Test(ws_connection, answers_the_clients_close_with_its_code)
{
    const struct {
        const char *payload, *answer;
        enum metric metric;
    } cases[] = {
        {"\x03\xe8", "close 1000; ", METRIC_CLOSES_1000},
        {"\x03\xe9gone", "close 1001; ", METRIC_CLOSES_1001},
        {"\x0f\xa0", "close 4000; ", METRIC_CLOSES_OTHER},
        {"", "close 1000; ", METRIC_CLOSES_1005},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_websocket();

        say_frame(fixture, FIN | WS_CLOSE, cases[i].payload);
        say_frame(fixture, FIN | WS_TEXT, "ignored");
        turn(fixture);
        cr_assert_str_eq(fixture->log, "ending; ");
        cr_assert_str_eq(frames_heard(fixture), cases[i].answer);
        cr_assert(hear(fixture), "the server ends the connection");
        close(fixture->peer);
        fixture->peer = -1;
        turn(fixture);
        cr_assert_str_eq(fixture->log, "ending; closed; ");
        cr_assert_eq(metric_read(&fixture->metrics, cases[i].metric), 1);
        end(fixture);
    }
}

Test(ws_connection, closes_and_waits_for_the_clients_close)
{
    struct fixture *fixture = open_websocket();

    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "last", 4));
    close_client(fixture, CLOSE_GOING_AWAY);
    close_client(fixture, CLOSE_SERVICE_RESTART);
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "late", 4));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text last; close 1001; ");
    cr_assert(!hear(fixture));
    say_frame(fixture, FIN | WS_TEXT, "ignored");
    say_frame(fixture, FIN | WS_PING, "unanswered");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "ending; ");
    cr_assert_eq(fixture->ws.state, WS_CONNECTION_CLOSING);
    say_frame(fixture, FIN | WS_CLOSE, "\x03\xe9");
    turn(fixture);
    cr_assert_eq(fixture->channel.state, CHANNEL_SHUT);
    cr_assert(hear(fixture));
    cr_assert_str_eq(frames_heard(fixture), "text last; close 1001; ", "one close frame is enough");
    end(fixture);
}

Test(ws_connection, who_goes_without_a_word_is_counted_as_1006)
{
    struct fixture *fixture = open_websocket();

    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    cr_assert_str_eq(fixture->log, "closed; ");
    cr_assert_eq(metric_read(&fixture->metrics, METRIC_CLOSES_1006), 1);
    end(fixture);
}

Test(ws_connection, closes_for_what_breaks_the_protocol_with_the_code_that_says_so)
{
    const struct {
        const char *bytes;
        size_t len;
        const char *answer;
    } cases[] = {
#define CASE(bytes, answer) {bytes, sizeof(bytes) - 1, answer}
        CASE("\x81\x01x", "close 1002; "),                      /* not masked */
        CASE("\xc1\x80____", "close 1002; "),                   /* RSV1 */
        CASE("\x83\x80____", "close 1002; "),                   /* opcode 3 */
        CASE("\x09\x80____", "close 1002; "),                   /* fragmented ping */
        CASE("\x89\xfe", "close 1002; "),                       /* long ping */
        CASE("\x80\x80____", "close 1002; "),                   /* nothing to continue */
        CASE("\x88\x81\0\0\0\0x", "close 1002; "),              /* half a close code */
        CASE("\x88\x82\0\0\0\0\x03\xed", "close 1002; "),       /* 1005 on the wire */
        CASE("\x81\x81\0\0\0\0\xff", "close 1007; "),           /* no UTF-8 */
        CASE("\x01\x82\0\0\0\0\xed\xa0", "close 1007; "),       /* a surrogate, unfinished */
        CASE("\x88\x83\0\0\0\0\x03\xe8\xff", "close 1007; "),   /* a reason that is no UTF-8 */
        CASE("\x82\xff\0\0\0\0\0\x0f\x42\x41", "close 1009; "), /* MAX_MESSAGE + 1 */
#undef CASE
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *fixture = open_websocket();

        say_bytes(fixture, cases[i].bytes, cases[i].len);
        say_frame(fixture, FIN | WS_TEXT, "what follows is not looked at");
        turn(fixture);
        cr_assert_str_eq(frames_heard(fixture), cases[i].answer, "case %zu", i);
        cr_assert_str_eq(fixture->log, "ending; ");
        say_frame(fixture, FIN | WS_TEXT, "nor this");
        turn(fixture);
        cr_assert(hear(fixture));
        cr_assert_eq(fixture->channel.state, CHANNEL_SHUT);
        end(fixture);
    }
}

Test(ws_connection, an_error_while_closing_sends_no_second_close_frame)
{
    struct fixture *fixture = open_websocket();

    close_client(fixture, CLOSE_GOING_AWAY);
    turn(fixture);
    say_bytes(fixture, "\xff\xff", 2);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "close 1001; ");
    cr_assert_eq(fixture->channel.state, CHANNEL_SHUT);
    end(fixture);
}

Test(ws_connection, moves_between_states_as_its_header_says)
{
    static const bool allowed[][WS_CONNECTION_OVER + 1] = {
        [WS_CONNECTION_OPEN] = {[WS_CONNECTION_CLOSING] = true, [WS_CONNECTION_OVER] = true},
        [WS_CONNECTION_CLOSING] = {[WS_CONNECTION_OVER] = true},
        [WS_CONNECTION_OVER] = {false},
    };

    EXPECT_STATE_PAIRS(&ws_connection_machine, allowed);
}
