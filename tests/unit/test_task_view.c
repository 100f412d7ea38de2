#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/task_view.h"
#include "common/mem.h"

#define NOW 1795414577000

static struct json_value json(const char *text)
{
    struct json_value value;
    size_t offset;

    cr_assert_eq(json_check((struct span){text, strlen(text)}, &value, &offset), 0, "%s", text);
    return value;
}

static const char *message_text(const char *type, const char *run, int n, const char *payload)
{
    static char text[1024];

    snprintf(text, sizeof(text),
             "{\"type\":\"%s\",\"taskId\":\"t\",\"rev\":\"%s-%d\",\"payload\":%s}", type, run, n,
             payload);
    return text;
}

static enum task_view_news feed_run(struct task_view *view, const char *type, const char *run,
                                    int n, const char *payload)
{
    enum task_view_news news;

    cr_assert_eq(task_view_message(view, json(message_text(type, run, n, payload)), NOW, &news), 0);
    return news;
}

static enum task_view_news feed(struct task_view *view, const char *type, int n,
                                const char *payload)
{
    return feed_run(view, type, "r", n, payload);
}

static enum task_view_news list(struct task_view *view, const char *rev, const char *stages)
{
    enum task_view_news news;

    cr_assert_eq(task_view_stages(view, json(rev), json(stages), &news), 0);
    return news;
}

/* The names of the stages that are over, each followed by its seconds or "?". */
static const char *over(struct task_view *view)
{
    static char text[1024];
    struct task_view_stage stage;

    text[0] = '\0';
    while (task_view_take_stage(view, &stage)) {
        size_t len = strlen(text);
        if (stage.left_ms < 0 || stage.entered_ms < 0) {
            snprintf(text + len, sizeof(text) - len, "%s ? ", stage.name);
        } else {
            snprintf(text + len, sizeof(text) - len, "%s %d ", stage.name,
                     (int)((stage.left_ms - stage.entered_ms) / 1000));
        }
    }
    return text;
}

#define VIEW __attribute__((cleanup(task_view_deinit))) struct task_view
#define AT(seconds) "2026-11-23T06:16:" seconds ".000Z"

Test(task_view, messages_are_merged)
{
    VIEW view;
    task_view_init(&view);

    cr_expect_eq(view.status, TASK_VIEW_WAITING);
    cr_expect_eq(feed(&view, "progress_update", 1,
                      "{\"percentage\":40,\"stage\":\"upload\",\"processingSpeed\":2,"
                      "\"timestamp\":\"" AT("00") "\"}"),
                 TASK_VIEW_PROGRESS);
    cr_expect_eq(
        feed(&view, "time_estimate", 2, "{\"estimatedTimeRemaining\":60,\"confidence\":1}"),
        TASK_VIEW_PROGRESS);
    cr_expect_eq(view.status, TASK_VIEW_RUNNING);
    cr_expect_eq(view.percentage, 40);
    cr_expect_eq(view.speed, 2);
    cr_expect_str_eq(view.stage.name, "upload");
    cr_expect_eq(view.rev.n, 2);
}

Test(task_view, the_time_left_runs_down_to_nothing)
{
    VIEW view;
    task_view_init(&view);

    feed(&view, "progress_update", 1, "{\"percentage\":40,\"stage\":\"upload\"}");
    cr_expect_eq(task_view_remaining_s(&view, NOW), TASK_VIEW_UNKNOWN);
    feed(&view, "time_estimate", 2, "{\"estimatedTimeRemaining\":60,\"confidence\":1}");
    cr_expect_eq(task_view_remaining_s(&view, NOW + 10000), 50);
    cr_expect_eq(task_view_remaining_s(&view, NOW + 100000), 0);
}

Test(task_view, what_is_not_newer_is_nothing)
{
    VIEW view;
    task_view_init(&view);

    feed(&view, "progress_update", 5, "{\"percentage\":40,\"stage\":\"upload\"}");
    cr_expect_eq(feed(&view, "progress_update", 5, "{\"percentage\":41,\"stage\":\"upload\"}"),
                 TASK_VIEW_NOTHING);
    cr_expect_eq(feed(&view, "complete", 4, "{\"resultUrl\":\"\",\"duration\":1}"),
                 TASK_VIEW_NOTHING);
    cr_expect_eq(view.percentage, 40);
    cr_expect_eq(view.status, TASK_VIEW_RUNNING);
}

