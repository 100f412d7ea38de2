/* What Redis answered to a command: a value, or one of the refusals that callers tell apart.
 *
 * Receives   a reply as hiredis has read it, from a connection
 * Hands on   its kind, its values, and an error's text for the log
 * Owns       nothing: an answer is borrowed, and lives until the callback returns
 *
 * This is the only place that reads the texts of errors.
 */
#ifndef PROGRESSD_BROKER_REDIS_REDIS_ANSWER_H
#define PROGRESSD_BROKER_REDIS_REDIS_ANSWER_H

#include "common/span.h"

enum redis_answer_kind {
    REDIS_VALUE,
    REDIS_LOST,          /* the connection closed before an answer came */
    REDIS_MOVED,         /* another server has the key's slot */
    REDIS_ASK,           /* another server is about to have it */
    REDIS_LOADING,       /* it can't serve yet */
    REDIS_READ_ONLY,     /* it is no master any more */
    REDIS_OUT_OF_MEMORY, /* it stores nothing new */
    REDIS_NOT_SAVING,    /* it stores nothing, since it couldn't save to its disk */
    REDIS_DENIED,        /* the user has no right to this command, key or channel */
    REDIS_WRONG_TYPE,    /* somebody else's key has that name */
    REDIS_NO_FUNCTION,   /* the function library is missing */
    REDIS_EXISTS,        /* the function library was loaded meanwhile */
    REDIS_INVALID,       /* a function refuses its arguments */
    REDIS_DONE,          /* a function refuses, since the task has ended */
    REDIS_REFUSED,       /* any other error */
};

struct redisReply;

struct redis_answer {
    enum redis_answer_kind kind;
    struct span error;              /* the text of an error; {NULL, 0} for a value */
    const struct redisReply *reply; /* a value; or NULL */
};

/* `reply` may be NULL: REDIS_LOST. */
void redis_answer_init(struct redis_answer *answer, const struct redisReply *reply);

/* Whether an answer of this kind says something about the whole server, and not only about the key
 * or the call that it answers. */
bool redis_answer_is_of_server(enum redis_answer_kind kind);

/* A value's parts. The text of a string or a status, {NULL, 0} for anything else; the integer, 0
 * for anything else; the number of an array's elements, 0 for anything else; the text of one of
 * them. */
struct span redis_answer_text(const struct redis_answer *answer);
int64_t redis_answer_integer(const struct redis_answer *answer);
size_t redis_answer_count(const struct redis_answer *answer);
struct span redis_answer_element(const struct redis_answer *answer, size_t i);

/* Of an array whose first element is an array of names and values in turn: the text of the value
 * with that name, or {NULL, 0}. */
struct span redis_answer_member(const struct redis_answer *answer, const char *name);

/* Whether the value is an array; an empty one counts. */
bool redis_answer_is_array(const struct redis_answer *answer);

/* For those who send a command: the answer, once, in the order of the commands. */
typedef void (*redis_answer_fn)(void *context, const struct redis_answer *answer);

#endif
