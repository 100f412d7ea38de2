#include "common/jwt_key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/mem.h"
#include "common/pem_key.h"

#define KID_MAX 128

/* What `jwt_key_make_file` draws; its text, the secret, is 86 characters. */
#define RANDOM_BYTES 64

static const struct {
    const char *name;
    size_t secret_min; /* bytes: the size of the hash; 0: the key is no secret */
} algorithms[] = {
    [JWT_KEY_HS256] = {"HS256", 32}, [JWT_KEY_HS384] = {"HS384", 48},
    [JWT_KEY_HS512] = {"HS512", 64}, [JWT_KEY_RS256] = {"RS256", 0},
    [JWT_KEY_RS384] = {"RS384", 0},  [JWT_KEY_RS512] = {"RS512", 0},
    [JWT_KEY_PS256] = {"PS256", 0},  [JWT_KEY_ES256] = {"ES256", 0},
    [JWT_KEY_ES384] = {"ES384", 0},  [JWT_KEY_ES512] = {"ES512", 0},
    [JWT_KEY_EDDSA] = {"EdDSA", 0},
};
_Static_assert(ARRAY_LEN(algorithms) == JWT_KEY_ALGORITHMS, "each algorithm has a name");

const char *jwt_key_algorithm_name(enum jwt_key_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

void jwt_key_deinit(struct jwt_key *key)
{
    if (key->secret) {
        explicit_bzero(key->secret, key->secret_len);
    }
    mem_free(key->secret);
    mem_free(key->kid);
    *key = (struct jwt_key){0};
}

PRINTF_LIKE(2, 3) static int jwt_key_invalid(char *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, JWT_KEY_WHY_SIZE, format, arguments);
    va_end(arguments);
    return JWT_KEY_INVALID;
}

/* Whether `source` can't be anything but a path. Other words are not repeated in messages: they may
 * be a secret that somebody put in the path's place. */
static bool is_plainly_a_path(const char *source)
{
    return source[0] == '/' || strncmp(source, "./", 2) == 0 || strncmp(source, "../", 3) == 0;
}

static int unreadable(const char *source, int error, char *why)
{
    if (is_plainly_a_path(source)) {
        return jwt_key_invalid(why, "cannot read %s: %s", source, strerror(error));
    }
    return jwt_key_invalid(why, "cannot read its file: %s (a secret itself is written base64:DATA)",
                           strerror(error));
}

/* Reads to the end, at most `size` bytes. The count, or -errno. */
static ssize_t read_whole(int fd, uint8_t *buffer, size_t size)
{
    size_t filled = 0;

    while (filled < size) {
        ssize_t count = read(fd, buffer + filled, size - filled);

        if (count == 0) {
            break;
        }
        if (count > 0) {
            filled += (size_t)count;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return (ssize_t)filled;
}

static int jwt_key_read_file(const char *path, struct jwt_key *key, char *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return unreadable(path, errno, why);
    }
    key->secret = mem_alloc(JWT_KEY_SECRET_MAX + 1);
    if (!key->secret) {
        close(fd);
        return -ENOMEM;
    }
    ssize_t count = read_whole(fd, key->secret, JWT_KEY_SECRET_MAX + 1);
    close(fd);
    if (count < 0) {
        return unreadable(path, (int)-count, why);
    }
    key->secret_len = (size_t)count;
    while (key->secret_len > 0 &&
           (key->secret[key->secret_len - 1] == '\n' || key->secret[key->secret_len - 1] == '\r')) {
        key->secret_len--;
    }
    return 0;
}

static int read_base64(const char *data, struct jwt_key *key, char *why)
{
    size_t len = strlen(data);

    key->secret = mem_alloc(BASE64_DECODED_SIZE(len));
    if (!key->secret) {
        return -ENOMEM;
    }
    if (base64_decode(BASE64_STANDARD, data, len, key->secret, &key->secret_len) != 0 &&
        base64_decode(BASE64_URL, data, len, key->secret, &key->secret_len) != 0) {
        return jwt_key_invalid(why, "what follows base64: is not base64");
    }
    return 0;
}

static int check_secret(const struct jwt_key *key, char *why)
{
    const char *name = algorithms[key->algorithm].name;
    size_t min = algorithms[key->algorithm].secret_min;

    if (key->secret_len > JWT_KEY_SECRET_MAX) {
        return jwt_key_invalid(why, "the secret is longer than %d bytes", JWT_KEY_SECRET_MAX);
    }
    if (memmem(key->secret, key->secret_len, "-----BEGIN", 10)) {
        return jwt_key_invalid(
            why,
            "a PEM key cannot be used with %s, whose key is a shared secret: whoever "
            "has the public key could make tokens",
            name);
    }
    if (key->secret_len < min) {
        return jwt_key_invalid(why,
                               "the secret has %zu bytes; %s needs at least %zu (RFC 7518, 3.2)",
                               key->secret_len, name, min);
    }
    return 0;
}

static int check_pem(const struct jwt_key *key, enum jwt_key_use use, char *why)
{
    const struct span pem = {(const char *)key->secret, key->secret_len};
    EVP_PKEY *parsed = NULL;

    if (key->secret_len > JWT_KEY_SECRET_MAX) {
        return jwt_key_invalid(why, "the key is longer than %d bytes", JWT_KEY_SECRET_MAX);
    }
    int rc = pem_key_read(pem, key->algorithm, use, &parsed, why);
    EVP_PKEY_free(parsed);
    return rc == PEM_KEY_INVALID ? JWT_KEY_INVALID : rc;
}

static bool kid_is_valid(const char *kid, size_t len)
{
    if (len == 0 || len > KID_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (kid[i] <= ' ' || kid[i] > '~' || kid[i] == '"' || kid[i] == '\\') {
            return false;
        }
    }
    return true;
}

static int read_kid(const char *kid, size_t len, struct jwt_key *key, char *why)
{
    if (!kid_is_valid(kid, len)) {
        return jwt_key_invalid(
            why, "KID must be 1 to %d printable characters without : = \" \\ and space", KID_MAX);
    }
    key->kid = mem_strndup(kid, len);
    return key->kid ? 0 : -ENOMEM;
}

static int read_algorithm(const char *name, size_t len, struct jwt_key *key, char *why)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        if (len == strlen(algorithms[i].name) && memcmp(name, algorithms[i].name, len) == 0) {
            key->algorithm = (enum jwt_key_algorithm)i;
            return 0;
        }
    }
    return jwt_key_invalid(why,
                           "ALG must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, "
                           "ES256, ES384, ES512 and EdDSA");
}

