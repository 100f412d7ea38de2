/* A client's message is understood or refused, and what is made of it is a message again.
 *
 * Input: the text, which the frame layer has checked to be UTF-8. (The parser says itself what
 * else is no JSON.)
 */
#include <string.h>

#include "fuzz.h"
#include "proto/message.h"
#include "proto/utf8.h"

static void check_is_json(struct text *text)
{
    struct json_value value;
    size_t offset;

    FUZZ_ASSERT(json_check((struct span){text->data, text->len}, &value, &offset) == 0);
    FUZZ_ASSERT(value.kind == JSON_OBJECT);
    text_deinit(text);
}

static void check_refused(const struct client_message_error *error)
{
    struct text answer = TEXT_EMPTY;

    FUZZ_ASSERT(error->code == ERROR_INVALID_MESSAGE || error->code == ERROR_INVALID_TASK_ID);
    FUZZ_ASSERT(error->text[0] != '\0' && memchr(error->text, '\0', sizeof(error->text)));
    FUZZ_ASSERT(error->task_id[0] == '\0' ||
                task_id_is_valid(error->task_id, strlen(error->task_id)));
    message_error(&answer, error->task_id, error->code, error->text);
    check_is_json(&answer);
}

static void check_task(const struct client_task *task)
{
    struct text answer = TEXT_EMPTY;

    FUZZ_ASSERT(task_id_is_valid(task->task_id, strlen(task->task_id)));
    message_unsubscribed(&answer, task->task_id, "TOKEN_EXPIRED");
    check_is_json(&answer);
}

static void check_understood(const struct client_message *message)
{
    struct text answer = TEXT_EMPTY;
    struct client_task_walk walk = {0};
    struct client_message_error error;
    struct client_task task;
    uint32_t count = 0;
    int rc;

    if (message->type == CLIENT_PING) {
        message_pong(&answer, message->timestamp);
        check_is_json(&answer);
    }
    while ((rc = client_message_next_task(message, &walk, &task, &error)) != MESSAGE_END) {
        count++;
        if (rc == 0) {
            check_task(&task);
        } else {
            check_refused(&error);
        }
    }
    FUZZ_ASSERT(count == message->task_count && count <= TASK_IDS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span text = {(const char *)data, len};
    struct client_message message;
    struct client_message_error error;

    if (!utf8_is_valid(data, len)) {
        return 0;
    }
    if (client_message_parse(text, "of-the-url", &message, &error) == 0) {
        check_understood(&message);
    } else {
        check_refused(&error);
    }
    return 0;
}
