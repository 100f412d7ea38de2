#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/redis/redis_connection.h"
#include "common/mem.h"

/* ── A connection, and the server's end of it ────────────────────────────────────────────────── */

struct fixture {
    uv_loop_t loop;
    struct redis_url url;
    struct redis_connection connection;
    int listener, peer;
    char directory[32], path[64];
    char log[4096]; /* the events, "; " behind each */
    int opened, failed, closed;
    bool closes_on_open, closes_on_reply, closes_on_push, closes_on_failure;
};

static struct fixture *fixture_of(struct redis_connection *connection)
{
    return CONTAINER_OF(connection, struct fixture, connection);
}

static void note(struct fixture *fixture, const char *format, ...)
{
    size_t len = strlen(fixture->log);
    va_list arguments;

    cr_assert_eq(fixture->closed, 0, "nothing comes after closed");
    va_start(arguments, format);
    vsnprintf(fixture->log + len, sizeof(fixture->log) - len, format, arguments);
    va_end(arguments);
    strncat(fixture->log, "; ", sizeof(fixture->log) - strlen(fixture->log) - 1);
}

static void close_if(struct fixture *fixture, bool wanted)
{
    if (wanted) {
        redis_connection_close(&fixture->connection);
        redis_connection_close(&fixture->connection);
    }
}

static void on_open(struct redis_connection *connection)
{
    struct fixture *fixture = fixture_of(connection);

    fixture->opened++;
    note(fixture, "open");
    close_if(fixture, fixture->closes_on_open);
}

static void on_message(struct redis_connection *connection, struct span channel,
                       struct span message)
{
    struct fixture *fixture = fixture_of(connection);

    note(fixture, "message %.*s %.*s", (int)channel.len, channel.at, (int)message.len, message.at);
    close_if(fixture, fixture->closes_on_push);
}

static void on_failed(struct redis_connection *connection, const char *why)
{
    struct fixture *fixture = fixture_of(connection);

    fixture->failed++;
    note(fixture, "failed: %s", why);
    close_if(fixture, fixture->closes_on_failure);
}

static void on_closed(struct redis_connection *connection)
{
    note(fixture_of(connection), "closed");
    fixture_of(connection)->closed++;
}

static const struct redis_connection_events events = {
    .on_open = on_open,
    .on_message = on_message,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->peer = fixture->listener = -1;
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    strcpy(fixture->directory, "/tmp/progressd-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->directory));
    snprintf(fixture->path, sizeof(fixture->path), "%s/s", fixture->directory);
    fixture->url = (struct redis_url){.kind = REDIS_URL_UNIX, .path = fixture->path};
}

static void listen_at_path(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, fixture->path);
    fixture->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fixture->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fixture->listener, 1), 0);
}

