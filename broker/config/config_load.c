#include "broker/config/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "broker/config/config_sources.h"
#include "common/mem.h"
#include "common/redis_url.h"
#include "common/secret_file.h"
#include "common/state_dir.h"

#define WORKERS_MAX 256

static bool has_flag(int argc, char *const *argv, const char *flag)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], flag) == 0) {
            return true;
        }
    }
    return false;
}

/* Replaces a relative path, the value of `option`, by an absolute one. */
static int make_absolute(struct config_loading *loading, const char *option, char **path)
{
    char whole[PATH_MAX];
    CLEANUP(text_deinit) struct text absolute = TEXT_EMPTY;

    if (**path == '/') {
        return 0;
    }
    if (!getcwd(whole, sizeof(whole))) {
        text_printf(loading->message, "%s: cannot find the current directory: %s\n", option,
                    strerror(errno));
        return CONFIG_INVALID;
    }
    text_printf(&absolute, "%s/%s", whole, *path);
    char *copy = text_failed(&absolute) ? NULL : mem_strndup(absolute.data, absolute.len);
    if (!copy) {
        return -ENOMEM;
    }
    mem_free(*path);
    *path = copy;
    return 0;
}

/* Fills in the default of the state directory, and makes its path absolute. */
static int resolve_state_dir(struct config_loading *loading, char *const *environment)
{
    char **state_dir = &loading->config->state_dir;
    char path[PATH_MAX];

    if (!*state_dir) {
        if (state_dir_default(environment, path) != 0) {
            text_puts(loading->message, "state-dir: must be given, since neither STATE_DIRECTORY "
                                        "nor XDG_STATE_HOME nor HOME is set\n");
            return CONFIG_INVALID;
        }
        *state_dir = mem_strndup(path, strlen(path));
        if (!*state_dir) {
            return -ENOMEM;
        }
    }
    return make_absolute(loading, "state-dir", state_dir);
}

static void warn_of_unsafe(struct config_loading *loading, const char *option, const char *path)
{
    char why[SECRET_FILE_WHY_SIZE];

    if (secret_file_judge(path, why) == SECRET_FILE_UNSAFE) {
        text_printf(loading->message, "%s: %s %s\n", option, path, why);
    }
}

/* Who else may get at the state directory, and at the key in it. */
static void judge_state_dir(struct config_loading *loading)
{
    const struct config *config = loading->config;
    char key[PATH_MAX];

    warn_of_unsafe(loading, "state-dir", config->state_dir);
    if (config->jwt_keys.count == 0 && !config->jwt_jwks &&
        snprintf(key, sizeof(key), "%s/" JWT_KEY_FILE, config->state_dir) < (int)sizeof(key)) {
        warn_of_unsafe(loading, "state-dir", key);
    }
}

