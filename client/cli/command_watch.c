#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/follower.h"
#include "client/cli/server.h"

#define GIVE_UP_DEFAULT_S 60
#define GIVE_UP_MAX_S 86400

/* Standard output is a terminal on which a line is being drawn. */
static volatile sig_atomic_t draws;

/* Nothing needs undoing but the line, so that everything may end on the spot. */
static void watch_on_signal(int number)
{
    static const char leave_line[] = "\x1b[0m\r\n";

    if (draws && write(STDOUT_FILENO, leave_line, sizeof(leave_line) - 1) < 0) {
        draws = 0;
    }
    _exit(128 + number);
}

static void catch_signals(const struct watch_display *display)
{
    const struct sigaction action = {.sa_handler = watch_on_signal};

    draws = display->mode == WATCH_DISPLAY_TERMINAL;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

/* The exit status for how following ended; what isn't the job's doing is explained. */
static int watch_conclude(const struct command *command, const struct feed *feed, int outcome)
{
    switch (outcome) {
    case FEED_ENDED:
        return feed->display->view.status == TASK_VIEW_COMPLETE ? EXIT_DONE : EXIT_FAILED;
    case FEED_UNAUTHORIZED:
    case FEED_REFUSED:
        command_complain(command, "%s", feed->why);
        return EXIT_USAGE;
    case FEED_FAILED:
        command_complain(command, "cannot reach %s: %s", feed->address->url, feed->why);
        return EXIT_NO_WAY;
    default:
        command_complain(command, "%s", strerror(-outcome));
        return EXIT_FAILED;
    }
}

static int watch_task(const struct command *command, const char *task_id,
                      const struct wire_address *address, const struct token_source *tokens,
                      bool json, uint32_t give_up_s)
{
    const int64_t give_up_ms = (int64_t)give_up_s * 1000;
    struct watch_display display;
    struct feed feed = {
        .address = address,
        .task_id = task_id,
        .tokens = tokens,
        .display = &display,
        .patience_ms = give_up_ms < SERVER_PATIENCE_MS ? give_up_ms : SERVER_PATIENCE_MS,
    };
    int outcome;

    watch_display_init(&display, json);
    catch_signals(&display);
    outcome = follower_run(&feed, give_up_ms);
    watch_display_end(&display);
    draws = 0;
    int status = watch_conclude(command, &feed, outcome);
    watch_display_deinit(&display);
    return status;
}

static int watch_run(const struct command *command, int argc, char **argv)
{
    struct server_options server = SERVER_OPTIONS_EMPTY;
    uint32_t give_up_s = GIVE_UP_DEFAULT_S;
    bool json = false;
    const struct option_def defs[] = {
        {"url", 0, OPTION_TEXT, &server.url, 0, 0},
        {"token", 0, OPTION_TEXT, &server.token.token, 0, 0},
        {"key", 0, OPTION_TEXT, &server.token.key, 0, 0},
        {"state-dir", 0, OPTION_TEXT, &server.token.state_dir, 0, 0},
        {"ttl", 0, OPTION_NUMBER, &server.token.ttl_s, 1, TOKEN_TTL_MAX_S},
        {"issuer", 0, OPTION_TEXT, &server.token.issuer, 0, 0},
        {"audience", 0, OPTION_TEXT, &server.token.audience, 0, 0},
        {"json", 0, OPTION_FLAG, &json, 0, 0},
        {"give-up", 0, OPTION_NUMBER, &give_up_s, 1, GIVE_UP_MAX_S},
    };
    const struct options options = {defs, ARRAY_LEN(defs), 1, 1};
    struct wire_address address;
    struct token_source tokens;
    char **operands;
    int count, status, rc = options_read(command, &options, argc, argv, &operands, &count);

    if (rc) {
        return options_exit_status(rc);
    }
    if (!server_task_is_valid(command, operands[0]) ||
        server_address(command, &server, &address) != EXIT_DONE ||
        server_tokens(command, &server, &tokens) != EXIT_DONE) {
        return EXIT_USAGE;
    }
    status = watch_task(command, operands[0], &address, &tokens, json, give_up_s);
    token_source_deinit(&tokens);
    return status;
}

const struct command command_watch = {
    .name = "watch",
    .operands = "TASK",
    .summary = "show a task's progress live, until it ends",
    .help = SERVER_URL_HELP SERVER_TOKEN_HELP
    "  --give-up SECONDS        without any answer from the server for that long; 60\n"
    "  --json                   print the messages instead, one a line\n"
    "\n"
    "On a terminal one line is drawn again and again, in colours unless NO_COLOR is set;\n"
    "elsewhere lines follow each other, at most one a second for the progress itself. Times are\n"
    "minutes and seconds; the speed is the job's own word, in bytes a second.\n"
    "\n"
    "The way is WebSocket. A lost connection is tried again five times, with growing random\n"
    "waits; then the task is polled over HTTP, and every minute WebSocket is tried once more.\n"
    "\n"
    "Exit status: 0 the task is complete; 1 the job failed; 2 wrong usage, or the token is\n"
    "refused; 3 the server is out of reach; 130 interrupted.\n",
    .run = watch_run,
};
