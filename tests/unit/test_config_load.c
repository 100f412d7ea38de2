#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config_load.h"
#include "broker/config/config_options.h"
#include "broker/config/config_sources.h"
#include "common/mem.h"

#define KEY "HS256:base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define OTHER_KEY "HS256:base64:____________________________________________"

static char directory[] = "/tmp/test_config_load.XXXXXX";
static char path[64], home[64];

static void make_directory(void)
{
    strcpy(directory + sizeof(directory) - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/test.conf", directory);
    snprintf(home, sizeof(home), "STATE_DIRECTORY=%s", directory);
}

static void remove_directory(void)
{
    char key[80];

    snprintf(key, sizeof(key), "%s/" JWT_KEY_FILE, directory);
    unlink(key);
    unlink(path);
    rmdir(directory);
}

TestSuite(config_load, .init = make_directory, .fini = remove_directory);

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static struct text message;

/* Loads with these flags (NULL behind the last) and one variable of the environment besides
 * STATE_DIRECTORY. */
static int load(struct config **ret_config, char *variable, char *const *flags)
{
    char *argv[16] = {"progressd"};
    char *environment[] = {home, variable, NULL};
    int argc = 1;

    while (flags[argc - 1]) {
        argv[argc] = flags[argc - 1];
        argc++;
    }
    text_deinit(&message);
    return config_load(argc, argv, environment, ret_config, &message);
}

#define FLAGS(...) ((char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static struct config *loaded(char *variable, char *const *flags)
{
    struct config *config = NULL;
    int rc = load(&config, variable, flags);

    cr_assert_eq(rc, 0, "%d: %s", rc, message.data);
    return config;
}

/* What is said about a configuration that is refused; without the line's end. */
static const char *refusal(char *variable, char *const *flags)
{
    struct config *config = NULL;
    int rc = load(&config, variable, flags);

    config_free(config);
    if (rc == 0) {
        return "accepted";
    }
    cr_assert_eq(rc, CONFIG_INVALID);
    cr_assert_null(config);
    cr_assert_eq(message.data[message.len - 1], '\n');
    message.data[message.len - 1] = '\0';
    return message.data;
}

static const char *refusal_of_flag(char *flag)
{
    return refusal(NULL, FLAGS(flag));
}

/* The same for a file's text; "FILE" stands for its name. */
static const char *refusal_of_file(const char *text)
{
    write_file(text);
    const char *why = refusal(NULL, FLAGS("--config", path));
    size_t len = strlen(path);

    if (strncmp(why, path, len) != 0) {
        return why;
    }
    memcpy(message.data + len - 4, "FILE", 4);
    return message.data + len - 4;
}

/* ── Defaults and precedence ─────────────────────────────────────────────────────────────────── */

Test(config_load, without_options_it_has_the_defaults)
{
    struct config *config = loaded(NULL, FLAGS());

    cr_assert_null(config->file);
    cr_assert_eq(config->listen.items[0].address.kind, CONFIG_ADDRESS_IP4);
    cr_assert_str_eq(config->listen.items[0].address.ip, "127.0.0.1");
    cr_assert_eq(config->listen.items[0].address.port, 8080);
    cr_assert_eq(config->admin_listen.port, 8081);
    cr_assert_eq(config->redis.kind, REDIS_URL_NONE);
    cr_assert_str_eq(config->redis_prefix, "progress:");
    cr_assert_geq(config->workers, 1);
    cr_assert_eq(config->jwt_keys.count, 0);
    cr_assert_null(config->jwt_issuer);
    cr_assert_str_eq(config->state_dir, directory);
    cr_assert(config->recorder);
    cr_assert_eq(config->log_level, LOG_INFO);
    cr_assert_eq(config->log_format, LOG_LOGFMT);
    cr_assert_eq(config->state_ttl_s, 86400);
    cr_assert_eq(config->linger_ms, 10000);
    cr_assert_not(config->ready_needs_redis);
    cr_assert_null(message.data, "a warning: %s", message.data);
    config_free(config);
}

Test(config_load, a_flag_goes_before_the_environment_that_before_the_file_that_before_the_default)
{
    struct config *config;

    write_file("max-payload = 1001\nlinger = 1\nlog-level = debug\n");
    config = loaded("PROGRESSD_LINGER=2", FLAGS("--config", path, "--linger=3"));
    cr_assert_eq(config->linger_ms, 3000);
    cr_assert_eq(config->max_payload, 1001);
    config_free(config);
    config = loaded("PROGRESSD_LINGER=2", FLAGS("--config", path));
    cr_assert_eq(config->linger_ms, 2000);
    config_free(config);
    config = loaded("PROGRESSD_LINGER=", FLAGS("--config", path));
    cr_assert_eq(config->linger_ms, 1000);
    config_free(config);
}

Test(config_load, the_file_may_be_named_in_the_environment_and_a_flag_goes_before_it)
{
    char variable[96];
    struct config *config;

    write_file("linger = 1\n");
    snprintf(variable, sizeof(variable), "PROGRESSD_CONFIG=%s", path);
    config = loaded(variable, FLAGS());
    cr_assert_eq(config->linger_ms, 1000);
    cr_assert_str_eq(config->file, path);
    config_free(config);
    cr_assert_str_eq(refusal(variable, FLAGS("--config=/nonexistent/file")),
                     "/nonexistent/file: cannot be read: No such file or directory");
}

Test(config_load, a_flag_takes_its_value_with_a_space_or_an_equals_sign_and_the_last_counts)
{
    struct config *config = loaded(NULL, FLAGS("--jwt-issuer=a=b", "--linger", "5", "--linger=6"));

    cr_assert_str_eq(config->jwt_issuer, "a=b");
    cr_assert_eq(config->linger_ms, 6000);
    config_free(config);
    config = loaded("PROGRESSD_JWT_ISSUER=x", FLAGS("--jwt-issuer="));
    cr_assert_null(config->jwt_issuer);
    config_free(config);
}

Test(config_load, a_list_is_added_to_within_a_source_and_replaced_by_a_stronger_one)
{
    struct config *config;

    write_file("jwt-key = a=" KEY "\njwt-key = b=" OTHER_KEY "\nallowed-origins = http://a\n"
               "  http://b, http://c\n");
    config = loaded(NULL, FLAGS("--config", path));
    cr_assert_eq(config->jwt_keys.count, 2);
    cr_assert_str_eq(config->jwt_keys.items[1].kid, "b");
    cr_assert_eq(config->allowed_origins.count, 3);
    config_free(config);

    config = loaded("PROGRESSD_JWT_KEY=c=" KEY " d=" OTHER_KEY, FLAGS("--config", path));
    cr_assert_eq(config->jwt_keys.count, 2);
    cr_assert_str_eq(config->jwt_keys.items[0].kid, "c");
    config_free(config);

    config = loaded("PROGRESSD_JWT_KEY=c=" KEY, FLAGS("--jwt-key=e=" KEY, "--jwt-key", KEY));
    cr_assert_eq(config->jwt_keys.count, 2);
    cr_assert_str_eq(config->jwt_keys.items[0].kid, "e");
    config_free(config);
}

/* ── Flags and variables at fault ────────────────────────────────────────────────────────────── */

Test(config_load, a_wrong_flag_is_named_and_the_right_one_guessed)
{
    cr_assert_str_eq(refusal_of_flag("--lisen=x"),
                     "--lisen: unknown flag (did you mean --listen?); --help lists them");
    cr_assert_str_eq(refusal_of_flag("--frobnicate"),
                     "--frobnicate: unknown flag; --help lists them");
    cr_assert_str_eq(refusal_of_flag("--"), "--: unknown flag; --help lists them");
    cr_assert_str_eq(refusal_of_flag("--linger"), "--linger: needs a value, SECONDS");
    cr_assert_str_eq(refusal_of_flag("secret"), "argument 1 is no flag: flags begin with --");
    cr_assert_str_eq(refusal_of_flag("-v"), "argument 1 is no flag: flags begin with --");
    cr_assert_null(strstr(refusal_of_flag("--redis-ur=redis://:secret@x"), "secret"));
}

Test(config_load, a_variable_that_names_no_option_is_a_warning)
{
    struct config *config = loaded("PROGRESSD_LISEN=x", FLAGS());

    cr_assert_str_eq(message.data,
                     "PROGRESSD_LISEN: names no option (did you mean PROGRESSD_LISTEN?)\n");
    config_free(config);
    config = loaded("PROGRESSD_=x", FLAGS());
    cr_assert_str_eq(message.data, "PROGRESSD_: names no option\n");
    config_free(config);
    config = loaded("PROGRESSDX=x", FLAGS());
    cr_assert_null(message.data);
    config_free(config);
}

Test(config_load, a_wrong_value_is_named_by_its_source)
{
    cr_assert_str_eq(refusal("PROGRESSD_WORKERS=many", FLAGS()),
                     "PROGRESSD_WORKERS: must be a whole number from 0 to 256, not \"many\"");
    cr_assert_str_eq(refusal(NULL, FLAGS("--workers", "257")),
                     "--workers: must be a whole number from 0 to 256, not \"257\"");
    cr_assert_str_eq(refusal_of_file("\nworkers=-1"),
                     "FILE:2: workers: must be a whole number from 0 to 256, not \"-1\"");
}

Test(config_load, a_file_is_checked_also_where_it_does_not_win)
{
    write_file("linger = soon\n");
    cr_assert_not_null(
        strstr(refusal(NULL, FLAGS("--config", path, "--linger", "1")), ":1: linger: must be"));
}

/* ── The file ────────────────────────────────────────────────────────────────────────────────── */

Test(config_load, a_file_has_comments_and_blank_lines_and_may_have_its_section)
{
    struct config *config;

    write_file("\xef\xbb\xbf# comment\n; another\n\n[progressd]\r\nlinger=1 ; why\r\n"
               "  \njwt-issuer = a # b\nmax-payload=512");
    config = loaded(NULL, FLAGS("--config", path));
    cr_assert_eq(config->linger_ms, 1000);
    cr_assert_str_eq(config->jwt_issuer, "a");
    cr_assert_eq(config->max_payload, 512);
    config_free(config);
}

Test(config_load, a_wrong_line_is_named_by_its_number)
{
    cr_assert_str_eq(refusal_of_file("# x\n\nlisen = x\n"),
                     "FILE:3: unknown option \"lisen\" (did you mean \"listen\"?)");
    cr_assert_str_eq(refusal_of_file("linger = 1\njust words\n"),
                     "FILE:2: is neither `name = value` nor a comment");
    cr_assert_str_eq(refusal_of_file("linger = 1\n[open\n"),
                     "FILE:2: is neither `name = value` nor a comment");
    cr_assert_str_eq(refusal_of_file("linger = 1\n\nlinger = 1\n"),
                     "FILE:3: linger: is here for the second time");
    cr_assert_str_eq(refusal_of_file("linger = 1\n  2\n"),
                     "FILE:2: linger: is here for the second time");
    cr_assert_str_eq(refusal_of_file("config = other.conf\n"),
                     "FILE:1: config: a file cannot name another file");
    cr_assert_str_eq(refusal_of_file("[redis]\nredis-url =\n"),
                     "FILE:2: is in section [redis]: options stand in [progressd] or in no "
                     "section");
    cr_assert_str_eq(refusal_of_file("[progressd] x\n"),
                     "FILE:1: is neither `name = value` nor a comment");
    cr_assert_str_eq(refusal_of_file("= 1\n"), "FILE:1: unknown option \"\"");
}

Test(config_load, a_line_that_is_no_line_is_told_also_before_another_error)
{
    cr_assert_not_null(strstr(refusal_of_file("words\nlisen = 1\n"),
                              ":1: is neither `name = value` nor a comment"));
    cr_assert_str_eq(refusal_of_file("lisen = 1\nwords\n"), "FILE:1: unknown option \"lisen\" "
                                                            "(did you mean \"listen\"?)");
}

/* The value that jwt-issuer has after a file's `text`. */
static void assert_issuer(const char *text, const char *expected)
{
    write_file(text);
    struct config *config = loaded(NULL, FLAGS("--config", path));

    if (expected) {
        cr_assert_str_eq(config->jwt_issuer, expected, "%s gives %s", text, config->jwt_issuer);
    } else {
        cr_assert_null(config->jwt_issuer, "%s gives %s", text, config->jwt_issuer);
    }
    config_free(config);
}

Test(config_load, a_comment_ends_a_value_and_quotes_keep_it)
{
    assert_issuer("jwt-issuer = a b # comment", "a b");
    assert_issuer("jwt-issuer = a\t; comment \"", "a");
    assert_issuer("jwt-issuer = a#b;c#", "a#b;c#");
    assert_issuer("jwt-issuer = # comment", NULL);
    assert_issuer("jwt-issuer=#", NULL);
    assert_issuer("jwt-issuer = ", NULL);
    assert_issuer("jwt-issuer = \"\"", NULL);
    assert_issuer("jwt-issuer = \"a # b\"", "a # b");
    assert_issuer("jwt-issuer = \" a \"\t# comment", " a ");
    assert_issuer("jwt-issuer = \"a\";", "a");
    assert_issuer("jwt-issuer = \"say \\\"hi\\\" \\\\ \\n\"", "say \"hi\" \\ \\n");
    assert_issuer("jwt-issuer = a\"b", "a\"b");
    assert_issuer("jwt-issuer = a = b", "a = b");
}

Test(config_load, quotes_must_close_at_the_end_of_the_value)
{
    static const char *const texts[] = {"\"", "\"a", "\"a\\\"", "\"a\" b", "\"a\"b\""};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char line[64];
        snprintf(line, sizeof(line), "jwt-issuer = %s\n", texts[i]);
        cr_assert_str_eq(refusal_of_file(line),
                         "FILE:1: has a value whose quotes do not close at its end");
    }
}

