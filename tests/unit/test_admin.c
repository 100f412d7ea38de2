#include "broker/process/admin.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/listen_socket.h"

static struct loop loop;
static struct metrics_page page;
static struct config config = {.workers = 1};
static struct child_process children[1] = {{.state = CHILD_READY}};
static struct generation generation = {
    .config = &config, .children = children, .workers = 1, .count = 1};
static struct list draining;
static struct node node = {
    .phase = NODE_RUNNING, .page = &page, .generation = &generation, .draining = &draining};
static struct admin *admin;
static struct config_address address = {.kind = CONFIG_ADDRESS_IP4, .ip = "127.0.0.1"};
static int closed;

static void set_up(void)
{
    int fd;

    alarm(60);
    list_init(&draining);
    cr_assert_eq(metrics_page_create(2, &page, &fd), 0);
    close(fd);
    cr_assert_eq(loop_open(&loop, NULL), 0);
    fd = listen_socket_open(&address, &address);
    cr_assert_geq(fd, 0);
    cr_assert_eq(admin_open(&loop, fd, &node, &admin), 0);
}

TestSuite(admin, .init = set_up);

static void on_admin_closed(void *owner)
{
    closed++;
    loop_close(&loop);
}

static void end(void)
{
    admin_close(admin, on_admin_closed, NULL);
    loop_run(&loop);
    cr_assert_eq(closed, 1);
    metrics_page_unmap(&page);
}

static int connected(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(address.port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* What comes until the connection ends, or so far as it has come when `wanted` is in it. */
static const char *received(int fd, const char *wanted)
{
    static char text[65536];
    size_t len = 0;

    text[0] = '\0';
    while (!wanted || !strstr(text, wanted)) {
        ssize_t count = recv(fd, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);

        if (count == 0 || (count < 0 && len > 0 && !wanted && errno == ECONNRESET)) {
            break;
        }
        if (count > 0) {
            len += (size_t)count;
            text[len] = '\0';
        } else {
            uv_run(&loop.uv, UV_RUN_ONCE);
        }
    }
    return text;
}

static const char *answer_to(const char *request)
{
    int fd = connected();

    cr_assert_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    const char *answer = received(fd, NULL);
    close(fd);
    return answer;
}

#define CLOSE " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

Test(admin, answers_by_path_and_method)
{
    cr_assert(begins(answer_to("GET /healthz" CLOSE), "HTTP/1.1 200"));
    cr_assert_not_null(strstr(answer_to("GET /metrics" CLOSE), "progressd_worker_connections{"));
    cr_assert_not_null(strstr(answer_to("GET /status" CLOSE), "\"draining\":[]"));
    cr_assert(begins(answer_to("GET /" CLOSE), "HTTP/1.1 404"));
    cr_assert(begins(answer_to("POST /healthz" CLOSE), "HTTP/1.1 405"));
    end();
}

Test(admin, tells_readiness_by_the_status)
{
    cr_assert(begins(answer_to("GET /readyz" CLOSE), "HTTP/1.1 503"));
    metric_set(metrics_slot(&page, 0), METRIC_LINK_CONNECTS, 1);
    metric_set(metrics_slot(&page, 0), METRIC_LINKS_UP, 1);
    cr_assert(begins(answer_to("GET /readyz" CLOSE), "HTTP/1.1 200"));
    node.phase = NODE_LEAVING;
    cr_assert(begins(answer_to("GET /readyz" CLOSE), "HTTP/1.1 503"));
    end();
}

Test(admin, gives_a_newcomer_the_place_of_who_was_silent_for_longest)
{
    static int clients[ADMIN_MAX_CLIENTS];
    const char *request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

    for (int i = 0; i < ADMIN_MAX_CLIENTS; i++) {
        clients[i] = connected();
    }
    /* The first one asks for something, and so it is the second that goes. */
    cr_assert_gt(send(clients[0], request, strlen(request), 0), 0);
    cr_assert(begins(received(clients[0], "ok\n"), "HTTP/1.1 200"));
    cr_assert(begins(answer_to("GET /healthz" CLOSE), "HTTP/1.1 200"));
    cr_assert_str_eq(received(clients[1], NULL), "");
    cr_assert_gt(send(clients[0], request, strlen(request), 0), 0);
    cr_assert(begins(received(clients[0], "ok\n"), "HTTP/1.1 200"));
    end();
    for (int i = 0; i < ADMIN_MAX_CLIENTS; i++) {
        close(clients[i]);
    }
}
