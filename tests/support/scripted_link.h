/* A link to Redis that does what the test says: takes the place of redis_link.c in a test that
 * includes this file.
 *
 *     script_up();                                    the link comes up
 *     script_answer("HGETALL progress:a", "*0\r\n");  answers the oldest such command, with RESP
 *     script_publish("progress:a", text);             a message comes over a channel
 *     script_down();                                  the link is lost
 */
#ifndef PROGRESSD_TESTS_SUPPORT_SCRIPTED_LINK_H
#define PROGRESSD_TESTS_SUPPORT_SCRIPTED_LINK_H

#include <criterion/criterion.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "broker/redis/redis_link.h"
#include "common/mem.h"

struct script_command {
    struct list link;
    char text[300]; /* its arguments, with a space between */
    redis_answer_fn on_answer;
    void *context;
};

struct redis_link {
    struct redis_link_settings settings;
    bool is_up, closing;
    unsigned commands; /* that were ever sent */
    struct list pending;
};

static struct redis_link script;

struct redis_link *redis_link_open(const struct redis_link_settings *settings)
{
    script = (struct redis_link){.settings = *settings};
    list_init(&script.pending);
    return &script;
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->is_up;
}

static int script_send(redis_answer_fn on_answer, void *context, int argc, const struct span *argv)
{
    if (!script.is_up) {
        return -ENOTCONN;
    }
    struct script_command *command = mem_zalloc(1, sizeof(*command));
    for (int i = 0; i < argc; i++) {
        const size_t len = strlen(command->text);
        snprintf(command->text + len, sizeof(command->text) - len, "%s%.*s", i > 0 ? " " : "",
                 (int)argv[i].len, argv[i].at);
    }
    command->on_answer = on_answer;
    command->context = context;
    list_init(&command->link);
    list_append(&script.pending, &command->link);
    script.commands++;
    return 0;
}

int redis_link_subscribe(struct redis_link *link, const char *command, struct span channel,
                         redis_answer_fn on_answer, void *context)
{
    return script_send(on_answer, context, 2, (struct span[]){SPAN_OF(command), channel});
}

int redis_link_command(struct redis_link *link, redis_answer_fn on_answer, void *context, int argc,
                       const struct span *argv)
{
    return script_send(on_answer, context, argc, argv);
}

void redis_link_pause(struct redis_link *link, bool paused)
{
}

static void script_finish(struct script_command *command, const redisReply *reply)
{
    struct redis_answer answer;

    redis_answer_init(&answer, reply);
    list_remove(&command->link);
    command->on_answer(command->context, &answer);
    mem_free(command);
}

static void script_drop_all(void)
{
    struct list *first;

    while ((first = list_first(&script.pending))) {
        script_finish(CONTAINER_OF(first, struct script_command, link), NULL);
    }
}

static void script_up(void)
{
    script.is_up = true;
    script.settings.events->on_up(script.settings.owner, &script);
}

static void script_down(void)
{
    script.is_up = false;
    script_drop_all();
    script.settings.events->on_down(script.settings.owner, &script);
}

void redis_link_fail(struct redis_link *link, const char *why)
{
    if (link->is_up) {
        script_down();
    }
}

void redis_link_close(struct redis_link *link)
{
    link->is_up = false;
    script_drop_all();
    link->settings.events->on_closed(link->settings.owner, link);
}

/* The oldest command of that text that waits for its answer; NULL: there is none. */
static struct script_command *script_find(const char *text)
{
    LIST_EACH (link, &script.pending) {
        struct script_command *command = CONTAINER_OF(link, struct script_command, link);

        if (strcmp(command->text, text) == 0) {
            return command;
        }
    }
    return NULL;
}

static bool script_asks(const char *text)
{
    return script_find(text) != NULL;
}

static void script_answer_span(const char *text, struct span resp)
{
    struct script_command *command = script_find(text);
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    cr_assert(command, "%s was not sent", text);
    cr_assert_eq(redisReaderFeed(reader, resp.at, resp.len), REDIS_OK);
    cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
    cr_assert(reply, "not a whole reply: %.*s", (int)resp.len, resp.at);
    script_finish(command, reply);
    freeReplyObject(reply);
    redisReaderFree(reader);
}

static void script_answer(const char *text, const char *resp)
{
    script_answer_span(text, SPAN_OF(resp));
}

/* An array of strings, up to NULL; "-" stands for nil. */
static void script_answer_array(const char *text, const char *const *strings)
{
    CLEANUP(text_deinit) struct text resp = TEXT_EMPTY;
    size_t count = 0;

    while (strings[count]) {
        count++;
    }
    text_printf(&resp, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(strings[i], "-") == 0) {
            text_puts(&resp, "$-1\r\n");
        } else {
            text_printf(&resp, "$%zu\r\n%s\r\n", strlen(strings[i]), strings[i]);
        }
    }
    script_answer_span(text, (struct span){resp.data, resp.len});
}

#define SCRIPT_ANSWER(text, ...) \
    script_answer_array(text, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void script_publish(const char *channel, const char *message)
{
    script.settings.events->on_message(script.settings.owner, &script, SPAN_OF(channel),
                                       SPAN_OF(message));
}

#endif