Test(config_load, an_indented_line_is_a_further_value)
{
    write_file(
        "allowed-origins = http://a # one\n  # none\n  \"http://b\"\n\thttp://c\nlinger=1\n");
    struct config *config = loaded(NULL, FLAGS("--config", path));

    cr_assert_eq(config->allowed_origins.count, 3);
    cr_assert_str_eq(config->allowed_origins.items[2].host, "c");
    config_free(config);
}

Test(config_load, a_line_may_be_long)
{
    static char text[100000] = "jwt-issuer = ";

    memset(text + strlen(text), 'x', sizeof(text) - strlen(text) - 1);
    assert_issuer(text, text + strlen("jwt-issuer = "));
    text[500] = '\n';
    strcpy(text + 501, "linger = 1\nlinger = 2\n");
    cr_assert_str_eq(refusal_of_file(text), "FILE:3: linger: is here for the second time");
}

Test(config_load, a_nul_byte_in_a_file_is_refused)
{
    FILE *file = fopen(path, "w");

    cr_assert_eq(fwrite("linger = 1\0\nlinger = 2\n", 1, 23, file), 23);
    fclose(file);
    cr_assert_not_null(strstr(refusal(NULL, FLAGS("--config", path)), ":1: has a NUL byte"));
}

Test(config_load, a_folder_is_no_file)
{
    cr_assert_not_null(strstr(refusal(NULL, FLAGS("--config", directory)), "Is a directory"));
}

