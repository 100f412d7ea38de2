#include <arpa/inet.h>

#include "tests/support/client_fixture.h"
#include "tests/support/state_pairs.h"

/* ── Pausing ─────────────────────────────────────────────────────────────────────────────────── */

Test(channel, hands_nothing_on_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    fixture->pauses = true;
    say_frame(fixture, FIN | WS_TEXT, "first");
    say_frame(fixture, FIN | WS_TEXT, "second");
    say_frame(fixture, FIN | WS_TEXT, "third");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text first; ");
    cr_assert(!fixture->channel.stream.wants_read, "and leaves the rest to TCP");
    channel_resume(&fixture->channel);
    cr_assert_str_eq(fixture->log, "text first; text second; ", "and is paused again");
    fixture->pauses = false;
    channel_resume(&fixture->channel);
    cr_assert_str_eq(fixture->log, "text first; text second; text third; ");
    cr_assert(fixture->channel.stream.wants_read);
    say_frame(fixture, FIN | WS_TEXT, "fourth");
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text first; text second; text third; text fourth; ");
    end(fixture);
}

Test(channel, sends_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    channel_pause(&fixture->channel);
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "x", 1));
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text x; ");
    end(fixture);
}

Test(channel, closes_while_it_is_paused)
{
    struct fixture *fixture = open_websocket();

    fixture->pauses = true;
    say_frame(fixture, FIN | WS_TEXT, "first");
    say_frame(fixture, FIN | WS_TEXT, "second");
    say_frame(fixture, FIN | WS_CLOSE, "");
    turn(fixture);
    close_client(fixture, CLOSE_TOO_MANY_REQUESTS);
    turn(fixture);
    cr_assert_not_null(strstr(fixture->log, "ending"), "%s", fixture->log);
    cr_assert_null(strstr(fixture->log, "second"), "%s", fixture->log);
    cr_assert_eq(fixture->channel.state, CHANNEL_SHUT, "the peer's close was read");
    end(fixture);
}

/* ── The end of output ───────────────────────────────────────────────────────────────────────── */

Test(channel, lingers_until_all_is_sent)
{
    struct fixture *fixture = open_websocket();

    send_budget = 3;
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "a longer text", 13));
    turn(fixture);
    say_frame(fixture, FIN | WS_TEXT, "x"); /* nothing waits beside what was begun: it is read */
    turn(fixture);
    cr_assert_str_eq(fixture->log, "text x; ");
    say_frame(fixture, FIN | WS_CLOSE, "\x03\xe8");
    turn(fixture);
    cr_assert_eq(fixture->channel.state, CHANNEL_LINGERING);
    cr_assert(!hear(fixture));
    send_budget = SIZE_MAX;
    turn(fixture);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text a longer text; close 1000; ");
    cr_assert(hear(fixture));
    end(fixture);
}

/* ── Frames of tasks ─────────────────────────────────────────────────────────────────────────── */

/* `count` frames "<letter><i>" are due. */
static void offer(struct fixture *fixture, char letter, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char payload[16];
        int len = snprintf(payload, sizeof(payload), "%c%zu", letter, i);

        fixture->frames[fixture->frame_count++] = ws_frame_new(WS_TEXT, payload, (uint32_t)len);
    }
    channel_wake(&fixture->channel);
    channel_wake(&fixture->channel);
}

static const char *texts(char *buffer, char letter, size_t from, size_t to)
{
    buffer[0] = '\0';
    for (size_t i = from; i < to; i++) {
        snprintf(buffer + strlen(buffer), 32, "text %c%zu; ", letter, i);
    }
    return buffer;
}

Test(channel, collects_all_frames_however_many_come_at_once)
{
    const size_t at_once[] = {1, 6, CHANNEL_BATCH - 5, CHANNEL_BATCH - 1, CHANNEL_BATCH};
    const size_t counts[] = {1, CHANNEL_BATCH - 1, CHANNEL_BATCH, CHANNEL_BATCH + 1, 200};
    char expected[4096];

    for (size_t i = 0; i < ARRAY_LEN(at_once) * ARRAY_LEN(counts); i++) {
        struct fixture *fixture = open_websocket();

        fixture->collect_max = at_once[i % ARRAY_LEN(at_once)];
        offer(fixture, 'f', counts[i / ARRAY_LEN(at_once)]);
        turn(fixture);
        cr_assert_str_eq(frames_heard(fixture),
                         texts(expected, 'f', 0, counts[i / ARRAY_LEN(at_once)]));
        end(fixture);
    }
}

