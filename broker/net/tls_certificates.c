#include "broker/net/tls_certificates.h"

#include <errno.h>

#include "common/mem.h"
#include "common/utc_time.h"

int tls_certificates_load(const struct config_certificates *certificates,
                          struct tls_tickets *tickets, struct tls_context **ret_context,
                          char why[TLS_WHY_SIZE])
{
    CLEANUP(mem_free_at)
    struct tls_certificate *list = mem_zalloc(certificates->count, sizeof(*list));

    if (!list) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < certificates->count; i++) {
        list[i].chain_file = certificates->items[i].chain_file;
        list[i].key_file = certificates->items[i].key_file;
    }
    return tls_context_new_server(list, certificates->count, tickets, ret_context, why);
}

static void warn_of_expiry(const char *file, int64_t not_after_s, int64_t now_s,
                           struct text *message)
{
    char when[UTC_TIME_SIZE];

    if (not_after_s - now_s < TLS_CERTIFICATES_SOON_S) {
        utc_time_format((uint64_t)not_after_s * 1000, when);
        text_printf(message, "tls-certificate: %s %s at %s\n", file,
                    not_after_s <= now_s ? "expired" : "expires", when);
    }
}

int tls_certificates_check(const struct config *config, int64_t now_s, struct text *message,
                           int64_t *ret_not_after_s)
{
    struct tls_tickets unused = {.secret = {.epoch = 0}};
    struct tls_context *context;
    char why[TLS_WHY_SIZE];
    const char *file;

    if (!config_listens_by_tls(config)) {
        *ret_not_after_s = INT64_MAX;
        return 0;
    }
    int rc = tls_certificates_load(&config->tls_certificates, &unused, &context, why);
    if (rc == TLS_INVALID) {
        text_printf(message, "tls-certificate: %s\n", why);
        return CONFIG_INVALID;
    }
    if (rc < 0) {
        return rc;
    }
    *ret_not_after_s = tls_context_not_after_s(context, &file);
    warn_of_expiry(file, *ret_not_after_s, now_s, message);
    tls_context_free(context);
    return 0;
}