/* ── Secrets ─────────────────────────────────────────────────────────────────────────────────── */

Test(config_load, a_secret_option_may_be_in_a_file)
{
    char variable[96];

    write_file("redis://u:p@h1\n");
    chmod(path, 0600);
    snprintf(variable, sizeof(variable), "PROGRESSD_REDIS_URL_FILE=%s", path);
    struct config *config = loaded(variable, FLAGS());
    cr_assert_str_eq(config->redis.password, "p");
    cr_assert_null(message.data);
    config_free(config);
    config = loaded(NULL, FLAGS("--redis-url", "redis://h2", "--redis-url-file", path));
    cr_assert_str_eq(config->redis.host, "h1");
    config_free(config);

    write_file("a=" KEY "\nb=" OTHER_KEY "\n");
    config = loaded(NULL, FLAGS("--jwt-key-file", path));
    cr_assert_eq(config->jwt_keys.count, 2);
    config_free(config);
}

Test(config_load, a_file_for_a_value_is_named_when_it_cannot_be_used)
{
    write_file("secret");
    chmod(path, 0600);
    cr_assert_str_eq(refusal(NULL, FLAGS("--redis-url-file", path)),
                     "--redis-url-file: must begin with redis:// or unix://, or be empty");
    cr_assert_str_eq(refusal("PROGRESSD_JWT_KEY_FILE=/nowhere/x", FLAGS()),
                     "PROGRESSD_JWT_KEY_FILE: cannot read its file: No such file or directory");
    cr_assert_str_eq(refusal_of_flag("--listen-file=x"),
                     "--listen-file: unknown flag; --help lists them");
}

