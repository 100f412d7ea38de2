#include "broker/config/config_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_url.h"
#include "common/secret_file.h"
#include "proto/task_key.h"

PRINTF_LIKE(2, 3) static int invalid(char *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, CONFIG_WHY_SIZE, format, arguments);
    va_end(arguments);
    return CONFIG_INVALID;
}

/* Reads decimal digits, all of the `len` characters and at least one; false also above `max`. */
static bool read_digits(const char *text, size_t len, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (len == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (number > max) {
            return false;
        }
    }
    *ret_number = number;
    return true;
}

/* ── Texts ───────────────────────────────────────────────────────────────────────────────────── */

static int text_read(const struct config_range *range, const char *text, void *member, char *why)
{
    char *copy = NULL;

    if (*text) {
        copy = mem_strndup(text, strlen(text));
        if (!copy) {
            return -ENOMEM;
        }
    }
    mem_free(*(char **)member);
    *(char **)member = copy;
    return 0;
}

static void text_write(const void *member, struct text *text)
{
    const char *value = *(char *const *)member;

    text_puts(text, value ? value : "");
}

static void text_clear(void *member)
{
    mem_free(*(char **)member);
    *(char **)member = NULL;
}

const struct config_type config_type_text = {
    .read = text_read, .write = text_write, .clear = text_clear};

static int prefix_read(const struct config_range *range, const char *text, void *member, char *why)
{
    if (!prefix_is_valid(text, strlen(text))) {
        return invalid(why, "must be letters, digits, _ and -, then one colon, at most %d in all",
                       PREFIX_MAX);
    }
    return text_read(range, text, member, why);
}

const struct config_type config_type_prefix = {
    .read = prefix_read, .write = text_write, .clear = text_clear};

/* ── Addresses ───────────────────────────────────────────────────────────────────────────────── */

/* Reads what stands before the port's colon. */
static bool read_ip(const char *text, size_t len, struct config_address *address)
{
    char ip[INET6_ADDRSTRLEN + 2];
    struct in6_addr binary;

    if (len >= sizeof(ip)) {
        return false;
    }
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (strcmp(ip, "*") == 0) {
        address->kind = CONFIG_ADDRESS_ALL;
        return true;
    }
    if (strcmp(ip, "localhost") == 0) {
        strcpy(ip, "127.0.0.1");
    }
    int family = AF_INET;
    char *start = ip;
    address->kind = CONFIG_ADDRESS_IP4;
    if (ip[0] == '[' && ip[len - 1] == ']') {
        family = AF_INET6;
        ip[len - 1] = '\0';
        start++;
        address->kind = CONFIG_ADDRESS_IP6;
    }
    return inet_pton(family, start, &binary) == 1 &&
           inet_ntop(family, &binary, address->ip, sizeof(address->ip));
}

static int address_read(const struct config_range *range, const char *text, void *member, char *why)
{
    struct config_address address = {0};
    const char *colon = strrchr(text, ':');
    uint64_t port;

    if (!colon || !read_ip(text, (size_t)(colon - text), &address)) {
        return invalid(why, "must be ADDR:PORT with an IP address, as 127.0.0.1:8080, [::1]:8080 "
                            "or *:8080");
    }
    if (!read_digits(colon + 1, strlen(colon + 1), UINT16_MAX, &port)) {
        return invalid(why, "must have a port from 0 to 65535");
    }
    address.port = (uint16_t)port;
    *(struct config_address *)member = address;
    return 0;
}

static void address_write(const void *member, struct text *text)
{
    char buffer[CONFIG_ADDRESS_SIZE];

    config_address_format(member, buffer);
    text_puts(text, buffer);
}

static int address_or_off_read(const struct config_range *range, const char *text, void *member,
                               char *why)
{
    if (strcmp(text, "off") == 0) {
        *(struct config_address *)member = (struct config_address){.kind = CONFIG_ADDRESS_OFF};
        return 0;
    }
    return address_read(range, text, member, why);
}

const struct config_type config_type_address_or_off = {.read = address_or_off_read,
                                                       .write = address_write};