Test(task_view, a_stage_that_is_left_is_told_once_with_its_time)
{
    VIEW view;
    task_view_init(&view);

    feed(&view, "stage_change", 1, "{\"toStage\":\"a\",\"timestamp\":\"" AT("00") "\"}");
    cr_expect_str_eq(over(&view), "");
    feed(&view, "progress_update", 2,
         "{\"percentage\":1,\"stage\":\"a\",\"timestamp\":\"" AT("01") "\"}");
    cr_expect_str_eq(over(&view), "");
    feed(&view, "progress_update", 3,
         "{\"percentage\":1,\"stage\":\"b\",\"timestamp\":\"" AT("03") "\"}");
    cr_expect_str_eq(over(&view), "a 3 ");
    feed(&view, "stage_change", 4, "{\"toStage\":\"b\",\"timestamp\":\"" AT("05") "\"}");
    cr_expect_str_eq(over(&view), "", "it goes on with the same");
    feed(&view, "stage_change", 5, "{\"toStage\":\"c\",\"timestamp\":\"" AT("07") "\"}");
    cr_expect_str_eq(over(&view), "b 4 ");
    feed(&view, "complete", 6, "{\"resultUrl\":\"u\",\"duration\":7}");
    cr_expect_str_eq(over(&view), "c 10 ", "it ends now");
}

#define TWO_STAGES                                                                            \
    "[{\"stage\":\"a\",\"timestamp\":\"" AT("00") "\"},{\"stage\":\"b\",\"timestamp\":\"" AT( \
        "04") "\"}]"

Test(task_view, a_list_of_stages_tells_what_was_before_and_replays_dont_tell_it_again)
{
    VIEW view;
    task_view_init(&view);

    cr_expect_eq(list(&view, "\"r-9\"", TWO_STAGES), TASK_VIEW_PROGRESS);
    cr_expect_str_eq(over(&view), "a 4 ");
    feed(&view, "stage_change", 3, "{\"toStage\":\"a\",\"timestamp\":\"" AT("00") "\"}");
    feed(&view, "progress_update", 9,
         "{\"percentage\":1,\"stage\":\"b\",\"timestamp\":\"" AT("05") "\"}");
    cr_expect_str_eq(over(&view), "");
    cr_expect_str_eq(view.stage.name, "b");
}

Test(task_view, after_a_reconnect_the_list_tells_only_what_is_new)
{
    VIEW view;
    task_view_init(&view);

    list(&view, "\"r-2\"", "[{\"stage\":\"a\",\"timestamp\":\"" AT("00") "\"}]");
    feed(&view, "stage_change", 2, "{\"toStage\":\"a\",\"timestamp\":\"" AT("00") "\"}");
    feed(&view, "stage_change", 3, "{\"toStage\":\"b\",\"timestamp\":\"" AT("04") "\"}");
    cr_expect_str_eq(over(&view), "a 4 ");
    cr_expect_eq(list(&view, "\"r-3\"", TWO_STAGES), TASK_VIEW_NOTHING);
    cr_expect_eq(list(&view, "\"r-8\"",
                      "[{\"stage\":\"b\",\"timestamp\":\"" AT(
                          "04") "\"},{\"stage\":\"c\",\"timestamp\":\"" AT("05") "\"}]"),
                 TASK_VIEW_PROGRESS);
    cr_expect_str_eq(over(&view), "b 1 ");
    cr_expect_eq(list(&view, "\"r-8\"", TWO_STAGES), TASK_VIEW_NOTHING, "it has been told");
}

Test(task_view, the_last_stage_of_a_task_that_ended_long_ago_has_no_time)
{
    VIEW view;
    task_view_init(&view);

    list(&view, "\"r-9\"", TWO_STAGES);
    feed(&view, "complete", 9, "{\"resultUrl\":\"u\",\"duration\":7}");
    cr_expect_str_eq(over(&view), "a 4 b ? ");
}

Test(task_view, more_stages_than_anybody_keeps_lose_the_oldest)
{
    VIEW view;
    struct task_view_stage stage;
    char payload[128];

    task_view_init(&view);
    for (int i = 0; i < STAGES_MAX + 10; i++) {
        snprintf(payload, sizeof(payload), "{\"toStage\":\"%d\",\"timestamp\":\"" AT("00") "\"}",
                 i);
        feed(&view, "stage_change", i + 1, payload);
    }
    cr_assert(task_view_take_stage(&view, &stage));
    cr_expect_str_eq(stage.name, "9");
}

Test(task_view, no_state_yet_is_no_news)
{
    VIEW view;
    task_view_init(&view);

    cr_expect_eq(list(&view, "null", "[]"), TASK_VIEW_NOTHING);
    cr_expect_eq(view.status, TASK_VIEW_WAITING);
}

Test(task_view, another_run_voids_all_by_whatever_it_is_told)
{
    for (int way = 0; way < 3; way++) {
        VIEW view;
        task_view_init(&view);

        feed(&view, "progress_update", 5, "{\"percentage\":40,\"stage\":\"upload\"}");
        cr_expect_eq(way == 0   ? feed_run(&view, "reset", "s", 7, "{}")
                     : way == 1 ? list(&view, "\"s-9\"", "[]")
                                : feed_run(&view, "time_estimate", "s", 7,
                                           "{\"estimatedTimeRemaining\":1,\"confidence\":1}"),
                     TASK_VIEW_RESET);
        cr_expect_eq(view.percentage, TASK_VIEW_UNKNOWN);
        cr_expect_str_eq(view.stage.name, "");
        cr_expect_str_eq(over(&view), "");
        cr_expect_neq(feed_run(&view, "reset", "s", 8, "{}"), TASK_VIEW_RESET, "it is known");
        cr_expect_eq(feed(&view, "progress_update", 6, "{\"percentage\":41,\"stage\":\"upload\"}"),
                     TASK_VIEW_NOTHING, "of the old run");
    }
}