Test(channel, what_is_for_this_client_alone_goes_first_however_much_it_is)
{
    struct fixture *fixture = open_websocket();
    char expected[8192];

    offer(fixture, 'f', 10);
    for (size_t i = 0; i < 200; i++) {
        char payload[16];
        int len = snprintf(payload, sizeof(payload), "q%zu", i);

        ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, payload, (uint32_t)len));
    }
    turn(fixture);
    texts(expected, 'q', 0, 200);
    texts(expected + strlen(expected), 'f', 0, 10);
    cr_assert_str_eq(frames_heard(fixture), expected);
    end(fixture);
}

Test(channel, a_write_may_end_at_any_byte)
{
    char expected[512], rest[256];

    for (size_t cut = 0; cut < 80; cut++) {
        struct fixture *fixture = open_websocket();

        ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "q0", 2));
        ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "q1", 2));
        offer(fixture, 'f', 10);
        for (size_t part = 0; part < 3; part++) { /* then in further parts of that size */
            send_budget = cut;
            turn(fixture);
            turn(fixture);
        }
        send_budget = SIZE_MAX;
        turn(fixture);
        texts(expected, 'q', 0, 2);
        strcat(expected, texts(rest, 'f', 0, 10));
        cr_assert_str_eq(frames_heard(fixture), expected, "cut after %zu", cut);
        cr_assert_null(fixture->channel.outbox.begun);
        end(fixture);
    }
}

Test(channel, finishes_the_frame_it_has_begun_then_sends_what_is_newest)
{
    struct fixture *fixture = open_websocket();

    offer(fixture, 'o', 3);
    send_budget = 6; /* o0 and half of o1 */
    turn(fixture);
    cr_assert_eq(fixture->frames_taken, 2);
    cr_assert(fixture->channel.blocked);
    for (size_t i = 0; i < 3; i++) { /* meanwhile newer ones take the place of all of them */
        bytes_unref(fixture->frames[i]);
        fixture->frames[i] = NULL;
    }
    fixture->frames[2] = ws_frame_new(WS_TEXT, "new", 3);
    channel_wake(&fixture->channel);
    cr_assert(list_is_empty(&fixture->loop.due), "nothing to do before the socket drains");
    ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "queued", 6));
    send_budget = SIZE_MAX;
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "text o0; text o1; text queued; text new; ");
    end(fixture);
}

Test(channel, collects_nothing_when_it_is_not_open)
{
    struct fixture *fixture = open_websocket();

    close_client(fixture, CLOSE_GOING_AWAY);
    offer(fixture, 'f', 3);
    turn(fixture);
    cr_assert_str_eq(frames_heard(fixture), "close 1001; ");
    cr_assert_eq(fixture->frames_taken, 0);
    end(fixture);
}

/* ── Closing from anywhere, in any state ─────────────────────────────────────────────────────── */

static const char *close_at;
static bool close_by_abort;

static void close_here(struct fixture *fixture, const char *event)
{
    if (strncmp(event, close_at, strlen(close_at)) == 0) {
        if (close_by_abort) {
            channel_abort(&fixture->channel);
        }
        close_client(fixture, CLOSE_GOING_AWAY);
    }
}

Test(channel, can_be_closed_from_each_event)
{
    const char *const events_to_close_in[] = {"request", "text", "ending"};

    for (size_t i = 0; i < 2 * ARRAY_LEN(events_to_close_in); i++) {
        struct fixture *fixture = open_http();
        uint8_t bytes[1024];
        size_t len = strlen(UPGRADE);

        close_at = events_to_close_in[i / 2];
        close_by_abort = i % 2;
        fixture->on_event = close_here;
        memcpy(bytes, UPGRADE, len);
        len += put_frame(bytes + len, FIN | WS_TEXT, "a", 1);
        len += put_frame(bytes + len, FIN | WS_TEXT, "b", 1);
        len += put_frame(bytes + len, FIN | WS_CLOSE, "", 0);
        say_bytes(fixture, bytes, len);
        turn(fixture);
        turn(fixture);
        end(fixture);
    }
}

enum stage { READING, ANSWERING, OPEN, CLOSING, ENDING, CLOSED };