/* ADDR:PORT, http://ADDR:PORT or https://ADDR:PORT */
static int add_listener(struct config_listeners *listeners, const char *word, size_t len, char *why)
{
    char copy[CONFIG_ADDRESS_SIZE + sizeof("https://")];
    struct config_listener *listener = &listeners->items[listeners->count];
    const char *address = copy;

    if (listeners->count == CONFIG_LISTENERS_MAX) {
        return invalid(why, "may have %d addresses", CONFIG_LISTENERS_MAX);
    }
    snprintf(copy, sizeof(copy), "%.*s", (int)len, word);
    listener->tls = strncmp(copy, "https://", 8) == 0;
    if (listener->tls) {
        address += 8;
    } else if (strncmp(copy, "http://", 7) == 0) {
        address += 7;
    }
    listeners->count++;
    return address_read(NULL, address, &listener->address, why);
}

static int listeners_read(const struct config_range *range, const char *text, void *member,
                          char *why)
{
    struct config_listeners listeners = {.count = 0};

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        int rc = add_listener(&listeners, text, len, why);

        if (rc) {
            return rc;
        }
        text += len;
    }
    if (listeners.count == 0) {
        return invalid(why, "must be ADDR:PORT, or https://ADDR:PORT for TLS");
    }
    *(struct config_listeners *)member = listeners;
    return 0;
}

static void listeners_write(const void *member, struct text *text)
{
    config_listeners_format(member, text);
}

const struct config_type config_type_listeners = {.read = listeners_read, .write = listeners_write};

static int networks_read(const struct config_range *range, const char *text, void *member,
                         char *why)
{
    struct span fault;
    int rc = networks_add(member, text, &fault);

    return rc == NETWORK_INVALID
               ? invalid(why, "must be networks like 192.0.2.0/24 or 2001:db8::/32, not %.*s",
                         (int)fault.len, fault.at)
               : rc;
}

static void networks_write_option(const void *member, struct text *text)
{
    networks_write(member, text);
}

static void networks_clear(void *member)
{
    networks_deinit(member);
}

const struct config_type config_type_networks = {.read = networks_read,
                                                 .write = networks_write_option,
                                                 .clear = networks_clear,
                                                 .is_repeatable = true};

/* ── Certificates ────────────────────────────────────────────────────────────────────────────── */

static void certificates_clear(void *member)
{
    struct config_certificates *certificates = member;

    for (size_t i = 0; i < certificates->count; i++) {
        mem_free(certificates->items[i].chain_file);
        mem_free(certificates->items[i].key_file);
    }
    mem_free(certificates->items);
    *certificates = (struct config_certificates){NULL, 0};
}

/* CHAIN or CHAIN,KEY */
static int add_certificate(struct config_certificates *certificates, const char *word, size_t len)
{
    const char *comma = memchr(word, ',', len);
    const size_t chain_len = comma ? (size_t)(comma - word) : len;
    struct config_certificate *items =
        mem_realloc(certificates->items, (certificates->count + 1) * sizeof(*items));

    if (!items) {
        return -ENOMEM;
    }
    certificates->items = items;
    struct config_certificate *certificate = &items[certificates->count];
    certificate->chain_file = mem_strndup(word, chain_len);
    certificate->key_file = comma ? mem_strndup(comma + 1, len - chain_len - 1) : NULL;
    certificates->count++;
    return certificate->chain_file && (!comma || certificate->key_file) ? 0 : -ENOMEM;
}

static int certificates_read(const struct config_range *range, const char *text, void *member,
                             char *why)
{
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        int rc = add_certificate(member, text, len);

        if (rc) {
            return rc;
        }
        text += len;
    }
    return 0;
}

static void certificates_write(const void *member, struct text *text)
{
    const struct config_certificates *certificates = member;

    for (size_t i = 0; i < certificates->count; i++) {
        const struct config_certificate *certificate = &certificates->items[i];

        text_printf(text, "%s%s%s%s", i > 0 ? " " : "", certificate->chain_file,
                    certificate->key_file ? "," : "",
                    certificate->key_file ? certificate->key_file : "");
    }
}

/* The files that keys are read from: who may read them. */
static void certificates_judge(const char *text, const char *where, struct text *message)
{
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        const char *comma = memchr(text, ',', len);
        const char *path_at = comma ? comma + 1 : text;
        char path[PATH_MAX], why[SECRET_FILE_WHY_SIZE];

        snprintf(path, sizeof(path), "%.*s", (int)(text + len - path_at), path_at);
        if (secret_file_judge(path, why) > 0) {
            text_printf(message, "%s: %s %s\n", where, path, why);
        }
        text += len;
    }
}