Test(task_view, a_reset_holds_whatever_its_n)
{
    CLEANUP(task_view_deinit) struct task_view view;

    task_view_init(&view);
    feed_run(&view, "progress_update", "a", 500, "{\"percentage\":40,\"stage\":\"x\"}");
    cr_assert_eq(feed_run(&view, "reset", "b", 49, "{}"), TASK_VIEW_RESET);
    feed_run(&view, "progress_update", "b", 50, "{\"percentage\":10,\"stage\":\"y\"}");
    cr_assert_eq(view.percentage, 10);
}

Test(task_view, a_state_that_is_gone_is_waited_for)
{
    CLEANUP(task_view_deinit) struct task_view view;
    enum task_view_news news;

    task_view_init(&view);
    feed_run(&view, "progress_update", "a", 500, "{\"percentage\":40,\"stage\":\"x\"}");
    cr_assert_eq(
        task_view_message(&view,
                          json("{\"type\":\"reset\",\"taskId\":\"a\",\"rev\":null,\"payload\":{}}"),
                          0, &news),
        0);
    cr_assert_eq(news, TASK_VIEW_RESET);
    cr_assert_eq(view.status, TASK_VIEW_WAITING);
    feed_run(&view, "progress_update", "b", 50, "{\"percentage\":10,\"stage\":\"y\"}");
    cr_assert_eq(view.percentage, 10);
}

Test(task_view, an_error_that_may_be_retried_is_no_end)
{
    VIEW view;
    task_view_init(&view);

    cr_expect_eq(
        feed(&view, "error", 1, "{\"code\":\"X\",\"message\":\"m\\n\",\"retryable\":true}"),
        TASK_VIEW_ERROR);
    cr_expect_eq(view.status, TASK_VIEW_RETRYING);
    cr_expect_not(task_view_is_over(&view));
    cr_expect_str_eq(view.error_code.data, "X");
    cr_expect_str_eq(view.error_message.data, "m\n");
    feed(&view, "progress_update", 2, "{\"percentage\":1,\"stage\":\"a\"}");
    cr_expect_eq(view.status, TASK_VIEW_RUNNING);
    cr_expect_eq(feed(&view, "error", 3, "{\"code\":\"Y\",\"message\":\"\"}"), TASK_VIEW_ENDED);
    cr_expect_eq(view.status, TASK_VIEW_FAILED);
    cr_expect(task_view_is_over(&view));
}

Test(task_view, strange_members_are_unknown)
{
    VIEW view;
    task_view_init(&view);

    feed(&view, "progress_update", 1, "{\"percentage\":\"40\",\"stage\":7}");
    cr_expect_eq(view.percentage, TASK_VIEW_UNKNOWN);
    cr_expect_str_eq(view.stage.name, "");
    feed(&view, "progress_update", 2, "{\"percentage\":1e999,\"stage\":\"a\"}");
    cr_expect_eq(view.percentage, 100);
}

Test(task_view, what_is_no_message_of_a_task_is_refused)
{
    static const char *const bad[] = {
        "{}",
        "{\"type\":\"unknown\",\"rev\":\"r-1\",\"payload\":{}}",
        "{\"type\":\"complete\",\"payload\":{}}",
        "{\"type\":\"complete\",\"rev\":7,\"payload\":{}}",
        "{\"type\":\"complete\",\"rev\":\"r\",\"payload\":{}}",
        "{\"type\":\"complete\",\"rev\":\"r-1\",\"payload\":[]}",
        "{\"type\":\"complete\",\"rev\":\"r-1\"}",
    };
    VIEW view;
    enum task_view_news news;

    task_view_init(&view);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(task_view_message(&view, json(bad[i]), NOW, &news), TASK_VIEW_INVALID, "%s",
                     bad[i]);
    }
    cr_expect_eq(task_view_stages(&view, json("\"r\""), json("[]"), &news), TASK_VIEW_INVALID);
    cr_expect_eq(task_view_stages(&view, json("\"r-1\""), json("{}"), &news), TASK_VIEW_INVALID);
    cr_expect_eq(view.rev.n, 0);
}

Test(task_view, running_out_of_memory_is_told)
{
    const char *text =
        message_text("error", "r", 1, "{\"code\":\"a code\",\"message\":\"a message\"}");
    unsigned failed = 0;

    for (unsigned nth = 1;; nth++) {
        VIEW view;
        enum task_view_news news;

        task_view_init(&view);
        mem_fail_nth(nth);
        int rc = task_view_message(&view, json(text), NOW, &news);
        mem_fail_nth(0);
        if (rc == 0) {
            break;
        }
        cr_assert_eq(rc, -ENOMEM);
        failed++;
    }
    cr_expect_geq(failed, 4);
}
