#include "broker/config/config_options.h"

#include <ctype.h>
#include <string.h>

#include "common/mem.h"

#define MEMBER(member) offsetof(struct config, member)

#define HOUR 3600000U /* milliseconds */
#define SECOND 1000U

/* clang-format off */
#define NO_RANGE {0, 0}

const struct config_option config_options[CONFIG_OPTION_COUNT] = {
    {"config", "FILE", &config_type_text, MEMBER(file), NULL, NO_RANGE,
     "A file of options: lines `name = value`, with the names of this list. # and ;\n"
     "begin a comment, at the start of a line or after a blank, but not in \"quotes\".", "none"},

    {"listen", "LIST", &config_type_listeners, MEMBER(listen), "127.0.0.1:8080", NO_RANGE,
     "Where clients connect: ADDR:PORT, or https://ADDR:PORT for TLS; several, separated\n"
     "by blanks. [::1]:8080 is IPv6, *:8080 every address; port 0 is any port that is\n"
     "free.", NULL},
    {"tls-certificate", "CHAIN[,KEY]", &config_type_certificates, MEMBER(tls_certificates), NULL,
     NO_RANGE,
     "Files (PEM) of a certificate with its chain, and of its key, which may stand in the\n"
     "same file. More of them: the option again, or separated by blanks; a client gets\n"
     "the first that is valid for the name it asks for, else the first.", "none"},
    {"proxy-protocol-from", "NETWORKS", &config_type_networks, MEMBER(proxy_protocol_from), NULL,
     NO_RANGE,
     "Load balancers that begin each connection with a PROXY protocol header (version 1\n"
     "or 2), as 192.0.2.0/24, separated by blanks: the client's address is the one that\n"
     "they tell. From there a connection without it is refused.", "none"},
    {"admin-listen", "ADDR:PORT", &config_type_address_or_off, MEMBER(admin_listen),
     "127.0.0.1:8081", NO_RANGE,
     "Where metrics, health and status are; off: nowhere.", NULL},
    {"workers", "N", &config_type_count, MEMBER(workers), "0", {0, 256},
     "Worker processes; 0: one per core.", NULL},
    {"state-dir", "DIR", &config_type_text, MEMBER(state_dir), NULL, NO_RANGE,
     "What must outlive the broker: the embedded Redis' data, a key that it made.",
     "$STATE_DIRECTORY; for root /var/lib/progressd;\n"
     "$XDG_STATE_HOME/progressd or ~/.local/state/progressd"},

    {"redis-url", "URL", &config_type_redis, MEMBER(redis), "", NO_RANGE,
     "redis://[user[:password]@]host[:port] or unix://[user:password@]/path, with\n"
     "%XX for special characters; empty: an embedded Redis is started.", "empty"},
    {"redis-prefix", "PREFIX", &config_type_prefix, MEMBER(redis_prefix), "progress:", NO_RANGE,
     "Begins all keys and channels; installations that share a Redis take different\n"
     "ones. Letters, digits, _ and -, then a colon.", NULL},
    {"recorder", "on|off", &config_type_switch, MEMBER(recorder), "on", NO_RANGE,
     "Take up what jobs publish with plain PUBLISH.", NULL},
    {"state-ttl", "SECONDS", &config_type_count, MEMBER(state_ttl_s), "86400", {1, 31536000},
     "How long a task's state stays after its last message.", NULL},
    {"max-payload", "BYTES", &config_type_count, MEMBER(max_payload), "4096", {256, 1048576},
     "The largest payload of a job's message.", NULL},
    {"resync-interval", "SECONDS", &config_type_seconds, MEMBER(resync_interval_ms), "15",
     {100, HOUR},
     "How often a worker makes sure that it missed nothing of a watched task.", NULL},
    {"linger", "SECONDS", &config_type_seconds, MEMBER(linger_ms), "10", {0, HOUR},
     "How long a task stays watched after its last subscriber left.", NULL},

    {"jwt-key", "[KID=]ALG:SOURCE", &config_type_keys, MEMBER(jwt_keys), NULL, NO_RANGE,
     "A key that tokens are checked with. ALG is HS256, HS384 or HS512, and SOURCE a\n"
     "file with the secret; or ALG is RS256, RS384, RS512, PS256, ES256, ES384, ES512 or\n"
     "EdDSA, and SOURCE a file with the public key in PEM; or SOURCE is base64:DATA.\n"
     "More keys: the option again, or separated by spaces.", "on loopback a key is made in the state directory, else one must be given"},
    {"jwt-jwks", "FILE", &config_type_text, MEMBER(jwt_jwks), NULL, NO_RANGE,
     "A JSON Web Key Set with public keys, besides those of jwt-key. It is read again\n"
     "within seconds when it changes.", "none"},
    {"jwt-issuer", "NAME", &config_type_text, MEMBER(jwt_issuer), NULL, NO_RANGE,
     "What the claim `iss` of each token must be.", "not checked"},
    {"jwt-audience", "NAME", &config_type_text, MEMBER(jwt_audience), NULL, NO_RANGE,
     "What the claim `aud` of each token must be or contain.", "not checked"},
    {"jwt-leeway", "SECONDS", &config_type_seconds, MEMBER(jwt_leeway_ms), "30", {0, 600 * SECOND},
     "How far the clock of whoever makes tokens may be from this one: `nbf` counts that\n"
     "much earlier, `exp` that much later.", NULL},
    {"allowed-origins", "LIST", &config_type_origins, MEMBER(allowed_origins), "", NO_RANGE,
     "Web pages that may connect: origins like https://app.example.com, separated by\n"
     "commas or spaces, and instead of the default. null: pages that have no origin,\n"
     "such as local files; *: any page.",
     "pages of the host and port that the client connects to"},
    {"web-root", "DIR", &config_type_text, MEMBER(web_root), NULL, NO_RANGE,
     "A folder whose files are served besides, at /: a page that watches tasks. All of\n"
     "it is public, but for names that begin with a dot.", "none"},

    {"max-connections", "N", &config_type_count, MEMBER(max_connections), "0", {0, 10000000},
     "Connections that a worker serves; 0: as many as there are descriptors for. One\n"
     "more closes one that is idle after its answer, or is told 503.", NULL},
    {"max-connections-per-address", "N", &config_type_count, MEMBER(max_connections_per_address),
     "0", {0, 10000000},
     "Connections of a worker from one address; 0: 1000 with proxy-protocol-from, else\n"
     "no limit, as it must be behind a load balancer whose address all clients share.",
     NULL},
    {"max-handshakes", "N", &config_type_count, MEMBER(max_handshakes), "1000", {1, 10000000},
     "Connections of a worker whose first request isn't complete. One more closes the\n"
     "oldest that has said nothing.", NULL},
    {"max-subscriptions", "N", &config_type_count, MEMBER(max_subscriptions), "1000", {1, 100000},
     "Tasks that one connection may watch.", NULL},
    {"message-rate", "N", &config_type_count, MEMBER(message_rate), "100", {1, 1000000},
     "Requests a second that a client may make, each task of a message counted; in a\n"
     "burst as many more as it may watch tasks. Beyond that it has to wait.",
     NULL},
    {"handshake-timeout", "SECONDS", &config_type_seconds, MEMBER(handshake_timeout_ms), "10",
     {100, HOUR},
     "How long a client's request may take to arrive.", NULL},
    {"subscribe-timeout", "SECONDS", &config_type_seconds, MEMBER(subscribe_timeout_ms), "10",
     {100, HOUR},
     "How long a connection may be without a subscription.", NULL},
    {"ping-interval", "SECONDS", &config_type_seconds, MEMBER(ping_interval_ms), "25", {100, HOUR},
     "How often a client gets a WebSocket ping.", NULL},
    {"idle-timeout", "SECONDS", &config_type_seconds, MEMBER(idle_timeout_ms), "60", {100, HOUR},
     "How long a client may be silent, pongs included.", NULL},
    {"shutdown-timeout", "SECONDS", &config_type_seconds, MEMBER(shutdown_timeout_ms), "5",
     {0, 10 * 60 * SECOND},
     "How long clients get for the closing handshake when the broker ends.", NULL},
    {"drain-delay", "SECONDS", &config_type_seconds, MEMBER(drain_delay_ms), "0", {0, HOUR},
     "How long the broker goes on after SIGTERM, with /readyz failing, before it sends\n"
     "its clients away: what a load balancer takes to notice.", NULL},
    {"drain-timeout", "SECONDS", &config_type_seconds, MEMBER(drain_timeout_ms), "20", {0, HOUR},
     "Over how long clients are sent away, one after the other, after SIGTERM and by the\n"
     "old workers of a reload; 0: all at once.", NULL},
    {"max-connection-age", "SECONDS", &config_type_seconds, MEMBER(max_connection_age_ms), "14400",
     {0, 7 * 24 * HOUR},
     "How long a WebSocket lives, more or less a fifth, before it is sent away to come\n"
     "back: so that a load balancer can move it; 0: for ever.", NULL},
    {"worker-watchdog", "SECONDS", &config_type_seconds, MEMBER(worker_watchdog_ms), "10",
     {0, HOUR},
     "How long a worker, or the recorder, may stand still before it is ended and\n"
     "replaced; 0: for ever.", NULL},

    {"ready-needs-redis", "on|off", &config_type_switch, MEMBER(ready_needs_redis), "off", NO_RANGE,
     "Whether /readyz fails while Redis is away, also after the first contact.", NULL},
    {"log-level", "LEVEL", &config_type_log_level, MEMBER(log_level), "info", NO_RANGE,
     "error, warn, info or debug.", NULL},
    {"log-format", "FORMAT", &config_type_log_format, MEMBER(log_format), "logfmt", NO_RANGE,
     "logfmt or json.", NULL},
};
/* clang-format on */