static void reach(struct fixture *fixture, enum stage stage)
{
    if (stage == READING) {
        return;
    }
    if (stage == ANSWERING) {
        fixture->later = true;
        say(fixture, GET("/a"));
        turn(fixture);
        cr_assert_eq(fixture->http.state, HTTP_CONNECTION_ANSWERING);
        return;
    }
    say(fixture, UPGRADE);
    turn(fixture);
    cr_assert_eq(fixture->ws.state, WS_CONNECTION_OPEN);
    if (stage == CLOSING) {
        close_client(fixture, CLOSE_GOING_AWAY);
        cr_assert_eq(fixture->ws.state, WS_CONNECTION_CLOSING);
    } else if (stage == ENDING) {
        say_frame(fixture, FIN | WS_CLOSE, "");
        turn(fixture);
        cr_assert_eq(fixture->channel.state, CHANNEL_SHUT);
    } else if (stage == CLOSED) {
        channel_abort(&fixture->channel);
    }
}

static void peer_goes(struct fixture *fixture)
{
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
}

static void peer_says_garbage(struct fixture *fixture)
{
    (void)!send(fixture->peer, "\xff\xff\xff garbage \r\n\r\n", 16, MSG_NOSIGNAL);
    turn(fixture);
}

static void owner_closes(struct fixture *fixture)
{
    close_client(fixture, CLOSE_GOING_AWAY);
}

static void owner_aborts(struct fixture *fixture)
{
    channel_abort(&fixture->channel);
}

static void owner_sends(struct fixture *fixture)
{
    if (fixture->is_websocket) {
        ws_connection_send(&fixture->ws, ws_frame_new(WS_TEXT, "x", 1));
    }
}

static void owner_sends_what_no_memory_was_left_for(struct fixture *fixture)
{
    if (fixture->is_websocket) {
        ws_connection_send(&fixture->ws, NULL);
    }
}

static void owner_wakes_and_flushes(struct fixture *fixture)
{
    channel_wake(&fixture->channel);
    flush(fixture);
}

Test(channel, stands_everything_in_every_state)
{
    void (*const doings[])(struct fixture *) = {
        peer_goes,
        peer_says_garbage,
        owner_closes,
        owner_aborts,
        owner_sends,
        owner_sends_what_no_memory_was_left_for,
        owner_wakes_and_flushes,
    };

    for (enum stage stage = READING; stage <= CLOSED; stage++) {
        for (size_t i = 0; i < ARRAY_LEN(doings) * ARRAY_LEN(doings); i++) {
            struct fixture *fixture = open_http();

            reach(fixture, stage);
            doings[i % ARRAY_LEN(doings)](fixture);
            turn(fixture);
            if (!fixture->closed && fixture->peer >= 0) {
                doings[i / ARRAY_LEN(doings)](fixture);
            }
            if (!fixture->closed) {
                turn(fixture);
            }
            end(fixture);
        }
    }
}

Test(channel, out_of_memory_closes_it_and_nothing_else)
{
    for (unsigned nth = 1; nth < 40; nth++) {
        struct fixture *fixture = open_http();
        uint8_t frame[64];
        size_t len = put_frame(frame, FIN | WS_TEXT, "in pieces", 9);

        shared_body = bytes_copy("x", 1);
        mem_fail_nth(nth);
        say(fixture, GET("/a") GET("/shared") GET("/shared"));
        turn(fixture);
        if (!fixture->closed) {
            say(fixture, UPGRADE);
            turn(fixture);
        }
        for (size_t i = 0; i < len && !fixture->closed; i += 8) {
            say_bytes(fixture, frame + i, len - i < 8 ? len - i : 8);
            turn(fixture);
        }
        if (!fixture->closed) {
            say_frame(fixture, FIN | WS_PING, "p");
            say_frame(fixture, FIN | WS_CLOSE, "");
            turn(fixture);
        }
        mem_fail_nth(0);
        end(fixture);
        cr_assert_eq(shared_body->refs, 1);
        bytes_unref(TAKE(shared_body));
    }
}

/* ── Bounds, and a peer that is gone ─────────────────────────────────────────────────────────── */