static void turn(struct fixture *fixture)
{
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void open_it(struct fixture *fixture)
{
    cr_assert_eq(
        redis_connection_open(&fixture->connection, &fixture->loop, &fixture->url, &events), 0);
}

static void accept_it(struct fixture *fixture)
{
    fixture->peer = accept4(fixture->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(fixture->peer, 0);
}

/* Open, and nothing said yet. */
static void set_up_open(struct fixture *fixture)
{
    set_up(fixture);
    listen_at_path(fixture);
    open_it(fixture);
    turn(fixture);
    accept_it(fixture);
    cr_assert_str_eq(fixture->log, "open; ");
    fixture->log[0] = '\0';
}

static void tear_down(struct fixture *fixture)
{
    redis_connection_close(&fixture->connection);
    redis_connection_close(&fixture->connection);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert_eq(fixture->closed, 1);
    cr_assert_leq(fixture->failed, 1);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    close(fixture->peer);
    close(fixture->listener);
    unlink(fixture->path);
    rmdir(fixture->directory);
}

static void say(struct fixture *fixture, const char *text)
{
    cr_assert_eq(write(fixture->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static const char *heard(struct fixture *fixture)
{
    static char text[4096];
    ssize_t n = read(fixture->peer, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void on_reply(void *context, const struct redis_answer *answer)
{
    struct fixture *fixture = context;

    if (answer->kind == REDIS_LOST) {
        note(fixture, "NULL");
    } else if (answer->kind != REDIS_VALUE) {
        note(fixture, "%.*s", (int)answer->error.len, answer->error.at);
    } else if (redis_answer_is_array(answer)) {
        note(fixture, "array %zu", redis_answer_count(answer));
    } else if (redis_answer_text(answer).at) {
        note(fixture, "%.*s", (int)redis_answer_text(answer).len, redis_answer_text(answer).at);
    } else {
        note(fixture, ":%lld", (long long)redis_answer_integer(answer));
    }
    close_if(fixture, fixture->closes_on_reply);
}

static void command(struct fixture *fixture, const char *name, const char *argument)
{
    cr_assert_eq(
        redis_connection_send(&fixture->connection, on_reply, fixture, argument ? 2 : 1,
                              (struct span[]){SPAN_OF(name), SPAN_OF(argument ? argument : "")}),
        0);
}

/* ── Commands and replies ────────────────────────────────────────────────────────────────────── */

Test(redis_connection, writes_the_commands_of_a_turn_together_and_hands_replies_on_in_order)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "PING", NULL);
    command(&fixture, "GET", "a\r\nb");
    cr_assert_str_eq(heard(&fixture), "", "nothing before the turn ends");
    turn(&fixture);
    cr_assert_str_eq(heard(&fixture), "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
    cr_assert_eq(fixture.connection.pending_count, 2);
    say(&fixture, "+PONG\r\n-ERR no\r\n");
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "PONG; ERR no; ");
    cr_assert_eq(fixture.connection.pending_count, 0);
    tear_down(&fixture);
}

Test(redis_connection, takes_replies_byte_by_byte)
{
    struct fixture fixture;
    const char *text = "*2\r\n$1\r\na\r\n:1\r\n$3\r\nx\r\n\r\n:7\r\n";

    set_up_open(&fixture);
    command(&fixture, "A", NULL);
    command(&fixture, "B", NULL);
    command(&fixture, "C", NULL);
    for (; *text; text++) {
        say(&fixture, (char[]){*text, '\0'});
        turn(&fixture);
    }
    cr_assert_str_eq(fixture.log, "array 2; x\r\n; :7; ");
    tear_down(&fixture);
}

Test(redis_connection, keeps_the_order_over_a_thousand_commands)
{
    struct fixture fixture;
    unsigned long replies = 0;

    set_up_open(&fixture);
    for (int round = 0; round < 3; round++) { /* so that the ring of callbacks turns as it grows */
        for (int i = 0; i < 7 + 300 * round; i++) {
            command(&fixture, "PING", NULL);
        }
        for (int i = 0; i < 5 + 300 * round; i++) {
            char reply[32];

            snprintf(reply, sizeof(reply), ":%lu\r\n", replies++);
            say(&fixture, reply);
            turn(&fixture);
            snprintf(reply, sizeof(reply), ":%lu; ", replies - 1);
            cr_assert_str_eq(fixture.log, reply);
            fixture.log[0] = '\0';
            heard(&fixture);
        }
    }
    cr_assert_eq(fixture.connection.pending_count, 6);
    for (int i = 0; i < 6; i++) {
        say(&fixture, "+z\r\n");
    }
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "z; z; z; z; z; z; ");
    tear_down(&fixture);
}

Test(redis_connection, writes_on_when_the_server_takes_a_large_command_in_pieces)
{
    struct fixture fixture;
    const size_t len = 4 << 20;
    char *large = malloc(len), *sink = malloc(len);
    size_t total = 0;
    ssize_t n;

    memset(large, 'x', len);
    set_up_open(&fixture);
    cr_assert_eq(redis_connection_send(&fixture.connection, on_reply, &fixture, 2,
                                       (struct span[]){SPAN_OF("ECHO"), {large, len}}),
                 0);
    command(&fixture, "PING", NULL);
    for (int i = 0; i < 100000 && total < len + 50; i++) {
        turn(&fixture);
        n = read(fixture.peer, sink, len);
        total += n > 0 ? (size_t)n : 0;
        if (i == 1) {
            command(&fixture, "PING", NULL); /* while it is still being written */
        }
    }
    cr_assert_eq(total, strlen("*2\r\n$4\r\nECHO\r\n$4194304\r\n\r\n") + len +
                            2 * strlen("*1\r\n$4\r\nPING\r\n"));
    free(large);
    free(sink);
    tear_down(&fixture);
}

Test(redis_connection, what_was_not_answered_hears_so_when_it_closes)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "A", NULL);
    command(&fixture, "B", NULL);
    command(&fixture, "C", NULL);
    say(&fixture, "+a\r\n");
    turn(&fixture);
    redis_connection_close(&fixture.connection);
    cr_assert_str_eq(fixture.log, "a; NULL; NULL; ", "before it returns");
    tear_down(&fixture);
    cr_assert_str_eq(fixture.log, "a; NULL; NULL; closed; ");
}

static int count_pings(const char *text)
{
    int count = 0;

    for (; (text = strstr(text, "PING")); text++) {
        count++;
    }
    return count;
}

Test(redis_connection, out_of_memory_refuses_a_command_and_keeps_the_others)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "A", NULL);
    for (unsigned nth = 1; nth < 4; nth++) { /* the 17th callback needs room, the text later on */
        int sent = 0, r = 0;

        mem_fail_nth(nth);
        for (int i = 0; i < 40 && r == 0; i++) {
            r = redis_connection_send(&fixture.connection, on_reply, &fixture, 1,
                                      (struct span[]){SPAN_OF("PING")});
            sent += r == 0;
        }
        mem_fail_nth(0);
        turn(&fixture);
        cr_assert_eq(count_pings(heard(&fixture)), sent);
    }
    tear_down(&fixture);
}