void config_free(struct config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (config_options[i].type->clear) {
            config_options[i].type->clear(config_member(config, &config_options[i]));
        }
    }
    mem_free(config);
}

void config_free_at(struct config **config)
{
    config_free(*config);
}

const struct config_option *config_option_find(const char *name, size_t len)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (strlen(config_options[i].name) == len &&
            memcmp(config_options[i].name, name, len) == 0) {
            return &config_options[i];
        }
    }
    return NULL;
}

const struct config_option *config_option_of_name(const char *name, size_t len, bool *ret_in_file)
{
    static const size_t suffix_len = sizeof(CONFIG_FILE_SUFFIX) - 1;
    const struct config_option *option = config_option_find(name, len);

    *ret_in_file = false;
    if (!option && len > suffix_len &&
        memcmp(name + len - suffix_len, CONFIG_FILE_SUFFIX, suffix_len) == 0) {
        option = config_option_find(name, len - suffix_len);
        option = option && option->type->is_secret ? option : NULL;
        *ret_in_file = option != NULL;
    }
    return option;
}

#define NAME_MAX_LEN 40 /* longer than any option's */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many characters must be added, taken away or changed to make one of the other (Levenshtein).
 * Both are at most NAME_MAX_LEN long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[NAME_MAX_LEN + 1];

    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t changed = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_len];
}