/* What is said about a configuration that is accepted, "" if nothing is. */
static const char *warnings(char *const *flags)
{
    config_free(loaded(NULL, flags));
    return message.data ? message.data : "";
}

Test(config_load, a_secret_file_that_others_may_read_is_a_warning)
{
    char key[96], expected[256];

    write_file("a secret of more than thirty-two bytes");
    snprintf(key, sizeof(key), "k=HS256:%s", path);
    chmod(path, 0600);
    cr_assert_str_eq(warnings(FLAGS("--jwt-key", key)), "");
    chmod(path, 0644);
    snprintf(expected, sizeof(expected),
             "--jwt-key: %s can be read by every user; make its mode 0600\n", path);
    cr_assert_str_eq(warnings(FLAGS("--jwt-key", key)), expected);

    write_file("redis-url = redis://u:p@h\n");
    cr_assert_not_null(strstr(warnings(FLAGS("--config", path)), "config: "));
    write_file("redis-url = redis://h\n");
    cr_assert_str_eq(warnings(FLAGS("--config", path)), "");
}

Test(config_load, a_state_directory_that_others_may_change_is_a_warning)
{
    cr_assert_str_eq(warnings(FLAGS()), "");
    cr_assert_eq(chmod(directory, 0777), 0);
    cr_assert_not_null(strstr(warnings(FLAGS()), "state-dir: /tmp/"));
    cr_assert_eq(chmod(directory, 0700), 0);
    if (geteuid() == 0) {
        cr_assert_eq(chown(directory, 12345, (gid_t)-1), 0);
        cr_assert_not_null(strstr(warnings(FLAGS()), "belongs to user 12345"));
    }
}

