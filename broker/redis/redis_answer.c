#include "broker/redis/redis_answer.h"

#include <hiredis/hiredis.h>

static struct span reply_text(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
        reply->type == REDIS_REPLY_ERROR) {
        return (struct span){reply->str, (size_t)reply->len};
    }
    return (struct span){NULL, 0};
}

/* By the words that an error begins with: Redis calls the first of them its code. */
static enum redis_answer_kind kind_of_error(struct span text)
{
    static const struct {
        const char *begins_with;
        enum redis_answer_kind kind;
    } kinds[] = {
        {"MOVED ", REDIS_MOVED},
        {"ASK ", REDIS_ASK},
        {"TRYAGAIN ", REDIS_ASK},
        {"LOADING ", REDIS_LOADING},
        {"BUSY ", REDIS_LOADING},
        {"CLUSTERDOWN ", REDIS_LOADING},
        {"MASTERDOWN ", REDIS_READ_ONLY},
        {"READONLY ", REDIS_READ_ONLY},
        {"OOM ", REDIS_OUT_OF_MEMORY},
        {"MISCONF ", REDIS_NOT_SAVING},
        {"NOPERM ", REDIS_DENIED},
        {"NOAUTH ", REDIS_DENIED},
        {"WRONGPASS ", REDIS_DENIED},
        {"WRONGTYPE ", REDIS_WRONG_TYPE},
        {"ERR Function not found", REDIS_NO_FUNCTION},
        {"ERR Library 'progress' already exists", REDIS_EXISTS},
        {"PROGRESS_INVALID ", REDIS_INVALID},
        {"PROGRESS_DONE ", REDIS_DONE},
    };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (span_begins_with(text, kinds[i].begins_with)) {
            return kinds[i].kind;
        }
    }
    return REDIS_REFUSED;
}

void redis_answer_init(struct redis_answer *answer, const struct redisReply *reply)
{
    *answer = (struct redis_answer){.kind = REDIS_LOST};
    if (reply && reply->type == REDIS_REPLY_ERROR) {
        answer->error = reply_text(reply);
        answer->kind = kind_of_error(answer->error);
    } else if (reply) {
        answer->kind = REDIS_VALUE;
        answer->reply = reply;
    }
}

bool redis_answer_is_of_server(enum redis_answer_kind kind)
{
    return kind == REDIS_MOVED || kind == REDIS_LOADING || kind == REDIS_READ_ONLY;
}

struct span redis_answer_text(const struct redis_answer *answer)
{
    return answer->reply ? reply_text(answer->reply) : (struct span){NULL, 0};
}

int64_t redis_answer_integer(const struct redis_answer *answer)
{
    return answer->reply && answer->reply->type == REDIS_REPLY_INTEGER ? answer->reply->integer : 0;
}

bool redis_answer_is_array(const struct redis_answer *answer)
{
    return answer->reply && answer->reply->type == REDIS_REPLY_ARRAY;
}

size_t redis_answer_count(const struct redis_answer *answer)
{
    return redis_answer_is_array(answer) ? answer->reply->elements : 0;
}

struct span redis_answer_element(const struct redis_answer *answer, size_t i)
{
    assert(i < redis_answer_count(answer));
    return reply_text(answer->reply->element[i]);
}

struct span redis_answer_member(const struct redis_answer *answer, const char *name)
{
    const redisReply *members;

    if (redis_answer_count(answer) == 0) {
        return (struct span){NULL, 0};
    }
    members = answer->reply->element[0];
    for (size_t i = 0; members->type == REDIS_REPLY_ARRAY && i + 1 < members->elements; i += 2) {
        struct span found = reply_text(members->element[i]);

        if (found.at && span_is(found, name)) {
            return reply_text(members->element[i + 1]);
        }
    }
    return (struct span){NULL, 0};
}
