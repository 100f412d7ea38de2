#include "tests/bench/watchers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/ws_frame.h"

/* Connected, and answered, side by side: below the broker's limit of handshakes in flight. */
#define OPEN_AT_ONCE 64

/* A source address has some 28,000 ports. */
#define PORTS_OF_ADDRESS 20000

#define READ_MAX 65536
#define FRAME_MAX 8192
#define EVENTS_AT_ONCE 512

static const char update_begins[] = "{\"type\":\"progress_update\"";

struct watcher {
    int fd;
    uint32_t task;
    uint32_t kept_len; /* of a frame that came in part */
    uint8_t *kept;     /* NULL: none */
};

void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not as expected");
    exit(EXIT_FAILURE);
}

uint64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void send_all(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("send");
    }
}

/* ── Frames ──────────────────────────────────────────────────────────────────────────────────── */

/* The length of the frame at `data`, or 0 when it isn't whole. */
static size_t whole_frame(const uint8_t *data, size_t len, size_t *ret_header)
{
    size_t payload;

    if (len < 4) {
        *ret_header = 2;
        return len >= 2 && len >= 2u + data[1] ? 2u + data[1] : 0;
    }
    payload = data[1];
    *ret_header = 2;
    if (payload == 126) {
        payload = (size_t)data[2] << 8 | data[3];
        *ret_header = 4;
    }
    if (payload > FRAME_MAX - 4) {
        errno = 0;
        die("a frame's length");
    }
    return len >= *ret_header + payload ? *ret_header + payload : 0;
}

/* The n of a message's rev; 0: none. */
static uint64_t n_of(const char *text, size_t len)
{
    static const char member[] = "\"rev\":\"";
    const char *rev = memmem(text, len, member, sizeof(member) - 1);
    const char *dash = rev ? memchr(rev, '-', len - (size_t)(rev - text)) : NULL;

    return dash ? strtoull(dash + 1, NULL, 10) : 0;
}

static void note_age(struct watchers *watchers, const char *text, size_t len)
{
    const uint64_t n = n_of(text, len), now = wall_clock_us();

    if (n > 0 && watchers->ages < WATCHERS_SAMPLES_MAX) {
        watchers->ages_us[watchers->ages++] = now > n ? (uint32_t)(now - n) : 0;
    }
}

static void take_frame(struct watchers *watchers, const struct watcher *watcher,
                       const uint8_t *frame, size_t len, size_t header)
{
    static const uint8_t pong[] = {0x80 | WS_PONG, 0x80, 0, 0, 0, 0};
    const char *text = (const char *)frame + header;

    if (frame[0] == (0x80 | WS_PING)) {
        send_all(watcher->fd, pong, sizeof(pong));
        return;
    }
    if (frame[0] != (0x80 | WS_TEXT)) {
        errno = 0;
        die("a frame that is no text");
    }
    if (len - header < sizeof(update_begins) ||
        memcmp(text, update_begins, sizeof(update_begins) - 1) != 0) {
        return;
    }
    watchers->updates++;
    watchers->bytes += len;
    watchers->task_updates[watcher->task]++;
    if (watchers->updates % WATCHERS_SAMPLE == 0) {
        note_age(watchers, text, len - header);
    }
}

/* Keeps the beginning of a frame for the next read; nothing, usually. */
static void keep(struct watcher *watcher, const uint8_t *data, size_t len)
{
    watcher->kept_len = (uint32_t)len;
    if (len > 0 && !watcher->kept) {
        watcher->kept = malloc(FRAME_MAX);
        if (!watcher->kept) {
            die("malloc");
        }
    }
    if (len > 0) {
        memcpy(watcher->kept, data, len);
    }
}

static void read_watcher(struct watchers *watchers, struct watcher *watcher)
{
    static uint8_t buffer[FRAME_MAX + READ_MAX];
    size_t at = 0, len = watcher->kept_len, frame, header;
    ssize_t n;

    if (len > 0) {
        memcpy(buffer, watcher->kept, len);
    }
    n = recv(watcher->fd, buffer + len, READ_MAX, MSG_DONTWAIT);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        errno = n == 0 ? ECONNRESET : errno;
        die("a watcher's connection");
    }
    len += (size_t)n;
    while ((frame = whole_frame(buffer + at, len - at, &header)) > 0) {
        take_frame(watchers, watcher, buffer + at, frame, header);
        at += frame;
    }
    keep(watcher, buffer + at, len - at);
}

