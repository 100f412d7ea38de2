#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/net/stream.h"

/* ── A stream and its peer ───────────────────────────────────────────────────────────────────── */

enum event { CONNECTED, READABLE, WRITABLE, BROKEN, EVENTS };

struct fixture {
    uv_loop_t loop;
    struct stream stream;
    int peer;
    int count[EVENTS], closed;
    int status;       /* of the last on_connected */
    int close_in;     /* the event in which the stream is closed; -1: none */
    bool is_in_event; /* to see that on_closed comes from the loop */
    void (*also)(struct fixture *fixture, enum event event);
};

static struct fixture *fixture_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct fixture, stream);
}

static void on_event(struct stream *stream, enum event event)
{
    struct fixture *fixture = fixture_of(stream);

    cr_assert_eq(fixture->closed, 0);
    fixture->count[event]++;
    fixture->is_in_event = true;
    if (fixture->also) {
        fixture->also(fixture, event);
    }
    if (fixture->close_in == (int)event) {
        stream_close(stream);
        stream_close(stream);
    }
    fixture->is_in_event = false;
}

static void on_connected(struct stream *stream, int status)
{
    fixture_of(stream)->status = status;
    on_event(stream, CONNECTED);
}

static void on_readable(struct stream *stream)
{
    on_event(stream, READABLE);
}

static void on_writable(struct stream *stream)
{
    on_event(stream, WRITABLE);
}

static void on_broken(struct stream *stream)
{
    on_event(stream, BROKEN);
}

static void on_closed(struct stream *stream)
{
    cr_assert(!fixture_of(stream)->is_in_event, "closed comes from the loop");
    fixture_of(stream)->closed++;
}

static const struct stream_events events = {on_connected, on_readable, on_writable, on_broken,
                                            on_closed};

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->close_in = -1;
    fixture->peer = -1;
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
}

static void open_pair(struct fixture *fixture)
{
    int pair[2];

    set_up(fixture);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(stream_open(&fixture->stream, &fixture->loop, pair[0], &events), 0);
    fixture->peer = pair[1];
}

static void turn(struct fixture *fixture)
{
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void tear_down(struct fixture *fixture)
{
    stream_close(&fixture->stream);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(fixture->closed, 1);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    if (fixture->peer >= 0) {
        close(fixture->peer);
    }
}

static void say(struct fixture *fixture, const char *text)
{
    cr_assert_eq(write(fixture->peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* ── Readiness ───────────────────────────────────────────────────────────────────────────────── */

Test(stream, does_not_read_until_asked_and_not_any_longer)
{
    struct fixture fixture;

    open_pair(&fixture);
    say(&fixture, "x");
    turn(&fixture);
    cr_assert_eq(fixture.count[READABLE], 0);
    stream_want_read(&fixture.stream, true);
    turn(&fixture);
    turn(&fixture);
    cr_assert_eq(fixture.count[READABLE], 2, "comes again as long as there are bytes");
    stream_want_read(&fixture.stream, false);
    turn(&fixture);
    cr_assert_eq(fixture.count[READABLE], 2);
    tear_down(&fixture);
}

Test(stream, reads_what_is_there_then_nothing_then_the_end)
{
    struct fixture fixture;
    uint8_t *data = NULL;

    open_pair(&fixture);
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), 0);
    cr_assert_null(data, "untouched");
    say(&fixture, "hello");
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), 5);
    cr_assert_eq(memcmp(data, "hello", 5), 0);
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), 0);
    close(fixture.peer);
    fixture.peer = -1;
    stream_want_read(&fixture.stream, true);
    turn(&fixture);
    cr_assert_eq(fixture.count[READABLE], 1, "the end is readable");
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), UV_EOF);
    tear_down(&fixture);
}

Test(stream, tells_of_room_to_write_once_for_each_time_it_is_asked)
{
    struct fixture fixture;

    open_pair(&fixture);
    stream_want_write(&fixture.stream);
    stream_want_write(&fixture.stream);
    turn(&fixture);
    turn(&fixture);
    cr_assert_eq(fixture.count[WRITABLE], 1);
    stream_want_write(&fixture.stream);
    turn(&fixture);
    cr_assert_eq(fixture.count[WRITABLE], 2);
    tear_down(&fixture);
}

static void ask_again(struct fixture *fixture, enum event event)
{
    if (event == WRITABLE && fixture->count[WRITABLE] < 3) {
        stream_want_write(&fixture->stream);
    }
}

