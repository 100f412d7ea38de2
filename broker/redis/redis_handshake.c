#include "broker/redis/redis_handshake.h"

#include <stdio.h>
#include <string.h>

#include "broker/redis/redis_info.h"
#include "common/log.h"
#include "proto/progress_library.h"

#define MODULE "redis_handshake"

static void handshake_finish(struct redis_handshake *handshake, const char *why)
{
    if (handshake->done) {
        return;
    }
    handshake->done = true;
    text_deinit(&handshake->library_text);
    handshake->on_done(handshake, why);
}

void redis_handshake_stop(struct redis_handshake *handshake)
{
    handshake->done = true;
    text_deinit(&handshake->library_text);
}

static void handshake_ask(struct redis_handshake *handshake, struct redis_connection *connection,
                          redis_answer_fn on_answer, int argc, const struct span *argv)
{
    if (!handshake->done &&
        redis_connection_send(connection, on_answer, handshake, argc, argv) < 0) {
        handshake_finish(handshake, "out of memory");
    }
}

/* Whether the sequence goes on with this reply; an error ends it, with what was being done. */
static bool handshake_is_good(struct redis_handshake *handshake, const struct redis_answer *answer,
                              const char *what)
{
    char why[256];

    if (handshake->done || answer->kind == REDIS_LOST) {
        return false;
    }
    if (answer->kind == REDIS_VALUE) {
        return true;
    }
    snprintf(why, sizeof(why), "%s: %.*s", what, (int)answer->error.len, answer->error.at);
    handshake_finish(handshake, why);
    return false;
}

/* ── Which server it is ──────────────────────────────────────────────────────────────────────── */

/* Compares with what the other connection, or an earlier look, found. */
static bool same_server(struct redis_handshake *handshake, struct span run_id)
{
    if (run_id.len == 0 || run_id.len >= sizeof(handshake->run_id)) {
        return false;
    }
    if (handshake->run_id[0] == '\0') {
        memcpy(handshake->run_id, run_id.at, run_id.len);
        handshake->run_id[run_id.len] = '\0';
        return true;
    }
    return span_is(run_id, handshake->run_id);
}

/* Each value of the setting is complained of once. */
static void warn_of_eviction(struct redis_handshake *handshake, const struct redis_info *info)
{
    char policy[sizeof(handshake->policy)];

    snprintf(policy, sizeof(policy), "%.*s", (int)info->maxmemory_policy.len,
             info->maxmemory_policy.at ? info->maxmemory_policy.at : "");
    if (strcmp(policy, handshake->policy) == 0) {
        return;
    }
    strcpy(handshake->policy, policy);
    if (redis_info_evicts(info)) {
        log_event(LOG_WARN, MODULE,
                  "Redis may remove states of tasks when its memory is full; set maxmemory-policy "
                  "to noeviction",
                  LOG_TEXT("maxmemory_policy", policy));
    }
}

static bool info_is_good(struct redis_handshake *handshake, const struct redis_answer *answer)
{
    struct redis_info info;

    if (!handshake_is_good(handshake, answer, "INFO")) {
        return false;
    }
    redis_info_read(redis_answer_text(answer), &info);
    const char *objection = redis_info_objection(&info);
    if (!objection && !same_server(handshake, info.run_id)) {
        objection = "it is another server than before, or than the other connection's";
    }
    if (objection) {
        handshake_finish(handshake, objection);
        return false;
    }
    warn_of_eviction(handshake, &info);
    return true;
}

static void ask_for_info(struct redis_handshake *handshake, struct redis_connection *connection,
                         redis_answer_fn on_answer)
{
    handshake_ask(handshake, connection, on_answer, 1, (struct span[]){SPAN_OF("INFO")});
}

/* ── The function library ────────────────────────────────────────────────────────────────────── */

static void list_library(struct redis_handshake *handshake);
static void try_rights(struct redis_handshake *handshake);

static bool has_our_settings(const struct redis_handshake *handshake,
                             const struct library_head *head)
{
    return head->state_ttl_s == handshake->config->state_ttl_s &&
           head->max_payload == handshake->config->max_payload;
}

static void set_disagreement(struct redis_handshake *handshake, bool disagrees)
{
    metric_set(handshake->metrics, METRIC_LIBRARY_DISAGREES, disagrees);
    handshake->disagrees = disagrees;
}

/* The library is the one to use. Another broker with other settings may have loaded it: whoever
 * connects last has his way, and the others say that they would have it otherwise. */
static void accept_library(struct redis_handshake *handshake, const struct library_head *head)
{
    const bool disagrees = !has_our_settings(handshake, head);

    if (disagrees && !handshake->disagrees) {
        log_event(LOG_WARN, MODULE,
                  "the function library in Redis has other settings than this broker: another one "
                  "has loaded it; give all brokers the same",
                  LOG_INT("version", head->version), LOG_INT("state_ttl", head->state_ttl_s),
                  LOG_INT("max_payload", head->max_payload));
    }
    set_disagreement(handshake, disagrees);
    try_rights(handshake);
}

