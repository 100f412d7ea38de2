#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/http_client.h"
#include "client/cli/options.h"
#include "client/cli/progress_line.h"
#include "client/cli/server.h"

#define ADMIN_URL_DEFAULT "http://127.0.0.1:8081"

/* ── Members, each with something to print where it is missing ───────────────────────────────── */

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text ? text : "?";
}

static double status_number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* ── The picture ─────────────────────────────────────────────────────────────────────────────── */

static void print_process(const char *name, const cJSON *process)
{
    printf("%-9s pid %.0f, %s, link to Redis %s", name, status_number_of(process, "pid"),
           text_of(process, "state"), is_true(process, "linkUp") ? "up" : "down");
    if (status_number_of(process, "restarts") > 0) {
        printf(", restarted %.0f times", status_number_of(process, "restarts"));
    }
}

static void print_worker(const cJSON *worker)
{
    char name[32];

    snprintf(name, sizeof(name), "worker %.0f", status_number_of(worker, "slot"));
    print_process(name, worker);
    printf(", connections %.0f (WebSocket %.0f), subscriptions %.0f, tasks %.0f%s\n",
           status_number_of(worker, "connections"),
           status_number_of(worker, "websocketConnections"),
           status_number_of(worker, "subscriptions"), status_number_of(worker, "tasks"),
           is_true(worker, "acceptingPaused") ? ", accepting is paused" : "");
}

static void print_recorder(const cJSON *recorder)
{
    if (cJSON_IsObject(recorder)) {
        print_process("recorder", recorder);
        puts(is_true(recorder, "active") ? ", active" : ", stands by");
    } else {
        puts("recorder  off");
    }
}

static void print_status(const cJSON *status)
{
    const cJSON *redis = cJSON_GetObjectItemCaseSensitive(status, "redis"), *worker;
    char uptime[DURATION_SIZE];

    duration_format(status_number_of(status, "uptimeSeconds"), uptime);
    printf("progressd %s, up %s, %s, listens on %s\n", text_of(status, "version"), uptime,
           text_of(status, "readiness"), text_of(status, "listen"));
    printf("redis     %s%s\n", text_of(redis, "server"),
           is_true(redis, "embedded") ? " (embedded)" : "");
    cJSON_ArrayForEach(worker, cJSON_GetObjectItemCaseSensitive(status, "workers"))
    {
        print_worker(worker);
    }
    print_recorder(cJSON_GetObjectItemCaseSensitive(status, "recorder"));
}

static int show(const struct command *command, const struct http_reply *reply, bool json)
{
    if (reply->status != 200) {
        command_complain(command, "the admin port answers with HTTP status %d", reply->status);
        return EXIT_FAILED;
    }
    if (json) {
        fwrite(reply->body.data, 1, reply->body.len, stdout);
        return EXIT_DONE;
    }
    cJSON *status = cJSON_ParseWithLength(reply->body.data, reply->body.len);
    if (!status) {
        command_complain(command, "the answer is no JSON");
        return EXIT_FAILED;
    }
    print_status(status);
    cJSON_Delete(status);
    return EXIT_DONE;
}

static int status_run(const struct command *command, int argc, char **argv)
{
    const char *url = NULL;
    bool json = false;
    const struct option_def defs[] = {
        {"admin-url", 0, OPTION_TEXT, &url, 0, 0},
        {"json", 0, OPTION_FLAG, &json, 0, 0},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 0, 0};
    struct wire_address address;
    struct http_reply reply;
    char **operands;
    int count, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    url = option_or_environment(url, "PROGRESSD_ADMIN_URL", ADMIN_URL_DEFAULT);
    if (wire_address_parse(url, &address) != 0) {
        command_complain(command, "--admin-url: must be http[s]://HOST[:PORT][/PATH]");
        return EXIT_USAGE;
    }
    rc = http_client_get(&address, "/status", NULL, 0, wire_deadline(SERVER_PATIENCE_MS), &reply);
    if (rc) {
        server_complain(command, &address, rc);
        return EXIT_NO_WAY;
    }
    rc = show(command, &reply, json);
    http_reply_deinit(&reply);
    return rc;
}

const struct command command_status = {
    .name = "status",
    .operands = "",
    .summary = "show how a broker's processes are doing",
    .help = "  --admin-url URL          the broker's admin port: http[s]://HOST[:PORT];\n"
            "                           $PROGRESSD_ADMIN_URL, or " ADMIN_URL_DEFAULT "\n"
            "  --json                   print the answer as it is\n"
            "\n"
            "Exit status: 0, whether the broker is ready or not; 1 it can't tell; 2 wrong usage;\n"
            "3 the admin port is out of reach.\n",
    .run = status_run,
};