Test(stream, can_be_asked_for_room_from_within_the_event)
{
    struct fixture fixture;

    open_pair(&fixture);
    fixture.also = ask_again;
    stream_want_write(&fixture.stream);
    for (int i = 0; i < 10; i++) {
        turn(&fixture);
    }
    cr_assert_eq(fixture.count[WRITABLE], 3);
    tear_down(&fixture);
}

Test(stream, writes_what_the_socket_takes_and_no_more)
{
    struct fixture fixture;
    static char block[1 << 20], sink[1 << 20];
    struct iovec vector[2] = {{block, sizeof(block)}, {block, sizeof(block)}};
    ssize_t n, total = 0;

    open_pair(&fixture);
    while ((n = stream_writev(&fixture.stream, vector, 2)) > 0) {
        total += n;
    }
    cr_assert_eq(n, 0);
    cr_assert_eq(stream_writev(&fixture.stream, vector, 1), 0, "also through send()");
    cr_assert_gt(total, 0);
    stream_want_write(&fixture.stream);
    turn(&fixture);
    cr_assert_eq(fixture.count[WRITABLE], 0);
    while ((n = read(fixture.peer, sink, sizeof(sink))) > 0) {
        total -= n;
    }
    cr_assert_eq(total, 0);
    turn(&fixture);
    cr_assert_eq(fixture.count[WRITABLE], 1);
    tear_down(&fixture);
}

Test(stream, writing_to_a_peer_that_is_gone_is_an_error_and_no_signal)
{
    struct fixture fixture;
    struct iovec vector[2] = {{"a", 1}, {"b", 1}};

    open_pair(&fixture);
    close(fixture.peer);
    fixture.peer = -1;
    cr_assert_eq(stream_writev(&fixture.stream, vector, 1), UV_EPIPE);
    cr_assert_eq(stream_writev(&fixture.stream, vector, 2), UV_EPIPE);
    tear_down(&fixture);
}

Test(stream, shutting_down_ends_what_the_peer_reads_and_not_what_it_writes)
{
    struct fixture fixture;
    uint8_t *data;
    char byte;

    open_pair(&fixture);
    stream_shutdown(&fixture.stream);
    cr_assert_eq(read(fixture.peer, &byte, 1), 0);
    say(&fixture, "x");
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), 1);
    tear_down(&fixture);
}

/* ── Closing ─────────────────────────────────────────────────────────────────────────────────── */

Test(stream, can_be_closed_from_each_event_after_which_no_other_comes)
{
    for (int event = READABLE; event <= WRITABLE; event++) {
        struct fixture fixture;

        open_pair(&fixture);
        fixture.close_in = event;
        say(&fixture, "x");
        stream_want_read(&fixture.stream, true);
        stream_want_write(&fixture.stream);
        turn(&fixture);
        turn(&fixture);
        cr_assert_eq(fixture.count[WRITABLE], 1, "writable goes first");
        cr_assert_eq(fixture.count[READABLE], event == READABLE ? 1 : 0);
        cr_assert_eq(fixture.closed, 1);
        tear_down(&fixture);
    }
}

Test(stream, closing_closes_the_descriptor_at_once)
{
    struct fixture fixture;
    char byte;
    int fd;

    open_pair(&fixture);
    fd = fixture.stream.fd;
    stream_close(&fixture.stream);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(read(fixture.peer, &byte, 1), 0);
    cr_assert_eq(fixture.closed, 0);
    tear_down(&fixture);
}

Test(stream, that_cannot_be_opened_closes_the_descriptor)
{
    struct fixture fixture;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* epoll takes no such file */

    set_up(&fixture);
    cr_assert_lt(stream_open(&fixture.stream, &fixture.loop, fd, &events), 0);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(uv_loop_close(&fixture.loop), 0);
}

/* ── Connecting ──────────────────────────────────────────────────────────────────────────────── */

/* A TCP socket on a free port of loopback, and where it is. */
static int bind_socket(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*address);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (struct sockaddr *)address, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static void connect_and_wait(struct fixture *fixture, const struct sockaddr *address, socklen_t len)
{
    cr_assert_eq(stream_connect(&fixture->stream, &fixture->loop, address, len, &events), 0);
    cr_assert_eq(fixture->count[CONNECTED], 0, "never before it returns");
    while (fixture->count[CONNECTED] == 0) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    turn(fixture);
    cr_assert_eq(fixture->count[CONNECTED], 1);
}

