#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "broker/net/outbox.h"
#include "common/mem.h"

static struct bytes *bytes_of(const char *text)
{
    return bytes_copy(text, (uint32_t)strlen(text));
}

static void put(struct outbox *outbox, const char *text)
{
    cr_assert_eq(outbox_put(outbox, bytes_of(text)), 0);
}

/* The batch's bytes from first to last. */
static const char *text_of(const struct outbox_batch *batch)
{
    static char text[1024];
    size_t len = 0;

    for (int i = 0; i < batch->count; i++) {
        memcpy(text + len, batch->vector[i].iov_base, batch->vector[i].iov_len);
        len += batch->vector[i].iov_len;
    }
    cr_assert_eq(len, batch->len);
    text[len] = '\0';
    return text;
}

Test(outbox, an_empty_one_has_nothing_to_write)
{
    struct outbox outbox = {0};
    struct outbox_batch batch;

    cr_assert(outbox_is_empty(&outbox));
    cr_assert_eq(outbox_waiting(&outbox), 0);
    cr_assert_null(outbox_last(&outbox));
    cr_assert(outbox_batch_begin(&batch, &outbox));
    cr_assert_eq(batch.count, 0);
    outbox_deinit(&outbox);
}

Test(outbox, what_waits_comes_in_order_and_before_frames_of_tasks)
{
    struct outbox outbox = {0};
    struct bytes *frame = bytes_of("frame");
    struct outbox_batch batch;

    put(&outbox, "one ");
    put(&outbox, "two ");
    cr_assert(outbox_batch_begin(&batch, &outbox));
    outbox_batch_offer(&batch, frame);
    cr_assert_str_eq(text_of(&batch), "one two frame");
    cr_assert_eq(outbox_settle(&outbox, &batch, batch.len), 1);
    cr_assert(outbox_is_empty(&outbox));
    cr_assert_eq(frame->refs, 1, "a frame that was written whole is not kept");
    bytes_unref(frame);
    outbox_deinit(&outbox);
}

/* Whatever the socket takes, the bytes come in order, each once, and a frame counts as taken from
 * its first byte on. */
Test(outbox, a_write_may_end_at_any_byte)
{
    const char *whole = "begun-one-two-FRAME-NEXT-";

    for (size_t first = 0; first <= strlen(whole); first++) {
        struct outbox outbox = {0};
        struct bytes *frames[] = {bytes_of("FRAME-"), bytes_of("NEXT-")};
        struct outbox_batch batch;
        char written[64] = "";
        uint32_t taken = 0;

        put(&outbox, "begun-");
        put(&outbox, "one-");
        put(&outbox, "two-");
        for (size_t n = first; !outbox_is_empty(&outbox) || taken < 2; n = strlen(whole)) {
            cr_assert(outbox_batch_begin(&batch, &outbox));
            for (uint32_t i = taken; i < 2; i++) {
                outbox_batch_offer(&batch, frames[i]);
            }
            n = n < batch.len ? n : batch.len;
            strncat(written, text_of(&batch), n);
            taken += outbox_settle(&outbox, &batch, n);
            cr_assert_eq(taken, (strlen(written) > 14) + (strlen(written) > 20), "at %zu", first);
        }
        cr_assert_str_eq(written, whole);
        cr_assert_eq(frames[0]->refs, 1);
        cr_assert_eq(frames[1]->refs, 1);
        bytes_unref(frames[0]);
        bytes_unref(frames[1]);
        outbox_deinit(&outbox);
    }
}

Test(outbox, a_frame_that_was_begun_is_finished_first_and_kept_until_then)
{
    struct outbox outbox = {0};
    struct bytes *frame = bytes_of("frame");
    struct outbox_batch batch;

    cr_assert(outbox_batch_begin(&batch, &outbox));
    outbox_batch_offer(&batch, frame);
    cr_assert_eq(outbox_settle(&outbox, &batch, 2), 1);
    cr_assert_eq(frame->refs, 2);
    put(&outbox, " behind");
    cr_assert(outbox_batch_begin(&batch, &outbox));
    cr_assert_str_eq(text_of(&batch), "ame behind");
    cr_assert_eq(outbox_settle(&outbox, &batch, 1), 0);
    cr_assert(outbox_batch_begin(&batch, &outbox));
    cr_assert_str_eq(text_of(&batch), "me behind");
    outbox_deinit(&outbox);
    cr_assert_eq(frame->refs, 1);
    bytes_unref(frame);
}

Test(outbox, frames_of_tasks_have_to_wait_while_more_waits_than_a_batch_holds)
{
    struct outbox outbox = {0};
    struct outbox_batch batch;

    for (int i = 0; i < OUTBOX_BATCH; i++) {
        put(&outbox, "x");
    }
    cr_assert_not(outbox_batch_begin(&batch, &outbox));
    cr_assert_eq(outbox_settle(&outbox, &batch, batch.len), 0);
    cr_assert_eq(outbox_waiting(&outbox), 1);
    cr_assert(outbox_batch_begin(&batch, &outbox));
    outbox_deinit(&outbox);
}

Test(outbox, the_last_one_can_be_replaced)
{
    struct outbox outbox = {0};
    struct outbox_batch batch;

    put(&outbox, "kept ");
    put(&outbox, "old");
    outbox_replace_last(&outbox, bytes_of("new"));
    cr_assert_eq(outbox_last(&outbox)->data[0], 'n');
    cr_assert(outbox_batch_begin(&batch, &outbox));
    cr_assert_str_eq(text_of(&batch), "kept new");
    outbox_deinit(&outbox);
}

Test(outbox, running_out_of_memory_leaves_it_as_it_was_and_lets_the_bytes_go)
{
    struct outbox outbox = {0};
    struct bytes *lost = bytes_of("lost");

    mem_fail_nth(1);
    cr_assert_eq(outbox_put(&outbox, bytes_ref(lost)), -ENOMEM);
    cr_assert_eq(lost->refs, 1);
    cr_assert(outbox_is_empty(&outbox));
    bytes_unref(lost);
    outbox_deinit(&outbox);
}
