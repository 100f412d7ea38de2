/* progressd: reads the configuration, and becomes the supervisor or one of its children.
 *
 * Exit status: 0 done, or stopped as told; 1 failed; 2 the options can't be used.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "broker/config/config.h"
#include "broker/config/config_load.h"
#include "broker/config/config_sources.h"
#include "broker/config/config_transfer.h"
#include "broker/net/tls_certificates.h"
#include "broker/process/child.h"
#include "broker/process/recorder_process.h"
#include "broker/process/redis_server.h"
#include "broker/process/supervisor.h"
#include "broker/process/worker.h"
#include "common/log.h"
#include "common/mem.h"

#define MODULE "main"
#define EXIT_USAGE 2

/* Descriptors that a worker needs for itself: the loop, Redis, logs, what is just being opened. No
 * client ever gets one of them. */
#define DESCRIPTORS_RESERVED 64

/* Clients in their handshake get no more than this share of the rest. */
#define HANDSHAKES_SHARE 4

extern char **environ;

/* ── Children ────────────────────────────────────────────────────────────────────────────────── */

static int refuse_child(const char *role)
{
    fprintf(stderr, "progressd: `%s` is started by progressd itself\n", role);
    return EXIT_USAGE;
}

/* Only a memory file can be sealed, so a file or a socket that happens to be open is none of ours.
 */
static bool is_started_by_supervisor(void)
{
    const int seals = fcntl(CHILD_CONFIG_FD, F_GET_SEALS);

    return seals >= 0 && (seals & F_SEAL_WRITE);
}

/* The slot named, or -1 if it isn't one of the page's. */
static int64_t slot_of(const char *text, const struct metrics_page *page)
{
    char *end;
    unsigned long slot = strtoul(text, &end, 10);

    return *text && !*end && slot < page->slots ? (int64_t)slot : -1;
}

static int run_worker(const struct config *config, const struct metrics_page *page, uint32_t slot)
{
    char name[32];

    snprintf(name, sizeof(name), CHILD_ROLE_WORKER "-%u", slot);
    log_configure(config->log_level, config->log_format, name);
    return worker_run(&(struct worker_inherited){.config = config,
                                                 .page = page,
                                                 .slot = slot,
                                                 .listen_fd = CHILD_LISTEN_FD,
                                                 .control_fd = CHILD_CONTROL_FD});
}

static int run_recorder(const struct config *config, const struct metrics_page *page, uint32_t slot)
{
    log_configure(config->log_level, config->log_format, CHILD_ROLE_RECORDER);
    return recorder_run(config, metrics_slot(page, slot), CHILD_CONTROL_FD);
}

static int run_child(const char *role, const char *slot_text)
{
    CLEANUP(config_free_at) struct config *config = NULL;
    CLEANUP(metrics_page_unmap) struct metrics_page page = {NULL, 0, 0};
    int64_t slot;

    if (!is_started_by_supervisor() || config_read_fd(CHILD_CONFIG_FD, &config) != 0 ||
        metrics_page_map(CHILD_METRICS_FD, &page) != 0 || (slot = slot_of(slot_text, &page)) < 0) {
        return refuse_child(role);
    }
    prctl(PR_SET_NAME, "progressd"); /* it would be "exe", after /proc/self/exe */
    return strcmp(role, CHILD_ROLE_WORKER) == 0 ? run_worker(config, &page, (uint32_t)slot)
                                                : run_recorder(config, &page, (uint32_t)slot);
}

static bool is_role(const char *word)
{
    return strcmp(word, CHILD_ROLE_WORKER) == 0 || strcmp(word, CHILD_ROLE_RECORDER) == 0 ||
           strcmp(word, REDIS_SERVER_ROLE) == 0;
}

static int become_child(int argc, char **argv)
{
    const char *role = argv[1];

    if (strcmp(role, REDIS_SERVER_ROLE) == 0) {
        return argc > 3 ? redis_server_exec(atoi(argv[2]), argv + 3) : refuse_child(role);
    }
    return argc == 3 ? run_child(role, argv[2]) : refuse_child(role);
}

/* ── The supervisor ──────────────────────────────────────────────────────────────────────────── */

static uint32_t at_most(uint32_t number, rlim_t limit)
{
    return number < limit ? number : (uint32_t)limit;
}

/* As many descriptors as the system allows, for this process and its children; and no more clients,
 * of each kind that has a limit of its own, than there are descriptors for. */
static void settle_descriptors(struct config *config)
{
    const rlim_t beside = DESCRIPTORS_RESERVED + CONFIG_REFUSED_MAX;
    struct rlimit limit;
    rlim_t clients;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    /* At least one of either kind. */
    clients =
        limit.rlim_max > beside + HANDSHAKES_SHARE ? limit.rlim_max - beside : HANDSHAKES_SHARE;
    config->max_handshakes = at_most(config->max_handshakes, clients / HANDSHAKES_SHARE);
    clients -= config->max_handshakes;
    if (config->max_connections > clients) {
        log_event(LOG_WARN, MODULE, "too few descriptors for max-connections; see ulimit -Hn",
                  LOG_INT("limit", (int64_t)limit.rlim_max),
                  LOG_INT("needed", (int64_t)(config->max_connections + limit.rlim_max - clients)),
                  LOG_INT("max_connections", (int64_t)clients));
    }
    config->max_connections =
        at_most(config->max_connections == 0 ? UINT32_MAX : config->max_connections, clients);
}