int watchers_read(struct watchers *watchers, int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(watchers->epoll_fd, events, EVENTS_AT_ONCE, timeout_ms);

    if (count < 0 && errno != EINTR) {
        die("epoll_wait");
    }
    for (int i = 0; i < count; i++) {
        read_watcher(watchers, events[i].data.ptr);
    }
    return count > 0;
}

void watchers_reset(struct watchers *watchers)
{
    watchers->updates = watchers->bytes = 0;
    watchers->ages = 0;
    memset(watchers->task_updates, 0, watchers->tasks * sizeof(watchers->task_updates[0]));
}

/* ── Connecting ──────────────────────────────────────────────────────────────────────────────── */

static int connect_from(uint32_t source, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    /* The port is chosen at connecting, so that it need only be free for that pair. */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("a watcher's socket");
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("connect");
    }
    return fd;
}

static void ask_upgrade(const struct watcher *watcher)
{
    static const char request[] = "GET /ws/progress HTTP/1.1\r\nHost: bench\r\n"
                                  "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                  "Sec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    send_all(watcher->fd, request, sizeof(request) - 1);
}

static void ask_subscription(const struct watcher *watcher, const char *token)
{
    static const uint8_t mask[4] = {0}; /* leaves the text as it is */
    uint8_t frame[FRAME_MAX];
    char text[FRAME_MAX - WS_HEADER_MAX];
    int len = snprintf(text, sizeof(text),
                       "{\"type\":\"subscribe\",\"taskId\":\"" WATCHERS_TASK_FORMAT
                       "\",\"token\":\"%s\"}",
                       watcher->task, token);
    size_t header;

    if (len < 0 || (size_t)len >= sizeof(text)) {
        errno = EMSGSIZE;
        die("the token");
    }
    header = ws_frame_header(frame, WS_TEXT, (uint64_t)len, mask);
    memcpy(frame + header, text, (size_t)len);
    send_all(watcher->fd, frame, header + (size_t)len);
}

/* Waits for an answer, which comes alone and is short. */
static void expect(const struct watcher *watcher, const char *text)
{
    char answer[FRAME_MAX];
    ssize_t n = recv(watcher->fd, answer, sizeof(answer), 0);

    if (n <= 0 || !memmem(answer, (size_t)n, text, strlen(text))) {
        fprintf(stderr, "instead of %s: %.*s\n", text, n > 0 ? (int)n : 0, answer);
        errno = n < 0 ? errno : 0;
        die("an answer");
    }
}

static void open_some(struct watchers *watchers, uint32_t from, uint32_t to, uint16_t port,
                      const char *token)
{
    for (uint32_t i = from; i < to; i++) {
        struct watcher *watcher = &watchers->items[i];

        *watcher = (struct watcher){.fd = connect_from(i / PORTS_OF_ADDRESS, port),
                                    .task = i % watchers->tasks};
        if (token) {
            ask_upgrade(watcher);
        } else {
            send_all(watcher->fd, &watcher->task, sizeof(watcher->task));
        }
    }
    for (uint32_t i = from; token && i < to; i++) {
        expect(&watchers->items[i], "101 Switching Protocols");
        ask_subscription(&watchers->items[i], token);
    }
    for (uint32_t i = from; i < to; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &watchers->items[i]};

        if (token) {
            expect(&watchers->items[i], "\"type\":\"subscribed\"");
        }
        if (epoll_ctl(watchers->epoll_fd, EPOLL_CTL_ADD, watchers->items[i].fd, &event) < 0) {
            die("epoll_ctl");
        }
    }
}

void watchers_open(struct watchers *watchers, uint32_t count, uint32_t tasks, uint16_t port,
                   const char *token)
{
    *watchers = (struct watchers){
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .count = count,
        .tasks = tasks,
        .items = calloc(count, sizeof(*watchers->items)),
        .task_updates = calloc(tasks, sizeof(*watchers->task_updates)),
        .ages_us = calloc(WATCHERS_SAMPLES_MAX, sizeof(*watchers->ages_us)),
    };
    if (watchers->epoll_fd < 0 || !watchers->items || !watchers->task_updates ||
        !watchers->ages_us) {
        die("watchers");
    }
    for (uint32_t i = 0; i < count; i += OPEN_AT_ONCE) {
        open_some(watchers, i, count - i < OPEN_AT_ONCE ? count : i + OPEN_AT_ONCE, port, token);
    }
}