/* ── Messages ────────────────────────────────────────────────────────────────────────────────── */

Test(redis_connection, tells_messages_from_replies)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "SSUBSCRIBE", "a");
    command(&fixture, "PSUBSCRIBE", "b");
    say(&fixture, "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n"
                  "*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nm1\r\n"
                  "*3\r\n$10\r\npsubscribe\r\n$1\r\nb\r\n:1\r\n"
                  "*4\r\n$8\r\npmessage\r\n$1\r\nb\r\n$1\r\nb\r\n$2\r\nm2\r\n");
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "array 3; message a m1; array 3; message b m2; ");
    tear_down(&fixture);
}

Test(redis_connection, without_a_subscription_a_reply_is_a_reply_whatever_it_looks_like)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "HGETALL", "a"); /* of a hash that somebody gave such a field */
    command(&fixture, "HGETALL", "b");
    say(&fixture, "*4\r\n$8\r\nsmessage\r\n$1\r\nx\r\n$1\r\nn\r\n$1\r\n1\r\n"
                  "*4\r\n$12\r\nsunsubscribe\r\n$1\r\nx\r\n$1\r\nn\r\n$1\r\n1\r\n");
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "array 4; array 4; ");
    tear_down(&fixture);
}

#define SUNSUBSCRIBED "*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n"

Test(redis_connection, an_unsubscription_that_was_asked_for_is_a_reply)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "SSUBSCRIBE", "a");
    command(&fixture, "SUNSUBSCRIBE", "a");
    say(&fixture, "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n" SUNSUBSCRIBED);
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "array 3; array 3; ");
    tear_down(&fixture);
}

Test(redis_connection, an_unsubscription_that_nobody_asked_for_is_a_loss)
{
    for (int with_pending = 0; with_pending <= 1; with_pending++) {
        struct fixture fixture;

        set_up_open(&fixture);
        command(&fixture, "SSUBSCRIBE", "a");
        say(&fixture, "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n");
        turn(&fixture);
        if (with_pending) {
            command(&fixture, "SSUBSCRIBE", "b");
        }
        say(&fixture, SUNSUBSCRIBED);
        turn(&fixture);
        cr_assert_str_eq(fixture.log, "array 3; failed: Redis ended a subscription; ");
        tear_down(&fixture);
    }
}

Test(redis_connection, reads_nothing_while_it_is_paused)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "SSUBSCRIBE", "a");
    redis_connection_pause(&fixture.connection, true);
    say(&fixture, "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n");
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "");
    redis_connection_pause(&fixture.connection, false);
    turn(&fixture);
    cr_assert_str_eq(fixture.log, "array 3; ");
    redis_connection_close(&fixture.connection);
    redis_connection_pause(&fixture.connection, false);
    tear_down(&fixture);
}

/* ── What goes wrong ─────────────────────────────────────────────────────────────────────────── */

