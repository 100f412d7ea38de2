/* What the two ways of following a task have in common: live_feed (WebSocket) and poll_feed (HTTP).
 *
 * Receives   where, which task and with what token
 * Hands on   what comes, to a display; how it went
 * Owns       nothing
 */
#ifndef PROGRESSD_CLIENT_CLI_FEED_H
#define PROGRESSD_CLIENT_CLI_FEED_H

#include "client/cli/token_source.h"
#include "client/cli/watch_display.h"
#include "client/cli/wire.h"

enum feed_transport { FEED_NO_TRANSPORT, FEED_WEBSOCKET, FEED_HTTP };

struct feed {
    const struct wire_address *address;
    const char *task_id;
    const struct token_source *tokens;
    struct watch_display *display;
    int64_t patience_ms;           /* with a server that doesn't answer */
    int64_t contact;               /* when the server last answered, by wire_clock() */
    enum feed_transport transport; /* by which the task was followed last */
    char why[512];                 /* what the last outcome was about */
};

enum feed_outcome {
    FEED_ENDED = 1,    /* the task has */
    FEED_FAILED,       /* nothing came of it */
    FEED_LOST,         /* it went well for a while */
    FEED_UNAUTHORIZED, /* another token may help */
    FEED_REFUSED,      /* nothing will */
};

/* Sets `why`, and returns the outcome. */
int feed_fail(struct feed *feed, int outcome, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same, for what a call on the connection returned: an outcome of enum wire_outcome or -errno.
 * -ENOMEM is returned itself. */
int feed_fail_wire(struct feed *feed, int outcome, int rc);

/* The server has answered by this transport: says so if it is another than before. */
void feed_in_contact(struct feed *feed, enum feed_transport transport);

/* A token for the task. 0; FEED_REFUSED; -ENOMEM. */
int feed_token(struct feed *feed, struct text *ret_token) MUST_CHECK;

/* The text of an error's payload, or of an answer's `error`: its code, and as `why` both. */
#define FEED_CODE_SIZE 64
void feed_read_error(struct feed *feed, struct json_value error, char ret_code[FEED_CODE_SIZE]);

/* Sleeps until then (wire_clock()), while the display goes on. */
void feed_sleep(struct feed *feed, int64_t until);

#endif
