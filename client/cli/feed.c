#include "client/cli/feed.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int feed_fail(struct feed *feed, int outcome, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(feed->why, sizeof(feed->why), format, args);
    va_end(args);
    return outcome;
}

int feed_fail_wire(struct feed *feed, int outcome, int rc)
{
    return rc == -ENOMEM ? rc : feed_fail(feed, outcome, "%s", wire_outcome_text(rc));
}

void feed_in_contact(struct feed *feed, enum feed_transport transport)
{
    feed->contact = wire_clock();
    if (transport != feed->transport) {
        feed->transport = transport;
        watch_display_note(feed->display, "watching %s over %s", feed->task_id,
                           transport == FEED_WEBSOCKET ? "WebSocket"
                                                       : "HTTP, by polling, for want of WebSocket");
    }
}

int feed_token(struct feed *feed, struct text *ret_token)
{
    int rc = token_source_get(feed->tokens, (char *const[]){(char *)feed->task_id}, 1, ret_token);

    return rc == -EIO ? feed_fail(feed, FEED_REFUSED, "cannot sign a token with the key") : rc;
}

/* A member's text as far as it fits. */
static void copy_member(struct json_value object, const char *name, char *buffer, size_t size)
{
    struct json_value value;
    size_t len = 0;

    if (json_find(object, name, &value) == 0 && value.kind == JSON_STRING &&
        json_string_decode(value.raw, buffer, size - 1, &len) != 0) {
        len = 0;
    }
    buffer[len] = '\0';
}

void feed_read_error(struct feed *feed, struct json_value error, char ret_code[FEED_CODE_SIZE])
{
    char message[256];

    copy_member(error, "code", ret_code, FEED_CODE_SIZE);
    copy_member(error, "message", message, sizeof(message));
    snprintf(feed->why, sizeof(feed->why), "%s: %s", ret_code, message);
}

void feed_sleep(struct feed *feed, int64_t until)
{
    for (int64_t now = wire_clock(); now < until; now = wire_clock()) {
        int64_t due = watch_display_due(feed->display);
        int64_t left = (due < until ? due : until) - now;

        poll(NULL, 0, left > 0 ? (int)left : 0);
        watch_display_tick(feed->display);
    }
}