Test(redis_connection, fails_once_with_the_reason)
{
    const struct {
        const char *said, *log;
    } cases[] = {
        {"-ERR max number of clients reached\r\n",
         "failed: Redis said, unasked: ERR max number of clients reached; "},
        {":1\r\n:2\r\n", "failed: Redis said, unasked: ; "},
        {"HTTP/1.1 400 Bad Request\r\n\r\n",
         "failed: Protocol error, got \"H\" as reply type byte; "},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
         "failed: No support for nested multi bulk replies with depth > 7; "},
        {NULL, "failed: connection lost: end of file; "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int closes = 0; closes <= 1; closes++) {
            struct fixture fixture;

            set_up_open(&fixture);
            fixture.closes_on_failure = closes;
            if (cases[i].said) {
                say(&fixture, cases[i].said);
            } else {
                shutdown(fixture.peer, SHUT_RDWR);
            }
            turn(&fixture);
            turn(&fixture);
            cr_assert_eq(strncmp(fixture.log, cases[i].log, strlen(cases[i].log)), 0, "%s",
                         fixture.log);
            tear_down(&fixture);
        }
    }
}

Test(redis_connection, an_error_in_the_middle_of_replies_leaves_the_first_ones_good)
{
    struct fixture fixture;

    set_up_open(&fixture);
    command(&fixture, "A", NULL);
    command(&fixture, "B", NULL);
    say(&fixture, "+a\r\n?");
    turn(&fixture);
    tear_down(&fixture);
    cr_assert_eq(strncmp(fixture.log, "a; failed: Protocol error", 25), 0, "%s", fixture.log);
    cr_assert_not_null(strstr(fixture.log, "; NULL; closed; "));
}

Test(redis_connection, can_be_closed_from_each_callback)
{
    for (int at = 0; at < 3; at++) {
        struct fixture fixture;

        set_up(&fixture);
        listen_at_path(&fixture);
        fixture.closes_on_open = at == 0;
        fixture.closes_on_reply = at == 1;
        fixture.closes_on_push = at == 2;
        open_it(&fixture);
        turn(&fixture);
        accept_it(&fixture);
        if (at > 0) {
            command(&fixture, "SSUBSCRIBE", "a");
            command(&fixture, "SSUBSCRIBE", "b");
            say(&fixture, "*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nm1\r\n+OK\r\n+OK\r\n"
                          "*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nm2\r\n");
            turn(&fixture);
        }
        tear_down(&fixture);
        cr_assert_str_eq(fixture.log, at == 0   ? "open; closed; "
                                      : at == 1 ? "open; message a m1; OK; NULL; closed; "
                                                : "open; message a m1; NULL; NULL; closed; ");
    }
}

/* ── Opening ─────────────────────────────────────────────────────────────────────────────────── */