static int jwt_key_read_parts(const char *text, enum jwt_key_use use, struct jwt_key *key,
                              char *why)
{
    const char *colon = strchr(text, ':');
    const char *algorithm = text;
    int rc;

    if (!colon || !colon[1]) {
        return jwt_key_invalid(why, "must be [KID=]ALG:FILE or [KID=]ALG:base64:DATA");
    }
    const char *equals = memchr(text, '=', (size_t)(colon - text));
    if (equals) {
        rc = read_kid(text, (size_t)(equals - text), key, why);
        if (rc) {
            return rc;
        }
        algorithm = equals + 1;
    }
    rc = read_algorithm(algorithm, (size_t)(colon - algorithm), key, why);
    if (rc) {
        return rc;
    }
    const char *source = colon + 1;
    rc = strncmp(source, "base64:", 7) == 0 ? read_base64(source + 7, key, why)
                                            : jwt_key_read_file(source, key, why);
    if (rc) {
        return rc;
    }
    return jwt_key_is_shared(key->algorithm) ? check_secret(key, why) : check_pem(key, use, why);
}

int jwt_key_read(const char *text, enum jwt_key_use use, struct jwt_key *ret_key,
                 char why[JWT_KEY_WHY_SIZE])
{
    struct jwt_key key = {0};
    int rc = jwt_key_read_parts(text, use, &key, why);

    if (rc) {
        jwt_key_deinit(&key);
        return rc;
    }
    *ret_key = key;
    return 0;
}

void jwt_key_write(const struct jwt_key *key, struct text *text)
{
    char group[BASE64_ENCODED_SIZE(3)];

    if (key->kid) {
        text_printf(text, "%s=", key->kid);
    }
    text_printf(text, "%s:base64:", algorithms[key->algorithm].name);
    for (size_t i = 0; i < key->secret_len; i += 3) {
        size_t left = key->secret_len - i;
        text_append(text, group,
                    base64_encode(BASE64_STANDARD, key->secret + i, left < 3 ? left : 3, group));
    }
}

/* Fills the file `fd` with a new secret. 0 or -errno. */
static int write_random_secret(int fd)
{
    uint8_t random[RANDOM_BYTES];
    char line[BASE64_ENCODED_SIZE(RANDOM_BYTES) + 1];
    int rc = 0;

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        return -EIO;
    }
    size_t len = base64_encode(BASE64_URL, random, sizeof(random), line);
    line[len++] = '\n';
    ssize_t written = write(fd, line, len);
    if (written < 0 || fsync(fd) < 0) {
        rc = -errno;
    } else if ((size_t)written < len) {
        rc = -ENOSPC;
    }
    explicit_bzero(random, sizeof(random));
    explicit_bzero(line, sizeof(line));
    return rc;
}

int jwt_key_make_file(const char *path)
{
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0) {
        return -errno;
    }
    int rc = write_random_secret(fd);
    close(fd);
    /* Unlike rename(), link() leaves a file alone that somebody else made meanwhile. */
    if (rc == 0 && link(temporary, path) < 0) {
        rc = -errno;
    }
    unlink(temporary);
    return rc;
}