static void handshake_on_library_loaded(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;

    /* Another broker was faster: look at what it has loaded. */
    if (answer->kind == REDIS_EXISTS) {
        list_library(handshake);
        return;
    }
    if (!handshake_is_good(handshake, answer, "FUNCTION LOAD")) {
        return;
    }
    log_event(LOG_INFO, MODULE, "function library loaded",
              LOG_INT("version", progress_library_version),
              LOG_INT("state_ttl", handshake->config->state_ttl_s),
              LOG_INT("max_payload", handshake->config->max_payload));
    set_disagreement(handshake, false);
    try_rights(handshake);
}

static void log_replacing(const struct library_head *head)
{
    log_event(LOG_WARN, MODULE, "replacing the function library in Redis",
              LOG_INT("version", head->version), LOG_INT("state_ttl", head->state_ttl_s),
              LOG_INT("max_payload", head->max_payload));
}

static void load_library(struct redis_handshake *handshake, bool replace)
{
    struct span argv[4] = {SPAN_OF("FUNCTION"), SPAN_OF("LOAD")};
    int argc = 2;

    text_deinit(&handshake->library_text);
    progress_library(&handshake->library_text, handshake->config->state_ttl_s,
                     handshake->config->max_payload);
    if (text_failed(&handshake->library_text)) {
        handshake_finish(handshake, "out of memory");
        return;
    }
    if (replace) {
        argv[argc++] = SPAN_OF("REPLACE");
    }
    argv[argc++] = (struct span){handshake->library_text.data, handshake->library_text.len};
    handshake_ask(handshake, handshake->commands, handshake_on_library_loaded, argc, argv);
}

static void handshake_on_library_listed(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;
    struct library_head head;

    if (!handshake_is_good(handshake, answer, "FUNCTION LIST")) {
        return;
    }
    struct span code = redis_answer_member(answer, "library_code");
    if (!code.at) {
        load_library(handshake, false);
    } else if (progress_library_head(code, &head) != 0) {
        handshake_finish(handshake, "Redis has a function library \"" PROGRESS_LIBRARY_NAME
                                    "\" that isn't progressd's");
    } else if (head.version < progress_library_version ||
               (head.version == progress_library_version && handshake->is_first &&
                !has_our_settings(handshake, &head))) {
        log_replacing(&head);
        load_library(handshake, true);
    } else {
        accept_library(handshake, &head);
    }
}

static void list_library(struct redis_handshake *handshake)
{
    handshake_ask(handshake, handshake->commands, handshake_on_library_listed, 5,
                  (struct span[]){SPAN_OF("FUNCTION"), SPAN_OF("LIST"), SPAN_OF("LIBRARYNAME"),
                                  SPAN_OF(PROGRESS_LIBRARY_NAME), SPAN_OF("WITHCODE")});
}

/* ── Rights ──────────────────────────────────────────────────────────────────────────────────── */

static void handshake_on_subscribed(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;

    if (handshake_is_good(handshake, answer, "SSUBSCRIBE")) {
        handshake_finish(handshake, NULL);
    }
}

/* Commands within a function run with the rights of the caller. */
static void handshake_on_rights_told(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;

    if (handshake_is_good(handshake, answer, "FCALL progress_rights")) {
        handshake_ask(handshake, handshake->subscriber, handshake_on_subscribed, 2,
                      (struct span[]){SPAN_OF("SSUBSCRIBE"), SPAN_OF(handshake->probe_channel)});
    }
}

static void handshake_on_hash_read(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;

    if (handshake_is_good(handshake, answer, "HGETALL")) {
        handshake_ask(handshake, handshake->commands, handshake_on_rights_told, 4,
                      (struct span[]){SPAN_OF("FCALL"), SPAN_OF("progress_rights"), SPAN_OF("1"),
                                      SPAN_OF(handshake->probe_channel)});
    }
}

static void try_rights(struct redis_handshake *handshake)
{
    if (!handshake->is_first) {
        handshake_finish(handshake, NULL);
        return;
    }
    handshake_ask(handshake, handshake->commands, handshake_on_hash_read, 2,
                  (struct span[]){SPAN_OF("HGETALL"), SPAN_OF(handshake->probe_channel)});
}

/* ── The sequence ────────────────────────────────────────────────────────────────────────────── */

static void handshake_on_info(void *context, const struct redis_answer *answer)
{
    if (info_is_good(context, answer)) {
        list_library(context);
    }
}

static void handshake_on_subscriber_info(void *context, const struct redis_answer *answer)
{
    struct redis_handshake *handshake = context;

    if (info_is_good(handshake, answer)) {
        ask_for_info(handshake, handshake->commands, handshake_on_info);
    }
}

void redis_handshake_start(struct redis_handshake *handshake)
{
    handshake->done = false;
    handshake->is_first = true;
    handshake->run_id[0] = '\0';
    handshake->library_text = TEXT_EMPTY;
    if (redis_connection_set_name(handshake->commands, "commands") < 0 ||
        redis_connection_set_name(handshake->subscriber, "subscriber") < 0) {
        handshake_finish(handshake, "out of memory");
        return;
    }
    ask_for_info(handshake, handshake->subscriber, handshake_on_subscriber_info);
}

void redis_handshake_check_again(struct redis_handshake *handshake)
{
    assert(handshake->done && handshake->run_id[0] != '\0');
    handshake->done = false;
    handshake->is_first = false;
    ask_for_info(handshake, handshake->commands, handshake_on_info);
}