Test(stream, connects_and_then_reads_and_writes)
{
    struct fixture fixture;
    struct sockaddr_in address;
    int listener = bind_socket(&address);
    uint8_t *data;

    cr_assert_eq(listen(listener, 1), 0);
    set_up(&fixture);
    connect_and_wait(&fixture, (struct sockaddr *)&address, sizeof(address));
    cr_assert_eq(fixture.status, 0);
    cr_assert_eq(fixture.count[WRITABLE], 0, "connecting is no room to write");
    fixture.peer = accept(listener, NULL, NULL);
    say(&fixture, "x");
    stream_want_read(&fixture.stream, true);
    uv_run(&fixture.loop, UV_RUN_ONCE);
    cr_assert_eq(fixture.count[READABLE], 1);
    cr_assert_eq(stream_read(&fixture.stream, STREAM_READ_MAX, &data), 1);
    tear_down(&fixture);
    close(listener);
}

Test(stream, tells_that_a_connection_was_refused)
{
    struct fixture fixture;
    struct sockaddr_in address;
    int bound = bind_socket(&address); /* and not listening */

    set_up(&fixture);
    connect_and_wait(&fixture, (struct sockaddr *)&address, sizeof(address));
    cr_assert_eq(fixture.status, UV_ECONNREFUSED, "%s", uv_strerror(fixture.status));
    tear_down(&fixture);
    close(bound);
}

Test(stream, a_path_that_is_missing_is_refused_at_once)
{
    struct fixture fixture;
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nowhere/socket"};

    set_up(&fixture);
    cr_assert_eq(stream_connect(&fixture.stream, &fixture.loop, (struct sockaddr *)&address,
                                sizeof(address), &events),
                 UV_ENOENT);
    cr_assert_eq(uv_loop_close(&fixture.loop), 0, "nothing was opened");
}

Test(stream, can_be_closed_while_it_connects_and_when_it_has)
{
    for (int early = 0; early <= 1; early++) {
        struct fixture fixture;
        struct sockaddr_in address;
        int listener = bind_socket(&address);

        cr_assert_eq(listen(listener, 1), 0);
        set_up(&fixture);
        fixture.close_in = CONNECTED;
        cr_assert_eq(stream_connect(&fixture.stream, &fixture.loop, (struct sockaddr *)&address,
                                    sizeof(address), &events),
                     0);
        if (early) {
            stream_close(&fixture.stream);
        }
        uv_run(&fixture.loop, UV_RUN_DEFAULT);
        cr_assert_eq(fixture.count[CONNECTED], !early);
        tear_down(&fixture);
        close(listener);
    }
}

/* ── A transport that has more than the socket shows ─────────────────────────────────────────── */

/* What it has read ahead, and gives out a byte at a time. */
static char ahead[16];
static size_t ahead_len, ahead_at;

static ssize_t ahead_read(struct stream *stream, uint8_t *buffer, size_t len)
{
    if (ahead_at == ahead_len) {
        ssize_t n = stream_plain.read(stream, (uint8_t *)ahead, sizeof(ahead));

        if (n <= 0) {
            return n;
        }
        ahead_at = 0;
        ahead_len = (size_t)n;
    }
    buffer[0] = (uint8_t)ahead[ahead_at++];
    stream->has_input = ahead_at < ahead_len;
    return 1;
}

static void read_one(struct fixture *fixture, enum event event)
{
    uint8_t *data;

    if (event == READABLE) {
        cr_assert_eq(stream_read(&fixture->stream, STREAM_READ_MAX, &data), 1);
    }
}

Test(stream, is_readable_as_long_as_the_transport_has_bytes_the_socket_no_longer_shows)
{
    struct fixture fixture;
    struct stream_transport transport = stream_plain;

    transport.read = ahead_read;
    open_pair(&fixture);
    fixture.stream.transport = &transport;
    fixture.also = read_one;
    stream_want_read(&fixture.stream, true);
    say(&fixture, "abcd");
    turn(&fixture);
    stream_want_read(&fixture.stream, false);
    turn(&fixture);
    turn(&fixture);
    const int seen = fixture.count[READABLE];
    cr_assert_lt(seen, 4, "and not while it isn't wanted");
    stream_want_read(&fixture.stream, true);
    for (int i = 0; i < 10; i++) {
        turn(&fixture);
    }
    cr_assert_eq(fixture.count[READABLE], 4);
    cr_assert_eq(fixture.count[WRITABLE], 0, "nobody asked for that");
    tear_down(&fixture);
}