const struct config_type config_type_certificates = {
    .read = certificates_read,
    .write = certificates_write,
    .clear = certificates_clear,
    .judge = certificates_judge,
    .is_repeatable = true,
};

static int redis_read(const struct config_range *range, const char *text, void *member, char *why)
{
    struct redis_url redis;
    int rc = redis_url_read(text, &redis, why);

    if (rc == 0) {
        redis_url_deinit(member);
        *(struct redis_url *)member = redis;
    }
    return rc == REDIS_URL_INVALID ? CONFIG_INVALID : rc;
}

static void redis_write(const void *member, struct text *text)
{
    text_puts(text, ((const struct redis_url *)member)->url);
}

static void redis_clear(void *member)
{
    redis_url_deinit(member);
}

const struct config_type config_type_redis = {
    .read = redis_read, .write = redis_write, .clear = redis_clear, .is_secret = true};

/* ── Lists ───────────────────────────────────────────────────────────────────────────────────── */

static bool same_kid(const struct jwt_key *a, const struct jwt_key *b)
{
    return a->kid && b->kid ? strcmp(a->kid, b->kid) == 0 : a->kid == b->kid;
}

/* Takes over the key when it succeeds. */
static int add_key(struct config_keys *keys, const struct jwt_key *key, char *why)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (same_kid(&keys->items[i], key)) {
            return key->kid ? invalid(why, "has two keys with the KID %s", key->kid)
                            : invalid(why, "has two keys without a KID: which is meant could not "
                                           "be told");
        }
    }
    struct jwt_key *items = mem_realloc(keys->items, (keys->count + 1) * sizeof(*items));
    if (!items) {
        return -ENOMEM;
    }
    keys->items = items;
    items[keys->count++] = *key;
    return 0;
}

static int read_key(const char *word, size_t len, struct config_keys *keys, char *why)
{
    struct jwt_key key;
    CLEANUP(mem_free_at) char *copy = mem_strndup(word, len);

    if (!copy) {
        return -ENOMEM;
    }
    int rc = jwt_key_read(copy, JWT_KEY_CHECKS, &key, why);
    explicit_bzero(copy, len);
    if (rc) {
        return rc == JWT_KEY_INVALID ? CONFIG_INVALID : rc;
    }
    rc = add_key(keys, &key, why);
    if (rc) {
        jwt_key_deinit(&key);
    }
    return rc;
}

static int keys_read(const struct config_range *range, const char *text, void *member, char *why)
{
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        int rc = read_key(text, len, member, why);

        if (rc) {
            return rc;
        }
        text += len;
    }
    return 0;
}

/* Whether the word is a key whose file must not be read by everybody. */
static bool word_is_secret(const char *colon, const char *text)
{
    const char *equals = memchr(text, '=', (size_t)(colon - text));

    return strncmp(equals ? equals + 1 : text, "HS", 2) == 0;
}

/* The files with secrets that the words name: who may read them. */
static void keys_judge(const char *text, const char *where, struct text *message)
{
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        const char *colon = memchr(text, ':', len);
        char path[PATH_MAX], why[SECRET_FILE_WHY_SIZE];

        snprintf(path, sizeof(path), "%.*s", colon ? (int)(text + len - colon - 1) : 0,
                 colon ? colon + 1 : "");
        if (colon && word_is_secret(colon, text) && strncmp(path, "base64:", 7) != 0 &&
            secret_file_judge(path, why) > 0) {
            text_printf(message, "%s: %s %s\n", where, path, why);
        }
        explicit_bzero(path, sizeof(path));
        text += len;
    }
}

static void keys_write(const void *member, struct text *text)
{
    const struct config_keys *keys = member;

    for (size_t i = 0; i < keys->count; i++) {
        text_puts(text, i > 0 ? " " : "");
        jwt_key_write(&keys->items[i], text);
    }
}

static void keys_clear(void *member)
{
    struct config_keys *keys = member;

    for (size_t i = 0; i < keys->count; i++) {
        jwt_key_deinit(&keys->items[i]);
    }
    mem_free(keys->items);
    *keys = (struct config_keys){0};
}

const struct config_type config_type_keys = {.read = keys_read,
                                             .judge = keys_judge,
                                             .write = keys_write,
                                             .clear = keys_clear,
                                             .is_repeatable = true,
                                             .is_secret = true};