static int out_of_memory(void)
{
    fputs("progressd: out of memory\n", stderr);
    return EXIT_FAILURE;
}

/* Without a configured key there is one in the state directory. 0, or as config_load(). */
static int provide_key(struct config *config, struct text *message)
{
    struct text command = TEXT_EMPTY;
    bool made;

    if (config->jwt_keys.count > 0) {
        return 0;
    }
    int rc = config_ensure_key(config, &made, message);
    if (rc) {
        return rc;
    }
    text_printf(&command, "progressctl token TASK --state-dir %s", config->state_dir);
    log_event(
        LOG_INFO, MODULE,
        made ? "made a key for tokens; to get one, run the command"
             : "tokens are checked with the state directory's key; to get one, run the command",
        LOG_TEXT("command", command.data ? command.data : ""));
    text_deinit(&command);
    return 0;
}

/* What the program was started with, for as long as it lives. */
static struct {
    int argc;
    char **argv, **environment;
} started_with;

static int read_configuration(struct config **ret_config, struct text *message)
{
    CLEANUP(config_free_at) struct config *config = NULL;
    int64_t not_after_s;
    int rc = config_load(started_with.argc, started_with.argv, started_with.environment, &config,
                         message);

    if (rc == 0 || rc == CONFIG_CHECKED) {
        int checked = tls_certificates_check(config, time(NULL), message, &not_after_s);
        if (checked) {
            return checked;
        }
        *ret_config = TAKE(config);
    }
    return rc;
}

/* What depends on the machine. 0, or as config_load(). */
static int complete(struct config *config, struct text *message)
{
    settle_descriptors(config);
    return provide_key(config, message);
}

/* The configuration of a reload. 0, or as config_load(). */
static int load_again(struct config **ret_config, struct text *message)
{
    CLEANUP(config_free_at) struct config *config = NULL;
    int rc = read_configuration(&config, message);

    rc = rc ? rc : complete(config, message);
    if (rc == 0) {
        *ret_config = TAKE(config);
    }
    return rc;
}

/* What the options that end the program at once print. */
static int print(FILE *stream, const struct text *message, int status)
{
    if (message->len > 0) {
        fwrite(message->data, 1, message->len, stream);
    }
    return fflush(stream) == 0 ? status : EXIT_FAILURE;
}

/* Children have no use for options in their environment, least of all for secrets. */
static void forget_variables(void)
{
    for (char **entry = environ; *entry;) {
        char name[256];
        size_t len = strcspn(*entry, "=");

        if (strncmp(*entry, CONFIG_VARIABLE_PREFIX, strlen(CONFIG_VARIABLE_PREFIX)) != 0 ||
            len >= sizeof(name)) {
            entry++;
            continue;
        }
        memcpy(name, *entry, len);
        name[len] = '\0';
        unsetenv(name); /* moves the entries behind it up */
    }
}

/* Keeps copies of the arguments, and the environment's entries. 0 or -ENOMEM. */
static int keep(int argc, char **argv)
{
    size_t variables = 0;

    while (environ[variables]) {
        variables++;
    }
    started_with.argc = argc;
    started_with.argv = mem_zalloc((size_t)argc + 1, sizeof(*argv));
    started_with.environment = mem_zalloc(variables + 1, sizeof(*environ));
    if (!started_with.argv || !started_with.environment) {
        return -ENOMEM;
    }
    memcpy(started_with.environment, environ, variables * sizeof(*environ));
    for (int i = 0; i < argc; i++) {
        started_with.argv[i] = mem_strndup(argv[i], strlen(argv[i]));
        if (!started_with.argv[i]) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int run(int argc, char **argv)
{
    CLEANUP(text_deinit) struct text message = TEXT_EMPTY;
    CLEANUP(config_free_at) struct config *config = NULL;

    if (keep(argc, argv) < 0) {
        return out_of_memory();
    }
    config_cover_secrets(argc, argv);
    int rc = read_configuration(&config, &message);
    forget_variables();
    if (rc == 0) {
        log_configure(config->log_level, config->log_format, "supervisor");
        log_lines(LOG_WARN, "config", "warning", message.data);
        text_deinit(&message);
        rc = complete(config, &message);
    }
    switch (rc) {
    case 0:
        return supervisor_run(TAKE(config), load_again);
    case CONFIG_HELP:
    case CONFIG_VERSION:
        return print(stdout, &message, EXIT_SUCCESS);
    case CONFIG_CHECKED:
        return print(stderr, &message, EXIT_SUCCESS);
    case CONFIG_INVALID:
        return print(stderr, &message, EXIT_USAGE);
    default:
        return out_of_memory();
    }
}

int main(int argc, char **argv)
{
    /* Who writes to a peer that is gone learns it from the write. */
    signal(SIGPIPE, SIG_IGN);
    int status = argc > 1 && is_role(argv[1]) ? become_child(argc, argv) : run(argc, argv);
    log_end();
    return status;
}
