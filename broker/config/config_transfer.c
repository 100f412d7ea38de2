#include "broker/config/config_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/config/config_sources.h"
#include "common/mem.h"
#include "common/secret_file.h"

void config_write(const struct config *config, struct text *text)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        text_printf(text, "%s=", config_options[i].name);
        config_options[i].type->write(config_member(config, &config_options[i]), text);
        text_puts(text, "\n");
    }
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, data, len);

        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        if (count > 0) {
            data += count;
            len -= (size_t)count;
        }
    }
    return 0;
}

int config_to_fd(const struct config *config)
{
    CLEANUP(secret_text_deinit) struct text text = TEXT_EMPTY;

    config_write(config, &text);
    if (text_failed(&text)) {
        return -ENOMEM;
    }
    int fd = memfd_create("progressd-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    int rc = write_all(fd, text.data, text.len);
    if (rc == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
        rc = -errno;
    }
    if (rc) {
        close(fd);
        return rc;
    }
    return fd;
}

static int config_transfer_read_all(int fd, struct text *text)
{
    char buffer[4096];
    off_t offset = 0;

    for (;;) {
        ssize_t count = pread(fd, buffer, sizeof(buffer), offset);

        if (count == 0) {
            break;
        }
        if (count > 0) {
            text_append(text, buffer, (size_t)count);
            offset += count;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    explicit_bzero(buffer, sizeof(buffer));
    return text_failed(text) ? -ENOMEM : 0;
}

/* Reads what config_write() wrote: every option, each in its line. */
static int read_written(struct config_loading *loading, char *lines)
{
    size_t count = 0;

    for (char *line = lines; line && *line; count++) {
        char *end = strchr(line, '\n'), *equals = strchr(line, '=');
        const struct config_option *option =
            equals ? config_option_find(line, (size_t)(equals - line)) : NULL;

        if (!end || !option || loading->seen[option - config_options]) {
            return CONFIG_INVALID;
        }
        *end = '\0';
        int rc = config_set_option(loading, option, equals + 1, option->name);
        if (rc) {
            return rc;
        }
        line = end + 1;
    }
    return count == CONFIG_OPTION_COUNT ? 0 : CONFIG_INVALID;
}

int config_read_fd(int fd, struct config **ret_config)
{
    CLEANUP(secret_text_deinit) struct text text = TEXT_EMPTY;
    CLEANUP(text_deinit) struct text message = TEXT_EMPTY;
    CLEANUP(config_free_at) struct config *config = mem_zalloc(1, sizeof(*config));
    struct config_loading loading = {.config = config, .message = &message};

    if (!config) {
        return -ENOMEM;
    }
    int rc = config_transfer_read_all(fd, &text);
    if (rc == 0) {
        rc = text.len > 0 ? read_written(&loading, text.data) : CONFIG_INVALID;
    }
    if (rc == 0) {
        *ret_config = TAKE(config);
    }
    return rc;
}
