/* A server on loopback that serves one connection, in a thread: what a client under test talks to.
 *
 *     struct peer peer;
 *     peer_start(&peer, serve);        serve(fd) may block; the fd is closed behind it
 *     … a client connects to peer.address …
 *     peer_join(&peer);
 */
#ifndef PROGRESSD_TESTS_SUPPORT_PEER_H
#define PROGRESSD_TESTS_SUPPORT_PEER_H

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cli/wire.h"

struct peer {
    char url[64];
    struct wire_address address;
    void (*serve)(int fd);
    int listener;
    pthread_t thread;
};

static inline void *peer_main(void *argument)
{
    struct peer *peer = argument;
    int fd = accept(peer->listener, NULL, NULL);

    if (fd >= 0) {
        peer->serve(fd);
        close(fd);
    }
    return NULL;
}

static inline void peer_start(struct peer *peer, void (*serve)(int fd))
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    int failed;

    peer->serve = serve;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    failed = bind(peer->listener, (struct sockaddr *)&in, size) || listen(peer->listener, 1) ||
             getsockname(peer->listener, (struct sockaddr *)&in, &size);
    snprintf(peer->url, sizeof(peer->url), "http://127.0.0.1:%u", ntohs(in.sin_port));
    failed = failed || wire_address_parse(peer->url, &peer->address) ||
             pthread_create(&peer->thread, NULL, peer_main, peer);
    assert(!failed);
}

static inline void peer_join(struct peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

/* Reads up to the empty line that ends a request's head; the head, ended by NUL, stays in `head`.
 */
static inline void peer_read_head(int fd, char *head, size_t size)
{
    size_t len = 0;

    do {
        ssize_t received = recv(fd, head + len, size - 1 - len, 0);
        if (received <= 0) {
            break;
        }
        len += (size_t)received;
        head[len] = '\0';
    } while (!strstr(head, "\r\n\r\n"));
    head[len] = '\0';
}

static inline void peer_send(int fd, const void *data, size_t len)
{
    ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

    assert(sent == (ssize_t)len);
    (void)sent;
}

#endif