Test(config_load, secrets_are_covered_in_the_arguments)
{
    char url[] = "redis://u:p@h", key[] = "--jwt-key=HS256:base64:AAAA", listen[] = "*:1";
    char file[] = "/run/url", last[] = "--redis-url";
    char *argv[] = {"progressd", "--redis-url",      url,  key,  "--listen",
                    listen,      "--redis-url-file", file, last, NULL};

    config_cover_secrets(9, argv);
    cr_assert_str_eq(url, "*************");
    cr_assert_str_eq(key, "--jwt-key=*****************");
    cr_assert_str_eq(listen, "*:1");
    cr_assert_str_eq(file, "/run/url");
}

/* ── Values ──────────────────────────────────────────────────────────────────────────────────── */

Test(config_load, addresses_are_read_and_written_the_same)
{
    static const char *const texts[][2] = {{"127.0.0.1:8080", "127.0.0.1:8080"},
                                           {"0.0.0.0:0", "0.0.0.0:0"},
                                           {"[::1]:8080", "[::1]:8080"},
                                           {"[0:0::1]:65535", "[::1]:65535"},
                                           {"*:80", "*:80"},
                                           {"localhost:1", "127.0.0.1:1"},
                                           {"http://*:80", "*:80"},
                                           {"https://*:443", "https://*:443"},
                                           {" *:80  https://[::1]:443 ", "*:80 https://[::1]:443"}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config *config = loaded(NULL, FLAGS("--jwt-key", KEY, "--tls-certificate", "/a.pem",
                                                   "--listen", (char *)texts[i][0]));

        CLEANUP(text_deinit) struct text written = TEXT_EMPTY;
        config_listeners_format(&config->listen, &written);
        cr_assert_str_eq(written.data, texts[i][1]);
        config_free(config);
    }
    struct config *config = loaded(NULL, FLAGS("--admin-listen", "off"));
    cr_assert_eq(config->admin_listen.kind, CONFIG_ADDRESS_OFF);
    config_free(config);
}

