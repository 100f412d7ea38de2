#include "client/cli/redis_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/secret.h"
#include "common/secret_file.h"
#include "common/state_dir.h"
#include "proto/task_key.h"

#define PREFIX_DEFAULT "progress:"

/* The socket of the Redis that a broker runs where none is configured. */
static int embedded_url(const struct redis_target_options *options, struct text *url)
{
    const char *set = option_or_environment(options->state_dir, "PROGRESSD_STATE_DIR", NULL);
    char directory[PATH_MAX], here[PATH_MAX] = "";
    char path[2 * PATH_MAX + sizeof("/" STATE_DIR_REDIS_SOCKET)];

    if (!set) {
        int rc = state_dir_default(environ, directory);
        if (rc) {
            return rc;
        }
        set = directory;
    }
    /* A URL has no place for a path that begins here. */
    if (set[0] != '/' && !getcwd(here, sizeof(here))) {
        return -errno;
    }
    if (snprintf(path, sizeof(path), "%s%s%s/" STATE_DIR_REDIS_SOCKET, here, here[0] ? "/" : "",
                 set) >= (int)sizeof(path)) {
        return -ENAMETOOLONG;
    }
    redis_url_of_socket(path, url);
    return text_failed(url) ? -ENOMEM : 0;
}

static int find_server(const struct command *command, const struct redis_target_options *options,
                       struct redis_url *ret_server)
{
    CLEANUP(secret_text_deinit) struct text made = TEXT_EMPTY;
    char why[REDIS_URL_WHY_SIZE] = "";
    int rc = SECRET_NONE;

    if (options->redis_url) {
        text_puts(&made, options->redis_url);
        secret_cover_url(options->redis_url);
        rc = text_failed(&made) ? -ENOMEM : 0;
    } else if (!options->state_dir) {
        rc = secret_from_environment("PROGRESSD_REDIS_URL", &made);
    }
    if (rc == SECRET_NONE) {
        rc = embedded_url(options, &made);
    }
    if (rc == 0) {
        rc = redis_url_read(made.data ? made.data : "", ret_server, why);
    }
    if (rc == 0 && ret_server->kind == REDIS_URL_NONE) {
        redis_url_deinit(ret_server);
        rc = REDIS_URL_INVALID;
        snprintf(why, sizeof(why), "must not be empty");
    }
    if (rc) {
        command_complain(command, "--redis-url %s", rc < 0 ? strerror(-rc) : why);
    }
    return rc;
}

int redis_target_find(const struct command *command, const struct redis_target_options *options,
                      struct redis_target *ret_target)
{
    const char *prefix =
        option_or_environment(options->prefix, "PROGRESSD_REDIS_PREFIX", PREFIX_DEFAULT);
    struct redis_url server;

    if (!prefix_is_valid(prefix, strlen(prefix))) {
        command_complain(command, "--prefix: must be A-Z a-z 0-9 _ - and a colon");
        return EXIT_USAGE;
    }
    if (find_server(command, options, &server) != 0) {
        return EXIT_USAGE;
    }
    *ret_target = (struct redis_target){server, prefix};
    return EXIT_DONE;
}

void redis_target_deinit(struct redis_target *target)
{
    redis_url_deinit(&target->server);
}