/* Makes its path absolute, and sees whether files in it could be opened. */
static int resolve_web_root(struct config_loading *loading)
{
    char **web_root = &loading->config->web_root;

    if (!*web_root) {
        return 0;
    }
    int rc = make_absolute(loading, "web-root", web_root);
    if (rc) {
        return rc;
    }
    int fd = open(*web_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", X_OK, AT_EACCESS) < 0) {
        text_printf(loading->message, "web-root: %s: %s\n", *web_root, strerror(errno));
        rc = CONFIG_INVALID;
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int check_whole(struct config_loading *loading)
{
    const struct config *config = loading->config;

    if (config->jwt_keys.count == 0 && !config->jwt_jwks && !config_is_loopback_only(config)) {
        text_puts(loading->message,
                  "jwt-key: must be given, since listen is not loopback only and clients are told "
                  "apart by their tokens alone. Make a secret, as `openssl rand -base64 48 > "
                  "jwt.key`, sign the tokens with it, and start with --jwt-key HS256:jwt.key\n");
        return CONFIG_INVALID;
    }
    if (config_listens_by_tls(config) && config->tls_certificates.count == 0) {
        text_puts(loading->message,
                  "tls-certificate: must be given, since listen has an address for TLS\n");
        return CONFIG_INVALID;
    }
    if (!config_listens_by_tls(config) && config->tls_certificates.count > 0) {
        text_puts(loading->message, "tls-certificate: is not used, since no address of listen "
                                    "begins with https://\n");
    }
    if (config->ping_interval_ms >= config->idle_timeout_ms) {
        text_puts(loading->message, "ping-interval: is not shorter than idle-timeout, so clients "
                                    "that only listen will be closed\n");
    }
    return 0;
}

/* Clients of one address that a worker serves, once it knows their addresses: many people behind
 * one office's address, and far less than a worker has room for. */
#define PER_ADDRESS_BY_DEFAULT 1000

static int resolve(struct config_loading *loading, char *const *environment)
{
    struct config *config = loading->config;

    if (config->workers == 0) {
        unsigned cores = uv_available_parallelism();
        config->workers = cores < WORKERS_MAX ? cores : WORKERS_MAX;
    }
    if (config->max_connections_per_address == 0 && config->proxy_protocol_from.count > 0) {
        config->max_connections_per_address = PER_ADDRESS_BY_DEFAULT;
    }
    int rc = resolve_state_dir(loading, environment);
    rc = rc ? rc : resolve_web_root(loading);
    if (rc == 0 && loading->config->jwt_jwks) {
        rc = make_absolute(loading, "jwt-jwks", &loading->config->jwt_jwks);
    }
    if (rc == 0) {
        judge_state_dir(loading);
    }
    return rc ? rc : check_whole(loading);
}

int config_load(int argc, char *const *argv, char *const *environment, struct config **ret_config,
                struct text *message)
{
    if (has_flag(argc, argv, "--help")) {
        config_options_help(message);
        return text_failed(message) ? -ENOMEM : CONFIG_HELP;
    }
    if (has_flag(argc, argv, "--version")) {
        text_puts(message, "progressd " PROGRESSD_VERSION "\n");
        return text_failed(message) ? -ENOMEM : CONFIG_VERSION;
    }
    CLEANUP(config_free_at) struct config *config = mem_zalloc(1, sizeof(*config));
    struct config_loading loading = {.config = config, .message = message};
    if (!config) {
        return -ENOMEM;
    }
    int rc = config_read_sources(&loading, argc, argv, environment);
    if (rc == 0) {
        rc = resolve(&loading, environment);
    }
    if (text_failed(message)) {
        return -ENOMEM;
    }
    if (rc) {
        return rc;
    }
    *ret_config = TAKE(config);
    return has_flag(argc, argv, "--check-config") ? CONFIG_CHECKED : 0;
}

/* ── What the supervisor adds ────────────────────────────────────────────────────────────────── */

static int failed_at(const char *path, const char *what, int rc, struct text *message)
{
    text_printf(message, "%s: %s: %s\n", path, what, strerror(-rc));
    return rc == -ENOMEM || text_failed(message) ? -ENOMEM : CONFIG_INVALID;
}

/* Makes the key file unless there is one. */
static int provide_key_file(const struct config *config, const char *path, bool *ret_made,
                            struct text *message)
{
    int rc = state_dir_make(config->state_dir);

    if (rc) {
        return failed_at(config->state_dir, "cannot make the state directory", rc, message);
    }
    rc = access(path, F_OK) == 0 ? -EEXIST : jwt_key_make_file(path);
    if (rc && rc != -EEXIST) {
        return failed_at(path, "cannot make the key", rc, message);
    }
    *ret_made = rc == 0;
    return 0;
}

int config_ensure_key(struct config *config, bool *ret_made, struct text *message)
{
    char source[PATH_MAX + 16], why[CONFIG_WHY_SIZE];
    const char *path = source + strlen("HS256:");
    bool made;

    if (config->jwt_keys.count > 0 || config->jwt_jwks) {
        *ret_made = false;
        return 0;
    }
    if (snprintf(source, sizeof(source), "HS256:%s/%s", config->state_dir, JWT_KEY_FILE) >=
        (int)sizeof(source)) {
        return failed_at(config->state_dir, "cannot make a key in it", -ENAMETOOLONG, message);
    }
    int rc = provide_key_file(config, path, &made, message);
    if (rc) {
        return rc;
    }
    struct jwt_key *key = mem_zalloc(1, sizeof(*key));
    if (!key) {
        return -ENOMEM;
    }
    rc = jwt_key_read(source, JWT_KEY_CHECKS, key, why);
    if (rc) {
        mem_free(key);
        text_printf(message, "%s: %s\n", path, rc == JWT_KEY_INVALID ? why : strerror(-rc));
        return rc == JWT_KEY_INVALID && !text_failed(message) ? CONFIG_INVALID : -ENOMEM;
    }
    config->jwt_keys = (struct config_keys){key, 1};
    *ret_made = made;
    return 0;
}

int config_set_redis_socket(struct config *config, const char *path)
{
    struct redis_url redis;
    char why[CONFIG_WHY_SIZE];
    struct text url = TEXT_EMPTY;

    redis_url_of_socket(path, &url);
    int rc = text_failed(&url) ? -ENOMEM : redis_url_read(url.data, &redis, why);
    text_deinit(&url);
    if (rc == 0) {
        redis_url_deinit(&config->redis);
        config->redis = redis;
    }
    return rc == REDIS_URL_INVALID ? CONFIG_INVALID : rc;
}