Test(config_load, a_wrong_address_is_refused)
{
    static char *const texts[] = {"",
                                  "8080",
                                  ":8080",
                                  "127.0.0.1",
                                  "host:80",
                                  "::1:80",
                                  "[::1]",
                                  "[::1:80",
                                  "[]:80",
                                  "1.2.3:80",
                                  "[127.0.0.1]:80",
                                  "off",
                                  "127.0.0.1:",
                                  "127.0.0.1:-1",
                                  "127.0.0.1:65536",
                                  "127.0.0.1:8o",
                                  "127.0.0.1: 80",
                                  "127.0.0.1:99999999999999999999999",
                                  "[:80"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *why = refusal(NULL, FLAGS("--listen", texts[i], "--jwt-key", KEY));
        cr_assert_eq(strncmp(why, "--listen: must ", 15), 0, "%s: %s", texts[i], why);
    }
}

Test(config_load, seconds_may_have_decimals_and_have_a_range)
{
    static const struct {
        char *text;
        uint32_t milliseconds;
    } good[] = {{"0.5", 500},   {"1", 1000},       {"2.25", 2250},
                {"0.125", 125}, {"3600", 3600000}, {"3600.000", 3600000}};
    static char *const bad[] = {"",      "0",      "0.099", "3600.001", "1.",
                                ".5",    "1.2345", "-1",    "1s",       "1e3",
                                "nan",   "0x10",   "1,5",   " 1",       "99999999999999999999",
                                "1.2.3", "4000.5"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct config *config = loaded(NULL, FLAGS("--resync-interval", good[i].text));
        cr_assert_eq(config->resync_interval_ms, good[i].milliseconds, "%s", good[i].text);
        config_free(config);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *why = refusal(NULL, FLAGS("--resync-interval", bad[i]));
        cr_assert_not_null(strstr(why, "must be a number of seconds from 0.1 to 3600"), "%s: %s",
                           bad[i], why);
    }
}

Test(config_load, choices_are_refused_when_they_are_none)
{
    cr_assert_str_eq(refusal_of_flag("--recorder=yes"),
                     "--recorder: must be on or off, not \"yes\"");
    cr_assert_str_eq(refusal_of_flag("--log-level=loud"),
                     "--log-level: must be error, warn, info or debug, not \"loud\"");
    cr_assert_str_eq(refusal_of_flag("--log-format=xml"),
                     "--log-format: must be logfmt or json, not \"xml\"");
    cr_assert_not_null(strstr(refusal_of_flag("--redis-prefix=a:b:"), "must be letters"));
    cr_assert_not_null(
        strstr(refusal_of_flag("--allowed-origins=http://a http://b/c"), "\"http://b/c\" is none"));
    cr_assert_not_null(strstr(refusal_of_flag("--jwt-issuer=a\nb"), "control characters"));
}

/* ── Keys ────────────────────────────────────────────────────────────────────────────────────── */

Test(config_load, without_a_key_only_loopback_is_accepted)
{
    static char *const loopback[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"};
    static char *const open_to_others[] = {"*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1",
                                           "[::ffff:127.0.0.1]:1"};

    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        cr_assert_str_eq(refusal(NULL, FLAGS("--listen", loopback[i])), "accepted");
    }
    for (size_t i = 0; i < ARRAY_LEN(open_to_others); i++) {
        cr_assert_not_null(
            strstr(refusal(NULL, FLAGS("--listen", open_to_others[i])), "jwt-key: must be given"));
        cr_assert_str_eq(refusal(NULL, FLAGS("--listen", open_to_others[i], "--jwt-key", KEY)),
                         "accepted");
    }
}

Test(config_load, two_keys_of_one_name_or_of_none_are_refused)
{
    cr_assert_str_eq(refusal(NULL, FLAGS("--jwt-key=a=" KEY, "--jwt-key=a=" OTHER_KEY)),
                     "--jwt-key: has two keys with the KID a");
    cr_assert_not_null(
        strstr(refusal("PROGRESSD_JWT_KEY=" KEY " " KEY, FLAGS()), "two keys without a KID"));
    cr_assert_str_eq(refusal("PROGRESSD_JWT_KEY=" KEY " a=" KEY, FLAGS()), "accepted");
}

