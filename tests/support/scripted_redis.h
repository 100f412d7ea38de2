/* A Redis on the test's own loop that answers as the test says: what redis-server would answer to
 * the commands of a link, until scripted_redis_say() or scripted_redis_mute() says otherwise.
 *
 *     struct scripted_redis redis;
 *     scripted_redis_open(&redis, &loop);          its address is redis.url
 *     scripted_redis_say(&redis, "INFO", "-NOPERM no\r\n");
 *     … the loop runs …
 *     scripted_redis_close(&redis);                then the loop must run until it is closed
 */
#ifndef PROGRESSD_TESTS_SUPPORT_SCRIPTED_REDIS_H
#define PROGRESSD_TESTS_SUPPORT_SCRIPTED_REDIS_H

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/redis_url.h"
#include "common/result.h"
#include "common/text.h"
#include "proto/progress_library.h"

#define SCRIPTED_REDIS_RUN_ID "0123456789abcdef0123456789abcdef01234567"
#define SCRIPTED_REDIS_CHANNELS 16
#define SCRIPTED_REDIS_HELD 64

struct scripted_redis;

struct scripted_client {
    uv_pipe_t pipe;
    struct scripted_redis *redis;
    struct scripted_client *next;
    redisReader *reader;
    char *channels[SCRIPTED_REDIS_CHANNELS];
    int channel_count;
    redisReply *held[SCRIPTED_REDIS_HELD]; /* commands that came while it was mute */
    int held_count;
};

struct scripted_redis {
    uv_pipe_t listener;
    char directory[32], path[64];
    struct redis_url url;
    struct scripted_client *clients; /* the newest first */
    int connects;                    /* ever */
    struct {
        char command[32], answer[512];
    } answers[16];
    int answer_count;
    /* The connections without, and with a subscription answer nothing. */
    bool mute_commands, mute_subscriber;
    char log[16384]; /* the commands that came, "; " behind each */
};

/* What is answered to a command from now on, as raw RESP; NULL: the usual again. `command` is its
 * name, or its name and first argument ("FUNCTION LOAD"). "": nothing. */
static inline void scripted_redis_say(struct scripted_redis *redis, const char *command,
                                      const char *answer)
{
    int i = 0;

    while (i < redis->answer_count && strcmp(redis->answers[i].command, command) != 0) {
        i++;
    }
    assert(i < (int)ARRAY_LEN(redis->answers));
    redis->answer_count += i == redis->answer_count;
    snprintf(redis->answers[i].command, sizeof(redis->answers[i].command), "%s",
             answer ? command : "");
    snprintf(redis->answers[i].answer, sizeof(redis->answers[i].answer), "%s",
             answer ? answer : "");
}

static inline void scripted_client_write(struct scripted_client *client, const char *data,
                                         size_t len)
{
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)len);

    if (!uv_is_closing((uv_handle_t *)&client->pipe)) {
        (void)uv_try_write((uv_stream_t *)&client->pipe, &buffer, 1);
    }
}

static inline void scripted_client_say(struct scripted_client *client, const char *text)
{
    scripted_client_write(client, text, strlen(text));
}

static inline void scripted_array(struct text *text, const char *const *strings, int count)
{
    text_printf(text, "*%d\r\n", count);
    for (int i = 0; i < count; i++) {
        text_printf(text, "$%zu\r\n%s\r\n", strlen(strings[i]), strings[i]);
    }
}

/* Publishes to whoever has subscribed to that channel; a pattern ends in *. */
static inline void scripted_redis_publish(struct scripted_redis *redis, const char *channel,
                                          const char *message)
{
    for (struct scripted_client *client = redis->clients; client; client = client->next) {
        for (int i = 0; i < client->channel_count; i++) {
            const char *name = client->channels[i];
            const size_t len = strlen(name);
            const bool is_pattern = name[len - 1] == '*';
            struct text text = TEXT_EMPTY;

            if (redis->mute_subscriber ||
                (is_pattern ? strncmp(name, channel, len - 1) : strcmp(name, channel)) != 0) {
                continue;
            }
            if (is_pattern) {
                scripted_array(&text, (const char *const[]){"pmessage", name, channel, message}, 4);
            } else {
                scripted_array(&text, (const char *const[]){"smessage", channel, message}, 3);
            }
            scripted_client_write(client, text.data, text.len);
            text_deinit(&text);
        }
    }
}

