#include "broker/redis/redis_answer.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

/* The answer that Redis' bytes make; `ret_reply` is to be freed. */
static struct redis_answer answer_of(const char *bytes, void **ret_reply)
{
    redisReader *reader = redisReaderCreate();
    struct redis_answer answer;

    redisReaderFeed(reader, bytes, strlen(bytes));
    cr_assert_eq(redisReaderGetReply(reader, ret_reply), REDIS_OK);
    redisReaderFree(reader);
    redis_answer_init(&answer, *ret_reply);
    return answer;
}

Test(redis_answer, tells_refusals_apart_by_how_they_begin)
{
    static const struct {
        const char *bytes;
        enum redis_answer_kind kind;
    } cases[] = {
        {"-MOVED 3999 127.0.0.1:6381\r\n", REDIS_MOVED},
        {"-ASK 3999 127.0.0.1:6381\r\n", REDIS_ASK},
        {"-LOADING Redis is loading the dataset in memory\r\n", REDIS_LOADING},
        {"-READONLY You can't write against a read only replica.\r\n", REDIS_READ_ONLY},
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", REDIS_OUT_OF_MEMORY},
        {"-MISCONF Redis is configured to save RDB snapshots\r\n", REDIS_NOT_SAVING},
        {"-NOPERM this user has no permissions\r\n", REDIS_DENIED},
        {"-NOAUTH Authentication required.\r\n", REDIS_DENIED},
        {"-WRONGTYPE Operation against a key\r\n", REDIS_WRONG_TYPE},
        {"-ERR Function not found\r\n", REDIS_NO_FUNCTION},
        {"-ERR Library 'progress' already exists\r\n", REDIS_EXISTS},
        {"-PROGRESS_INVALID payload must be a JSON object\r\n", REDIS_INVALID},
        {"-PROGRESS_DONE the task has ended\r\n", REDIS_DONE},
        {"-ERR unknown command\r\n", REDIS_REFUSED},
        {"-MOVEDX 1\r\n", REDIS_REFUSED},
        {"-\r\n", REDIS_REFUSED},
        {":7\r\n", REDIS_VALUE},
        {"$-1\r\n", REDIS_VALUE},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        void *reply;
        struct redis_answer answer = answer_of(cases[i].bytes, &reply);

        cr_assert_eq(answer.kind, cases[i].kind, "%s", cases[i].bytes);
        cr_assert_eq(answer.error.at != NULL, cases[i].bytes[0] == '-');
        cr_assert_eq(redis_answer_count(&answer), 0);
        cr_assert_null(redis_answer_text(&answer).at);
        freeReplyObject(reply);
    }
}

Test(redis_answer, of_a_connection_that_closed_is_lost)
{
    struct redis_answer answer;

    redis_answer_init(&answer, NULL);
    cr_assert_eq(answer.kind, REDIS_LOST);
    cr_assert_null(redis_answer_text(&answer).at);
    cr_assert_not(redis_answer_is_array(&answer));
    cr_assert_eq(redis_answer_integer(&answer), 0);
}

Test(redis_answer, has_the_parts_of_a_value)
{
    void *reply;
    struct redis_answer answer = answer_of("*3\r\n$1\r\na\r\n$-1\r\n:5\r\n", &reply);

    cr_assert(redis_answer_is_array(&answer));
    cr_assert_eq(redis_answer_count(&answer), 3);
    cr_assert(span_is(redis_answer_element(&answer, 0), "a"));
    cr_assert_null(redis_answer_element(&answer, 1).at);
    cr_assert_null(redis_answer_element(&answer, 2).at);
    freeReplyObject(reply);
    answer = answer_of("*0\r\n", &reply);
    cr_assert(redis_answer_is_array(&answer));
    freeReplyObject(reply);
    answer = answer_of(":5\r\n", &reply);
    cr_assert_eq(redis_answer_integer(&answer), 5);
    freeReplyObject(reply);
    answer = answer_of("+OK\r\n", &reply);
    cr_assert(span_is(redis_answer_text(&answer), "OK"));
    freeReplyObject(reply);
}

Test(redis_answer, finds_a_member_by_its_name)
{
    static const char *const without[] = {
        "*0\r\n",      "*1\r\n:1\r\n", "*1\r\n*1\r\n$4\r\ncode\r\n", "*1\r\n*2\r\n:1\r\n:2\r\n",
        "$1\r\na\r\n", "-ERR no\r\n",
    };
    void *reply;
    struct redis_answer answer =
        answer_of("*1\r\n*4\r\n$4\r\nname\r\n$1\r\np\r\n$4\r\ncode\r\n$2\r\nxy\r\n", &reply);

    cr_assert(span_is(redis_answer_member(&answer, "code"), "xy"));
    freeReplyObject(reply);
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        answer = answer_of(without[i], &reply);
        cr_assert_null(redis_answer_member(&answer, "code").at, "%s", without[i]);
        freeReplyObject(reply);
    }
}

Test(redis_answer, knows_what_concerns_the_whole_server)
{
    cr_assert(redis_answer_is_of_server(REDIS_READ_ONLY));
    cr_assert(redis_answer_is_of_server(REDIS_LOADING));
    cr_assert(redis_answer_is_of_server(REDIS_MOVED));
    cr_assert_not(redis_answer_is_of_server(REDIS_DENIED));
    cr_assert_not(redis_answer_is_of_server(REDIS_OUT_OF_MEMORY));
    cr_assert_not(redis_answer_is_of_server(REDIS_VALUE));
    cr_assert_not(redis_answer_is_of_server(REDIS_LOST));
}