Test(config_load, a_missing_key_is_made_once_and_found_again)
{
    bool made;
    struct config *config = loaded(NULL, FLAGS()), *again = loaded(NULL, FLAGS());

    cr_assert_eq(config_ensure_key(config, &made, &message), 0);
    cr_assert(made);
    cr_assert_eq(config_ensure_key(again, &made, &message), 0);
    cr_assert_not(made);
    cr_assert_eq(config->jwt_keys.count, 1);
    cr_assert_eq(config->jwt_keys.items[0].secret_len, 86);
    cr_assert_eq(config->jwt_keys.items[0].algorithm, JWT_KEY_HS256);
    cr_assert_arr_eq(config->jwt_keys.items[0].secret, again->jwt_keys.items[0].secret, 86);
    cr_assert_eq(config_ensure_key(config, &made, &message), 0);
    cr_assert_not(made);
    config_free(config);
    config_free(again);
}

Test(config_load, a_key_that_cannot_be_made_or_used_is_told)
{
    bool made;
    char file[80];
    struct config *config = loaded(NULL, FLAGS("--state-dir=/dev/null/x"));

    cr_assert_eq(config_ensure_key(config, &made, &message), CONFIG_INVALID);
    cr_assert_str_eq(message.data,
                     "/dev/null/x: cannot make the state directory: Not a directory\n");
    config_free(config);

    config = loaded(NULL, FLAGS());
    snprintf(file, sizeof(file), "%s/" JWT_KEY_FILE, directory);
    FILE *stream = fopen(file, "w");
    fputs("short\n", stream);
    fclose(stream);
    cr_assert_eq(config_ensure_key(config, &made, &message), CONFIG_INVALID);
    cr_assert_not_null(strstr(message.data, "the secret has 5 bytes"));
    config_free(config);
}

Test(config_load, a_state_directory_is_made_absolute)
{
    char expected[PATH_MAX + 16];
    struct config *config = loaded(NULL, FLAGS("--state-dir", "some/where"));

    cr_assert_not_null(getcwd(expected, PATH_MAX));
    strcat(expected, "/some/where");
    cr_assert_str_eq(config->state_dir, expected);
    config_free(config);
}

Test(config_load, a_web_root_is_made_absolute_and_must_be_a_folder)
{
    char inside[80], expected[PATH_MAX + 16], flag[100];
    struct config *config = loaded(NULL, FLAGS());

    cr_assert_null(config->web_root);
    config_free(config);

    snprintf(inside, sizeof(inside), "%s/web", directory);
    cr_assert_eq(mkdir(inside, 0700), 0);
    cr_assert_eq(chdir(directory), 0);
    config = loaded(NULL, FLAGS("--web-root", "web"));
    snprintf(expected, sizeof(expected), "%s/web", directory);
    cr_assert_str_eq(config->web_root, expected);
    config_free(config);
    cr_assert_eq(rmdir(inside), 0);

    snprintf(flag, sizeof(flag), "--web-root=%s", inside);
    snprintf(expected, sizeof(expected), "web-root: %s: No such file or directory", inside);
    cr_assert_str_eq(refusal_of_flag(flag), expected);
    cr_assert_str_eq(refusal(NULL, FLAGS(flag, "--check-config")), expected);
    cr_assert_str_eq(refusal_of_flag("--web-root=/dev/null"),
                     "web-root: /dev/null: Not a directory");
}

/* ── What ends the program ───────────────────────────────────────────────────────────────────── */

Test(config_load, help_names_every_option_with_its_default)
{
    struct config *config = NULL;

    cr_assert_eq(load(&config, NULL, FLAGS("--lisen", "--help")), CONFIG_HELP);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config_options[i];
        char line[256];

        snprintf(line, sizeof(line), "  --%s %s\n", option->name, option->placeholder);
        const char *at = strstr(message.data, line);
        cr_assert_not_null(at, "%s", option->name);
        snprintf(line, sizeof(line), "Default: %s\n",
                 option->help_start ? option->help_start : option->initial);
        cr_assert_not_null(strstr(at, "Default: "));
        cr_assert(strchr(line, '\n')[1] || strstr(at, line), "%s", option->name);
    }
    for (const char *line = message.data; *line; line = strchr(line, '\n') + 1) {
        cr_assert_leq(strcspn(line, "\n"), 92, "a line is too long: %.100s", line);
    }
}