Test(channel, what_fills_the_queue_is_not_followed_by_more)
{
    struct fixture *fixture = open_http();
    const uint32_t large = 20000;
    char *body = calloc(1, large);

    shared_body = bytes_copy(body, large);
    send_budget = 0;
    say(fixture, GET("/shared") GET("/shared") GET("/shared"));
    turn(fixture);
    cr_assert_eq(fixture->requests, 1, "one answer is more than the bound");
    cr_assert_not_null(fixture->channel.input);
    send_budget = SIZE_MAX;
    for (int i = 0; i < 10; i++) {
        turn(fixture);
        forget_received(fixture);
    }
    cr_assert_eq(fixture->requests, 3);
    end(fixture);
    bytes_unref(TAKE(shared_body));
    free(body);
}

/* A TCP connection, since only there a reset is seen. The server's end. */
static int connect_pair(int *ret_peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

    cr_assert_eq(bind(listening, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    cr_assert_eq(listen(listening, 1), 0);
    *ret_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(*ret_peer, (struct sockaddr *)&address, len), 0);
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listening);
    return fd;
}

Test(channel, a_peer_that_resets_is_noticed_while_its_request_is_answered)
{
    struct fixture *fixture = open_http();
    int peer, fd = connect_pair(&peer);

    channel_abort(&fixture->channel); /* its socket pair is of no use here */
    turn(fixture);
    fixture->closed = 0;
    fixture->log[0] = '\0';
    fixture->later = true;
    cr_assert_eq(http_connection_open(&fixture->http, fd, &fixture->settings), 0);
    cr_assert_eq(write(peer, GET("/a"), strlen(GET("/a"))), (ssize_t)strlen(GET("/a")));
    for (int i = 0; i < 1000 && fixture->requests == 0; i++) {
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /a; ");
    cr_assert_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                            sizeof(struct linger)),
                 0);
    close(peer);
    for (int i = 0; i < 1000 && !fixture->closed; i++) {
        turn(fixture);
    }
    cr_assert_str_eq(fixture->log, "request /a; closed; ");
    end(fixture);
}

/* ── A transport that holds what the socket doesn't take ─────────────────────────────────────── */

/* Takes all bytes as one record, and holds it until `record_may_go`. */
static bool record_may_go;
static char record[4096];
static size_t record_len;

static int record_flush(struct stream *stream)
{
    if (!record_may_go) {
        return 0;
    }
    cr_assert_eq(write(stream->fd, record, record_len), (ssize_t)record_len);
    stream->is_held = false;
    return 0;
}

static ssize_t record_writev(struct stream *stream, const struct iovec *vector, int count)
{
    cr_assert(!stream->is_held, "one record at the most");
    record_len = 0;
    for (int i = 0; i < count; i++) {
        memcpy(record + record_len, vector[i].iov_base, vector[i].iov_len);
        record_len += vector[i].iov_len;
    }
    stream->is_held = true;
    (void)record_flush(stream);
    return (ssize_t)record_len;
}

Test(channel, what_the_stream_holds_is_sent_once_and_before_the_end)
{
    struct fixture *fixture = open_http();
    struct stream_transport records = stream_plain;

    records.writev = record_writev;
    records.flush = record_flush;
    fixture->channel.stream.transport = &records;
    record_may_go = false;
    say(fixture, GET("/a") GET("/close"));
    turn(fixture);
    turn(fixture);
    cr_assert(outbox_is_empty(&fixture->channel.outbox), "the stream has taken it");
    cr_assert_eq(fixture->channel.state, CHANNEL_LINGERING, "but it isn't out");
    cr_assert(!hear(fixture));
    cr_assert_eq(fixture->received_len, 0);
    record_may_go = true;
    turn(fixture);
    turn(fixture);
    cr_assert(hear(fixture));
    cr_assert_eq(count_of(fixture->received, "HTTP/1.1 200"), 2);
    end(fixture);
}

Test(channel, moves_between_states_as_its_header_says)
{
    static const bool allowed[][CHANNEL_CLOSED + 1] = {
        [CHANNEL_OPEN] = {[CHANNEL_LINGERING] = true, [CHANNEL_CLOSED] = true},
        [CHANNEL_LINGERING] = {[CHANNEL_SHUT] = true, [CHANNEL_CLOSED] = true},
        [CHANNEL_SHUT] = {[CHANNEL_CLOSED] = true},
        [CHANNEL_CLOSED] = {false},
    };

    EXPECT_STATE_PAIRS(&channel_machine, allowed);
}