Test(redis_connection, fails_before_it_is_opened_when_the_path_leads_nowhere)
{
    struct fixture fixture;
    char long_path[200];

    set_up(&fixture);
    open_it(&fixture);
    cr_assert_str_eq(fixture.log, "failed: cannot connect: no such file or directory; ");
    tear_down(&fixture);

    set_up(&fixture);
    memset(long_path, 'p', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    fixture.url.path = long_path;
    fixture.closes_on_failure = true;
    open_it(&fixture);
    cr_assert_str_eq(fixture.log, "failed: cannot connect: name too long; ");
    tear_down(&fixture);
}

Test(redis_connection, authenticates_before_it_is_open)
{
    for (int with_user = 0; with_user <= 1; with_user++) {
        struct fixture fixture;

        set_up(&fixture);
        listen_at_path(&fixture);
        fixture.url.user = with_user ? "u" : NULL;
        fixture.url.password = "pass";
        open_it(&fixture);
        turn(&fixture);
        accept_it(&fixture);
        turn(&fixture);
        cr_assert_str_eq(heard(&fixture), with_user
                                              ? "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$4\r\npass\r\n"
                                              : "*2\r\n$4\r\nAUTH\r\n$4\r\npass\r\n");
        cr_assert_str_eq(fixture.log, "");
        say(&fixture, with_user ? "-WRONGPASS no\r\n" : "+OK\r\n");
        turn(&fixture);
        cr_assert_str_eq(fixture.log, with_user ? "failed: WRONGPASS no; " : "open; ");
        tear_down(&fixture);
    }
}

/* A free port of loopback, listened on by IPv4 only. */
static int listen_at_port(uint16_t *ret_port, bool listens)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    if (listens) {
        cr_assert_eq(listen(fd, 1), 0);
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void run_until_told(struct fixture *fixture)
{
    while (fixture->opened + fixture->failed == 0) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

Test(redis_connection, connects_by_address_and_is_told_of_a_refusal)
{
    for (int listens = 0; listens <= 1; listens++) {
        struct fixture fixture;

        set_up(&fixture);
        fixture.url = (struct redis_url){.kind = REDIS_URL_TCP, .host = "127.0.0.1"};
        fixture.listener = listen_at_port(&fixture.url.port, listens);
        open_it(&fixture);
        run_until_told(&fixture);
        cr_assert_str_eq(fixture.log,
                         listens ? "open; " : "failed: cannot connect: connection refused; ");
        tear_down(&fixture);
    }
}

/* In place of libc's: 127.0.0.1, and a name with two addresses where nobody listens and that one.
 */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_addresses)
{
    static const char *const hosts[] = {"127.0.0.3", "127.0.0.2", "127.0.0.1"};
    struct addrinfo *first = NULL, **end = &first;
    const bool is_address = strcmp(name, "127.0.0.1") == 0;

    if (!is_address && strcmp(name, "several.test") != 0) {
        return EAI_NONAME;
    }
    for (size_t i = is_address ? 2 : 0; i < ARRAY_LEN(hosts); i++) {
        struct addrinfo *address = calloc(1, sizeof(*address) + sizeof(struct sockaddr_in));
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)(address + 1);

        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)atoi(service));
        inet_pton(AF_INET, hosts[i], &in->sin_addr);
        address->ai_family = AF_INET;
        address->ai_addr = (struct sockaddr *)in;
        address->ai_addrlen = sizeof(*in);
        *end = address;
        end = &address->ai_next;
    }
    *ret_addresses = first;
    return 0;
}

void freeaddrinfo(struct addrinfo *addresses)
{
    while (addresses) {
        struct addrinfo *next = addresses->ai_next;

        free(addresses);
        addresses = next;
    }
}

Test(redis_connection, tries_each_address_of_a_name)
{
    for (int listens = 0; listens <= 1; listens++) {
        struct fixture fixture;

        set_up(&fixture);
        fixture.url = (struct redis_url){.kind = REDIS_URL_TCP, .host = "several.test"};
        fixture.listener = listen_at_port(&fixture.url.port, listens);
        open_it(&fixture);
        run_until_told(&fixture);
        cr_assert_str_eq(fixture.log,
                         listens ? "open; " : "failed: cannot connect: connection refused; ");
        tear_down(&fixture);
    }
}

Test(redis_connection, a_name_that_is_not_known_is_told)
{
    struct fixture fixture;

    set_up(&fixture);
    fixture.url = (struct redis_url){.kind = REDIS_URL_TCP, .host = "nowhere.test", .port = 1};
    fixture.closes_on_failure = true;
    open_it(&fixture);
    run_until_told(&fixture);
    cr_assert_eq(strncmp(fixture.log, "failed: cannot look up the server's address: ", 45), 0);
    tear_down(&fixture);
}

Test(redis_connection, can_be_closed_while_it_looks_up_and_while_it_connects)
{
    for (int turns = 0; turns < 6; turns++) {
        struct fixture fixture;

        set_up(&fixture);
        fixture.url = (struct redis_url){.kind = REDIS_URL_TCP, .host = "several.test"};
        fixture.listener = listen_at_port(&fixture.url.port, true);
        open_it(&fixture);
        for (int i = 0; i < turns && fixture.opened == 0; i++) {
            uv_run(&fixture.loop, UV_RUN_ONCE);
        }
        tear_down(&fixture);
        cr_assert_eq(fixture.failed, 0);
    }
}

Test(redis_connection, out_of_memory_opens_nothing_or_fails)
{
    struct fixture fixture;

    set_up(&fixture);
    listen_at_path(&fixture);
    fixture.url.password = "pass";
    fixture.closes_on_failure = true;
    mem_fail_nth(1);
    open_it(&fixture);
    turn(&fixture);
    mem_fail_nth(0);
    cr_assert_str_eq(fixture.log, "failed: out of memory; closed; ");
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&fixture.loop), 0);
    close(fixture.listener);
    unlink(fixture.path);
    rmdir(fixture.directory);
}