Test(config_load, version_and_check_config_end_with_their_outcomes)
{
    struct config *config = NULL;

    cr_assert_eq(load(&config, NULL, FLAGS("--version")), CONFIG_VERSION);
    cr_assert_str_eq(message.data, "progressd " PROGRESSD_VERSION "\n");
    cr_assert_eq(load(&config, NULL, FLAGS("--check-config", "--linger", "1")), CONFIG_CHECKED);
    cr_assert_eq(config->linger_ms, 1000);
    config_free(TAKE(config));
    cr_assert_eq(load(&config, NULL, FLAGS("--linger", "x", "--check-config")), CONFIG_INVALID);
    cr_assert_eq(load(&config, NULL, FLAGS("--listen", "*:80", "--check-config")), CONFIG_INVALID);
    cr_assert_null(config);
}

Test(config_load, an_idle_timeout_that_pings_cannot_meet_is_a_warning)
{
    struct config *config = loaded(NULL, FLAGS("--idle-timeout", "25"));

    cr_assert_not_null(strstr(message.data, "ping-interval: is not shorter than idle-timeout"));
    config_free(config);
}

Test(config_load, an_embedded_redis_is_handed_on_as_a_socket)
{
    char long_path[128];
    struct config *config = loaded(NULL, FLAGS());

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    cr_assert_eq(config_set_redis_socket(config, long_path), CONFIG_INVALID);
    cr_assert_eq(config->redis.kind, REDIS_URL_NONE);
    cr_assert_eq(config_set_redis_socket(config, "/a b/100%/r?#.sock"), 0);
    cr_assert_eq(config->redis.kind, REDIS_URL_UNIX);
    cr_assert_str_eq(config->redis.path, "/a b/100%/r?#.sock");
    cr_assert_str_eq(config->redis.url, "unix:///a%20b/100%25/r%3F%23.sock");
    config_free(config);
}

/* ── Out of memory ───────────────────────────────────────────────────────────────────────────── */

Test(config_load, running_out_of_memory_is_returned_wherever_it_happens)
{
    unsigned failures = 0;

    write_file("linger = 2\njwt-key = " KEY "\nallowed-origins = http://a\nredis-url = "
               "redis://u:p@h\n");
    for (unsigned n = 1;; n++) {
        struct config *config = NULL;

        text_deinit(&message);
        mem_fail_nth(n);
        int rc = load(&config, "PROGRESSD_JWT_ISSUER=me", FLAGS("--config", path));
        mem_fail_nth(0);
        config_free(config);
        if (rc == 0) {
            break;
        }
        cr_assert_eq(rc, -ENOMEM, "allocation %u: %d %s", n, rc, message.data);
        failures++;
    }
    cr_assert_gt(failures, 10);
}

Test(config_load, tls_takes_a_certificate)
{
    cr_assert_str_eq(refusal(NULL, FLAGS("--listen", "https://127.0.0.1:8443")),
                     "tls-certificate: must be given, since listen has an address for TLS");
    struct config *config =
        loaded(NULL, FLAGS("--listen", "https://127.0.0.1:8443", "--tls-certificate",
                           "/a.pem,/a.key", "--tls-certificate", "/b.pem"));
    cr_assert_eq(config->tls_certificates.count, 2);
    cr_assert_str_eq(config->tls_certificates.items[0].chain_file, "/a.pem");
    cr_assert_str_eq(config->tls_certificates.items[0].key_file, "/a.key");
    cr_assert_str_eq(config->tls_certificates.items[1].chain_file, "/b.pem");
    cr_assert_null(config->tls_certificates.items[1].key_file);
    cr_assert(config_listens_by_tls(config) && config_is_loopback_only(config));
    config_free(config);
}

Test(config_load, any_address_beyond_loopback_takes_a_key)
{
    const char *said = refusal(NULL, FLAGS("--listen", "127.0.0.1:8080 *:8081"));

    cr_assert(strncmp(said, "jwt-key: must be given", 22) == 0, "%s", said);
}
