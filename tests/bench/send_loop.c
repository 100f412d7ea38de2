/* The least that a server can do: for each update, send() its frame to each of its watchers.
 *
 *   send_loop SOCKET TASKS
 *
 * What tests/bench/fanout measures progressd against. Listens on a TCP port of loopback, which it
 * prints, and on SOCKET, a Unix socket, for the one who publishes. A watcher says the number of its
 * task in 4 bytes; an update is a struct send_loop_update. Watchers must all have come before the
 * first update. No epoll, no list, no state: nothing but
 * send(). Ends with the publisher's connection.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/send_loop.h"

struct task {
    int *watchers;
    size_t count;
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* Its port. */
static unsigned listen_tcp(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        die("listening");
    }
    *ret_fd = fd;
    return ntohs(address.sin_port);
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        die(path);
    }
    return fd;
}

static void add_watcher(int listen_fd, struct task *tasks, uint32_t task_count)
{
    int fd = accept(listen_fd, NULL, NULL);
    struct task *task;
    uint32_t number;

    if (fd < 0 || recv(fd, &number, sizeof(number), MSG_WAITALL) != sizeof(number) ||
        number >= task_count) {
        die("a watcher");
    }
    task = &tasks[number];
    task->watchers = realloc(task->watchers, (task->count + 1) * sizeof(task->watchers[0]));
    if (!task->watchers) {
        die("a watcher");
    }
    task->watchers[task->count++] = fd;
}

/* Sends the next update. Whether there was one. */
static bool send_update(int publisher, const struct task *tasks, uint32_t task_count)
{
    struct send_loop_update update;
    const struct task *task;
    ssize_t n = recv(publisher, &update, sizeof(update), MSG_WAITALL);

    if (n == 0) {
        return false;
    }
    if (n != sizeof(update) || update.task >= task_count || update.len > sizeof(update.frame)) {
        die("an update");
    }
    task = &tasks[update.task];
    for (size_t i = 0; i < task->count; i++) {
        if (send(task->watchers[i], update.frame, update.len, MSG_NOSIGNAL) !=
            (ssize_t)update.len) {
            die("send");
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    uint32_t task_count = argc == 3 ? (uint32_t)atoi(argv[2]) : 0;
    struct task *tasks = calloc(task_count + 1u, sizeof(*tasks));
    int publish_fd, listen_fd, publisher;
    struct rlimit limit;

    if (task_count == 0 || !tasks) {
        fprintf(stderr, "usage: send_loop SOCKET TASKS\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    publish_fd = listen_unix(argv[1]);
    printf("%u\n", listen_tcp(&listen_fd));
    fflush(stdout);
    publisher = accept(publish_fd, NULL, NULL);
    if (publisher < 0) {
        die("the publisher");
    }
    for (;;) {
        struct pollfd ready[] = {{publisher, POLLIN, 0}, {listen_fd, POLLIN, 0}};

        if (poll(ready, 2, -1) < 0) {
            die("poll");
        }
        if (ready[0].revents) {
            break; /* the first update, or the end: all watchers have come */
        }
        add_watcher(listen_fd, tasks, task_count);
    }
    while (send_update(publisher, tasks, task_count)) {
    }
    return 0;
}