static inline void scripted_answer_info(struct scripted_client *client)
{
    static const char info[] = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
                               "process_id:0\r\nrun_id:" SCRIPTED_REDIS_RUN_ID
                               "\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\n"
                               "loading:0\r\n# Replication\r\nrole:master\r\n";
    char head[32];

    snprintf(head, sizeof(head), "$%zu\r\n", sizeof(info) - 1);
    scripted_client_say(client, head);
    scripted_client_say(client, info);
    scripted_client_say(client, "\r\n");
}

static inline void scripted_answer_library(struct scripted_client *client)
{
    struct text library = TEXT_EMPTY, text = TEXT_EMPTY;

    progress_library(&library, 86400, 4096);
    text_printf(&text, "*1\r\n*2\r\n$12\r\nlibrary_code\r\n$%zu\r\n", library.len);
    text_append(&text, library.data, library.len);
    text_puts(&text, "\r\n");
    scripted_client_write(client, text.data, text.len);
    text_deinit(&text);
    text_deinit(&library);
}

static inline void scripted_subscribe(struct scripted_client *client, char *kind,
                                      const char *channel)
{
    struct text text = TEXT_EMPTY;

    for (char *at = kind; *at; at++) {
        *at |= 0x20;
    }
    if (strstr(kind, "unsub")) {
        for (int i = 0; i < client->channel_count; i++) {
            if (strcmp(client->channels[i], channel) == 0) {
                free(client->channels[i]);
                client->channels[i] = client->channels[--client->channel_count];
            }
        }
    } else {
        assert(client->channel_count < SCRIPTED_REDIS_CHANNELS);
        client->channels[client->channel_count++] = strdup(channel);
    }
    text_printf(&text, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:%d\r\n", strlen(kind), kind,
                strlen(channel), channel, client->channel_count);
    scripted_client_write(client, text.data, text.len);
    text_deinit(&text);
}

static inline void scripted_answer(struct scripted_client *client, char *name, const char *first,
                                   const char *second)
{
    struct scripted_redis *redis = client->redis;

    if (strcmp(name, "INFO") == 0) {
        scripted_answer_info(client);
    } else if (strcmp(name, "FUNCTION") == 0 && strcmp(first, "LIST") == 0) {
        scripted_answer_library(client);
    } else if (strcmp(name, "HGETALL") == 0 || strcmp(name, "HMGET") == 0) {
        scripted_client_say(client, "*0\r\n");
    } else if (strcmp(name, "SPUBLISH") == 0) {
        scripted_redis_publish(redis, first, second);
        scripted_client_say(client, ":1\r\n");
    } else if (strstr(name, "SUBSCRIBE")) {
        scripted_subscribe(client, name, first);
    } else if (strcmp(name, "FCALL") == 0) {
        scripted_client_say(client, ":1\r\n");
    } else {
        scripted_client_say(client, "+OK\r\n");
    }
}

static inline const char *scripted_answer_said(struct scripted_redis *redis, const char *command)
{
    for (int i = 0; i < redis->answer_count; i++) {
        if (redis->answers[i].command[0] && strcmp(redis->answers[i].command, command) == 0) {
            return redis->answers[i].answer;
        }
    }
    return NULL;
}

static inline void scripted_take(struct scripted_client *client, const redisReply *command)
{
    struct scripted_redis *redis = client->redis;
    char *name = command->element[0]->str;
    const char *first = command->elements > 1 ? command->element[1]->str : "";
    const char *second = command->elements > 2 ? command->element[2]->str : "";
    char both[256];

    snprintf(both, sizeof(both), "%s %s", name, first);
    const char *answer = scripted_answer_said(redis, both);
    answer = answer ? answer : scripted_answer_said(redis, name);
    if (answer) {
        scripted_client_say(client, answer);
    } else {
        scripted_answer(client, name, first, second);
    }
}

