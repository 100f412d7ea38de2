/* What Redis sends: hiredis' reader over any bytes, and our parsers over every string in it.
 *
 * Input: the cuts, the stream.
 */
#include <hiredis/hiredis.h>
#include <string.h>

#include "fuzz.h"
#include "proto/plain_message.h"
#include "proto/progress_library.h"
#include "proto/task_hash.h"
#include "proto/task_key.h"
#include "proto/task_stages.h"

static const struct span task_id = {"42", 2};

static void check_lies_within(struct span part, struct span whole)
{
    FUZZ_ASSERT(part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void use_task_message(struct span text)
{
    struct text stages = TEXT_EMPTY;
    struct task_message message;

    if (task_message_parse(text, &message) != 0) {
        return;
    }
    check_lies_within(message.task_id, text);
    check_lies_within(message.payload, text);
    FUZZ_ASSERT(task_id_is_valid(message.task_id.at, message.task_id.len));
    (void)task_message_ends(&message);
    FUZZ_ASSERT(stages_follow(&stages, &message) == 0);
    FUZZ_ASSERT(stages_follow(&stages, &message) == 0);
    text_deinit(&stages);
}

static void use_plain_message(struct span text)
{
    struct span type, payload;
    char why[128] = "";

    if (plain_message_parse(text, task_id, &type, &payload, why) == 0) {
        check_lies_within(type, text);
        check_lies_within(payload, text);
    } else {
        FUZZ_ASSERT(why[0] != '\0' && memchr(why, '\0', sizeof(why)));
    }
}

static void use_small_ones(struct span text)
{
    enum task_message_type type;
    struct library_head head;
    char again[REV_TEXT_SIZE];
    struct rev rev;

    (void)!task_message_type_of(text, &type);
    (void)stages_are_valid(text);
    (void)task_id_of_key(text, "progress:");
    if (progress_library_head(text, &head) == 0) {
        FUZZ_ASSERT(
            memmem(text.at, text.len, PROGRESS_LIBRARY_NAME, strlen(PROGRESS_LIBRARY_NAME)));
    }
    if (rev_parse(text, &rev) == 0) {
        rev_format(again, &rev);
        FUZZ_ASSERT(strlen(again) == text.len && memcmp(again, text.at, text.len) == 0);
    }
}

static void use(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING) {
        struct span text = {reply->str, reply->len};
        use_task_message(text);
        use_plain_message(text);
        use_small_ones(text);
    } else if (reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            use(reply->element[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    struct fuzz_cuts cuts = fuzz_cuts_take(&input);
    redisReader *reader = redisReaderCreate();
    int r = REDIS_OK;

    while (input.len > 0 && r == REDIS_OK) {
        size_t piece = fuzz_cut(&cuts, input.len);
        void *reply = NULL;
        r = redisReaderFeed(reader, (const char *)input.at, piece);
        while (r == REDIS_OK && (r = redisReaderGetReply(reader, &reply)) == REDIS_OK && reply) {
            use(reply);
            freeReplyObject(reply);
        }
        input.at += piece;
        input.len -= piece;
    }
    redisReaderFree(reader);
    return 0;
}