const struct config_option *config_option_guess(const char *name, size_t len)
{
    const struct config_option *best = NULL;
    size_t best_distance = 3; /* more than two mistakes are another word */

    if (len > NAME_MAX_LEN) {
        return NULL;
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        size_t d = distance(name, len, config_options[i].name, strlen(config_options[i].name));

        if (d < best_distance && d < len) {
            best_distance = d;
            best = &config_options[i];
        }
    }
    return best;
}

void config_option_variable(const struct config_option *option, char buffer[CONFIG_VARIABLE_SIZE])
{
    size_t len = strlen(CONFIG_VARIABLE_PREFIX);

    memcpy(buffer, CONFIG_VARIABLE_PREFIX, len);
    for (const char *at = option->name; *at; at++) {
        assert(len < CONFIG_VARIABLE_SIZE - 1);
        buffer[len++] = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
    buffer[len] = '\0';
}

/* Appends the lines, each with six spaces before it. */
static void indented(struct text *text, const char *lines)
{
    for (;;) {
        size_t len = strcspn(lines, "\n");

        text_puts(text, "      ");
        text_append(text, lines, len);
        text_puts(text, "\n");
        if (!lines[len]) {
            return;
        }
        lines += len + 1;
    }
}

static void help_of(const struct config_option *option, struct text *text)
{
    text_printf(text, "  --%s %s\n", option->name, option->placeholder);
    indented(text, option->help);
    text_puts(text, "      Default: ");
    for (const char *at = option->help_start ? option->help_start : option->initial; *at; at++) {
        text_append(text, at, 1);
        if (*at == '\n') {
            text_puts(text, "      ");
        }
    }
    text_puts(text, "\n");
}

void config_options_help(struct text *text)
{
    text_puts(
        text,
        "Usage: progressd [OPTION]...\n"
        "Shows people how their jobs are doing, live: from Redis to WebSocket and HTTP.\n"
        "\n"
        "Each option may be a flag, --redis-url URL or --redis-url=URL; an environment\n"
        "variable, PROGRESSD_REDIS_URL; or a line of the file, redis-url = URL. A flag goes\n"
        "before the environment, and that before the file. An empty variable counts as none.\n"
        "\n"
        "Secrets: redis-url and jwt-key may also be given as redis-url-file and jwt-key-file,\n"
        "with the path of a file that holds the value; so may their variables, with _FILE. As\n"
        "flags they are covered in what ps shows, once progressd runs. Children inherit no\n"
        "PROGRESSD_ variables. A file with a secret that every user may read, or that belongs\n"
        "to another user, is warned of, also by --check-config.\n"
        "\n");
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        help_of(&config_options[i], text);
    }
    text_puts(text, "  --check-config\n"
                    "      Check all options, and the file's with their lines, and end.\n"
                    "  --help\n"
                    "      Show this text and end.\n"
                    "  --version\n"
                    "      Show the version and end.\n");
}
