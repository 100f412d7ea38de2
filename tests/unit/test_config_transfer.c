#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/config/config_load.h"
#include "broker/config/config_options.h"
#include "broker/config/config_transfer.h"
#include "common/mem.h"

#define KEY "HS256:base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static struct config *usual_config(void)
{
    char *argv[] = {"progressd", NULL}, *environment[] = {"STATE_DIRECTORY=/state", NULL};
    struct config *config = NULL;
    struct text message = TEXT_EMPTY;

    cr_assert_eq(config_load(1, argv, environment, &config, &message), 0);
    text_deinit(&message);
    return config;
}

/* A value for each option that is none of the defaults. */
static const char *unusual_value(const struct config_option *option)
{
    static const struct {
        const struct config_type *type;
        const char *value;
    } values[] = {
        {&config_type_listeners, "[::1]:9090 https://*:8443"},
        {&config_type_networks, "192.0.2.0/24 2001:db8::/32"},
        {&config_type_certificates, "/a.pem /b.pem,/b.key"},
        {&config_type_address_or_off, "off"},
        {&config_type_redis, "redis://us%20er:p%40ss@[::1]:7000/0"},
        {&config_type_prefix, "other:"},
        {&config_type_text, "/a text = ; # with \"everything\" "},
        {&config_type_keys, "a/1=" KEY " HS512:base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW"
                            "YwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="},
        {&config_type_origins, "* https://a.example:444"},
        {&config_type_count, "256"},
        {&config_type_seconds, "7.125"},
        {&config_type_log_level, "debug"},
        {&config_type_log_format, "json"},
    };

    if (option->offset == offsetof(struct config, web_root)) {
        return "/"; /* it must be there */
    }
    if (option->type == &config_type_switch) {
        return strcmp(option->initial, "on") == 0 ? "off" : "on";
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (values[i].type == option->type) {
            return values[i].value;
        }
    }
    cr_assert_fail("no value for %s", option->name);
    return NULL;
}

/* Sets every option, but for the file's name, to an unusual value by way of the environment. */
static struct config *unusual_config(void)
{
    char *environment[CONFIG_OPTION_COUNT + 1] = {NULL}, *argv[] = {"progressd", NULL};
    struct config *config = NULL;
    struct text message = TEXT_EMPTY;
    size_t count = 0;

    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        char variable[CONFIG_VARIABLE_SIZE];

        if (config_options[i].offset == offsetof(struct config, file)) {
            continue;
        }
        config_option_variable(&config_options[i], variable);
        cr_assert_geq(
            asprintf(&environment[count++], "%s=%s", variable, unusual_value(&config_options[i])),
            0);
    }
    cr_assert_eq(config_load(1, argv, environment, &config, &message), 0, "%s", message.data);
    text_deinit(&message);
    for (size_t i = 0; i < count; i++) {
        free(environment[i]);
    }
    return config;
}

Test(config_transfer, every_option_survives_the_way_to_a_child)
{
    struct config *config = unusual_config(), *child = NULL, *second = NULL;
    struct text before = TEXT_EMPTY, after = TEXT_EMPTY, defaults = TEXT_EMPTY;
    struct config *usual = usual_config();

    int fd = config_to_fd(config);
    cr_assert_geq(fd, 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(config_read_fd(fd, &child), 0);
    cr_assert_eq(config_read_fd(fd, &second), 0, "a second child reads nothing");
    cr_assert_lt(write(fd, "x", 1), 0, "a child can change it");
    close(fd);

    config_write(config, &before);
    config_write(child, &after);
    config_write(usual, &defaults);
    cr_assert_str_eq(after.data, before.data);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        char line[1024] = "\n";
        const char *name = config_options[i].name;
        const char *at = strstr(after.data, name);

        if (config_options[i].offset == offsetof(struct config, file)) {
            continue;
        }
        snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n") + 1, at);
        cr_assert_null(strstr(defaults.data, line), "%s has its default: %s", name, line);
    }
    cr_assert_str_eq(child->redis.user, "us er");
    cr_assert_str_eq(child->redis.password, "p@ss");
    cr_assert_str_eq(child->jwt_issuer, "/a text = ; # with \"everything\" ");
    cr_assert_eq(child->jwt_keys.items[1].secret_len, 64);

    text_deinit(&before);
    text_deinit(&after);
    text_deinit(&defaults);
    config_free(config);
    config_free(child);
    config_free(second);
    config_free(usual);
}

static int read_text(const char *text)
{
    struct config *config = NULL;
    int fd = memfd_create("test", MFD_CLOEXEC);

    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    int rc = config_read_fd(fd, &config);
    close(fd);
    config_free(config);
    return rc;
}

Test(config_transfer, a_child_refuses_what_is_not_whole)
{
    struct text text = TEXT_EMPTY;
    struct config *config = usual_config();

    config_write(config, &text);
    cr_assert_eq(read_text(text.data), 0);
    text.data[text.len - 1] = '\0'; /* the last line's end */
    cr_assert_eq(read_text(text.data), CONFIG_INVALID);
    *strrchr(text.data, '\n') = '\0';
    cr_assert_eq(read_text(text.data), CONFIG_INVALID);
    cr_assert_eq(read_text(""), CONFIG_INVALID);
    cr_assert_eq(read_text("linger=1\nlinger=1\n"), CONFIG_INVALID);
    cr_assert_eq(read_text("lisen=1\n"), CONFIG_INVALID);
    cr_assert_eq(read_text("linger=x\n"), CONFIG_INVALID);
    cr_assert_eq(config_read_fd(-1, &config), -EBADF);
    text_deinit(&text);
    config_free(config);
}

Test(config_transfer, running_out_of_memory_is_returned)
{
    struct config *config = usual_config(), *child = NULL;
    int fd = config_to_fd(config), rc = -ENOMEM;

    mem_fail_nth(1);
    cr_assert_eq(config_to_fd(config), -ENOMEM);
    for (unsigned n = 1; rc == -ENOMEM; n++) {
        mem_fail_nth(n);
        rc = config_read_fd(fd, &child);
        mem_fail_nth(0);
        cr_assert(n > 3 || rc == -ENOMEM);
    }
    cr_assert_eq(rc, 0);
    close(fd);
    config_free(child);
    config_free(config);
}