static int origins_read(const struct config_range *range, const char *text, void *member, char *why)
{
    struct span fault;
    int rc = origins_add(member, text, &fault);

    if (rc == ORIGIN_INVALID) {
        return invalid(
            why,
            "must be origins, scheme://host[:port] without a path, or * or null; \"%.*s\" "
            "is none",
            (int)(fault.len < 100 ? fault.len : 100), fault.at);
    }
    return rc;
}

static void origins_value_write(const void *member, struct text *text)
{
    origins_write(member, text);
}

static void origins_clear(void *member)
{
    origins_deinit(member);
}

const struct config_type config_type_origins = {.read = origins_read,
                                                .write = origins_value_write,
                                                .clear = origins_clear,
                                                .is_repeatable = true};

/* ── Numbers ─────────────────────────────────────────────────────────────────────────────────── */

static int count_read(const struct config_range *range, const char *text, void *member, char *why)
{
    uint64_t number;

    if (!read_digits(text, strlen(text), range->max, &number) || number < range->min) {
        return invalid(why, "must be a whole number from %u to %u", range->min, range->max);
    }
    *(uint32_t *)member = (uint32_t)number;
    return 0;
}

static void count_write(const void *member, struct text *text)
{
    text_printf(text, "%u", *(const uint32_t *)member);
}

const struct config_type config_type_count = {.read = count_read, .write = count_write};

/* Reads "12", "0.5", "1.250": whole seconds, and up to three decimals. */
static bool read_milliseconds(const char *text, uint32_t max, uint64_t *ret_milliseconds)
{
    size_t whole_len = strcspn(text, ".");
    const char *decimals = text[whole_len] ? text + whole_len + 1 : "0";
    size_t decimals_len = strlen(decimals);
    uint64_t whole, fraction;

    if (!read_digits(text, whole_len, max / 1000, &whole) || decimals_len > 3 ||
        !read_digits(decimals, decimals_len, 999, &fraction)) {
        return false;
    }
    for (; decimals_len < 3; decimals_len++) {
        fraction *= 10;
    }
    *ret_milliseconds = whole * 1000 + fraction;
    return true;
}

static int seconds_read(const struct config_range *range, const char *text, void *member, char *why)
{
    uint64_t milliseconds;

    if (!read_milliseconds(text, range->max, &milliseconds) || milliseconds < range->min ||
        milliseconds > range->max) {
        return invalid(why, "must be a number of seconds from %g to %g, as 30 or 0.5",
                       range->min / 1000.0, range->max / 1000.0);
    }
    *(uint32_t *)member = (uint32_t)milliseconds;
    return 0;
}

static void seconds_write(const void *member, struct text *text)
{
    uint32_t milliseconds = *(const uint32_t *)member;

    text_printf(text, "%u.%03u", milliseconds / 1000, milliseconds % 1000);
}

const struct config_type config_type_seconds = {.read = seconds_read, .write = seconds_write};

/* ── Choices ─────────────────────────────────────────────────────────────────────────────────── */

static int switch_read(const struct config_range *range, const char *text, void *member, char *why)
{
    bool is_on = strcmp(text, "on") == 0;

    if (!is_on && strcmp(text, "off") != 0) {
        return invalid(why, "must be on or off");
    }
    *(bool *)member = is_on;
    return 0;
}

static void switch_write(const void *member, struct text *text)
{
    text_puts(text, *(const bool *)member ? "on" : "off");
}

const struct config_type config_type_switch = {.read = switch_read, .write = switch_write};

static int log_level_read(const struct config_range *range, const char *text, void *member,
                          char *why)
{
    if (log_level_from_name(text, member) != 0) {
        return invalid(why, "must be error, warn, info or debug");
    }
    return 0;
}

static void log_level_write(const void *member, struct text *text)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

    text_puts(text, names[*(const enum log_level *)member]);
}

const struct config_type config_type_log_level = {.read = log_level_read, .write = log_level_write};

static int log_format_read(const struct config_range *range, const char *text, void *member,
                           char *why)
{
    if (log_format_from_name(text, member) != 0) {
        return invalid(why, "must be logfmt or json");
    }
    return 0;
}

static void log_format_write(const void *member, struct text *text)
{
    text_puts(text, *(const enum log_format *)member == LOG_JSON ? "json" : "logfmt");
}

const struct config_type config_type_log_format = {.read = log_format_read,
                                                   .write = log_format_write};