static inline bool scripted_is_mute(const struct scripted_client *client)
{
    return client->channel_count > 0 ? client->redis->mute_subscriber
                                     : client->redis->mute_commands;
}

/* Answers what was held, as a server does that stood still for a while. */
static inline void scripted_redis_unmute(struct scripted_redis *redis)
{
    redis->mute_commands = redis->mute_subscriber = false;
    for (struct scripted_client *client = redis->clients; client; client = client->next) {
        for (int i = 0; i < client->held_count; i++) {
            scripted_take(client, client->held[i]);
            freeReplyObject(client->held[i]);
        }
        client->held_count = 0;
    }
}

static inline void scripted_note(struct scripted_redis *redis, const redisReply *command)
{
    const size_t len = strlen(redis->log);

    snprintf(redis->log + len, sizeof(redis->log) - len, "%s %s; ", command->element[0]->str,
             command->elements > 1 ? command->element[1]->str : "");
}

static inline void scripted_client_closed(uv_handle_t *handle)
{
    struct scripted_client *client = CONTAINER_OF(handle, struct scripted_client, pipe);

    redisReaderFree(client->reader);
    while (client->channel_count > 0) {
        free(client->channels[--client->channel_count]);
    }
    while (client->held_count > 0) {
        freeReplyObject(client->held[--client->held_count]);
    }
    free(client);
}

static inline void scripted_client_close(struct scripted_client *client)
{
    struct scripted_client **at = &client->redis->clients;

    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    uv_close((uv_handle_t *)&client->pipe, scripted_client_closed);
}

static inline void scripted_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    static char room[65536];

    *buffer = uv_buf_init(room, sizeof(room));
}

static inline void scripted_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct scripted_client *client = CONTAINER_OF(stream, struct scripted_client, pipe);
    void *command;

    if (n < 0) {
        scripted_client_close(client);
        return;
    }
    redisReaderFeed(client->reader, buffer->base, (size_t)n);
    while (redisReaderGetReply(client->reader, &command) == REDIS_OK && command) {
        scripted_note(client->redis, command);
        if (scripted_is_mute(client)) {
            assert(client->held_count < SCRIPTED_REDIS_HELD);
            client->held[client->held_count++] = command;
            continue;
        }
        scripted_take(client, command);
        freeReplyObject(command);
    }
}

static inline void scripted_on_connection(uv_stream_t *listener, int status)
{
    struct scripted_redis *redis = CONTAINER_OF(listener, struct scripted_redis, listener);
    struct scripted_client *client = calloc(1, sizeof(*client));

    assert(status == 0);
    client->redis = redis;
    client->reader = redisReaderCreate();
    uv_pipe_init(listener->loop, &client->pipe, 0);
    uv_accept(listener, (uv_stream_t *)&client->pipe);
    uv_read_start((uv_stream_t *)&client->pipe, scripted_allocate, scripted_on_read);
    client->next = redis->clients;
    redis->clients = client;
    redis->connects++;
}

static inline void scripted_redis_open(struct scripted_redis *redis, uv_loop_t *loop)
{
    memset(redis, 0, sizeof(*redis));
    strcpy(redis->directory, "/tmp/progressd-XXXXXX");
    char *made = mkdtemp(redis->directory);
    assert(made);
    (void)made;
    snprintf(redis->path, sizeof(redis->path), "%s/redis.sock", redis->directory);
    redis->url = (struct redis_url){.kind = REDIS_URL_UNIX, .path = redis->path};
    uv_pipe_init(loop, &redis->listener, 0);
    int rc = uv_pipe_bind(&redis->listener, redis->path);
    assert(rc == 0);
    rc = uv_listen((uv_stream_t *)&redis->listener, 16, scripted_on_connection);
    assert(rc == 0);
    (void)rc;
}

/* Hangs up on everybody; who comes again is served. */
static inline void scripted_redis_hang_up(struct scripted_redis *redis)
{
    while (redis->clients) {
        scripted_client_close(redis->clients);
    }
}

static inline void scripted_redis_close(struct scripted_redis *redis)
{
    scripted_redis_hang_up(redis);
    uv_close((uv_handle_t *)&redis->listener, NULL);
    unlink(redis->path);
    rmdir(redis->directory);
}

#endif
