#include "broker/web/web_cache.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/list.h"
#include "common/mem.h"

struct cached {
    struct list link;
    struct stat status; /* what the content was read under */
    bool is_settled;    /* the file was at rest: its next change will show in its status */
    struct web_content content;
};

struct web_cache {
    struct list recent; /* struct cached; the one last asked for at the front */
    uint32_t files;
    size_t bytes;
};

struct web_cache *web_cache_new(void)
{
    struct web_cache *cache = mem_zalloc(1, sizeof(*cache));

    if (cache) {
        list_init(&cache->recent);
    }
    return cache;
}

static void web_cache_drop(struct web_cache *cache, struct cached *cached)
{
    cache->files--;
    cache->bytes -= cached->content.bytes->len;
    list_remove(&cached->link);
    bytes_unref(cached->content.bytes);
    mem_free(cached);
}

void web_cache_free(struct web_cache *cache)
{
    if (!cache) {
        return;
    }
    LIST_EACH (link, &cache->recent) {
        web_cache_drop(cache, CONTAINER_OF(link, struct cached, link));
    }
    mem_free(cache);
}

/* ── Which file it is ────────────────────────────────────────────────────────────────────────── */

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Whether nobody wrote to the file in between. */
static bool has_same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && is_same_time(a->st_mtim, b->st_mtim);
}

/* Whether it is the same file, as it was: mtime can be set back, ctime can't. */
static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && has_same_content(a, b) &&
           is_same_time(a->st_ctim, b->st_ctim);
}

static struct cached *web_cache_find(const struct web_cache *cache, const struct stat *status)
{
    LIST_EACH (link, &cache->recent) {
        struct cached *cached = CONTAINER_OF(link, struct cached, link);

        if (is_unchanged(&cached->status, status)) {
            return cached;
        }
    }
    return NULL;
}

/* ── Reading ─────────────────────────────────────────────────────────────────────────────────── */

/* 0; WEB_CACHE_CHANGING when the file is shorter by now; -errno. */
static int read_all(int fd, struct bytes *bytes)
{
    for (uint32_t at = 0; at < bytes->len;) {
        ssize_t n = pread(fd, bytes->data + at, bytes->len - at, at);

        if (n == 0) {
            return WEB_CACHE_CHANGING;
        }
        if (n > 0) {
            at += (uint32_t)n;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Half of SHA-256: nobody who could choose a file's content gains by two that are alike. */
static void write_etag(const struct bytes *bytes, char etag[WEB_ETAG_SIZE])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    SHA256(bytes->data, bytes->len, digest);
    for (size_t i = 0; i < WEB_ETAG_SIZE / 2; i++) {
        snprintf(etag + 2 * i, 3, "%02x", digest[i]);
    }
}

/* Reads the file as it is under `status`. 0 and a reference of the caller's; an outcome; -errno. */
static int read_content(int fd, const struct stat *status, struct web_content *ret_content)
{
    struct stat after;
    struct bytes *bytes;
    int r;

    if (status->st_size > WEB_FILE_MAX) {
        return WEB_CACHE_TOO_LARGE;
    }
    bytes = bytes_new((uint32_t)status->st_size);
    if (!bytes) {
        return -ENOMEM;
    }
    r = read_all(fd, bytes);
    if (r == 0 && fstat(fd, &after) < 0) {
        r = -errno;
    }
    /* ctime doesn't count here: it changes when another file is put in this one's place. */
    if (r == 0 && !has_same_content(status, &after)) {
        r = WEB_CACHE_CHANGING;
    }
    if (r != 0) {
        bytes_unref(bytes);
        return r;
    }
    ret_content->bytes = bytes;
    write_etag(bytes, ret_content->etag);
    return 0;
}

/* ── The cache ───────────────────────────────────────────────────────────────────────────────── */

/* Drops what nobody is being sent, but not the one that is just being handed out. */
static void web_cache_trim(struct web_cache *cache)
{
    struct list *link = cache->recent.prev;

    while ((cache->files > WEB_CACHE_FILES || cache->bytes > WEB_CACHE_BYTES) &&
           link != cache->recent.next) {
        struct cached *cached = CONTAINER_OF(link, struct cached, link);

        link = link->prev;
        if (cached->content.bytes->refs == 1) {
            web_cache_drop(cache, cached);
        }
    }
}

static int add(struct web_cache *cache, const struct stat *status,
               const struct web_content *content)
{
    struct cached *cached = mem_alloc(sizeof(*cached));

    if (!cached) {
        return -ENOMEM;
    }
    *cached = (struct cached){.status = *status, .content = *content};
    list_init(&cached->link);
    list_prepend(&cache->recent, &cached->link);
    cache->files++;
    cache->bytes += content->bytes->len;
    return 0;
}

/* Remembers what was just read, and takes its reference over. The same content as before, although
 * the file changed lately, stays the same bytes. */
static int remember(struct web_cache *cache, struct cached *before, const struct stat *status,
                    struct web_content *content)
{
    int r = 0;

    if (before && strcmp(before->content.etag, content->etag) == 0) {
        bytes_unref(content->bytes);
        return 0;
    }
    if (before) {
        web_cache_drop(cache, before);
    }
    r = add(cache, status, content);
    if (r < 0) {
        bytes_unref(content->bytes);
    }
    return r;
}

int web_cache_get(struct web_cache *cache, int fd, const struct stat *status,
                  const struct web_content **ret_content)
{
    struct cached *cached = web_cache_find(cache, status);

    if (!cached || !cached->is_settled) {
        const bool is_settled = time(NULL) > status->st_ctim.tv_sec + 1;
        struct web_content content;
        int r = read_content(fd, status, &content);

        r = r == 0 ? remember(cache, cached, status, &content) : r;
        if (r != 0) {
            return r;
        }
        cached = web_cache_find(cache, status);
        cached->is_settled = is_settled;
    }
    list_remove(&cached->link);
    list_prepend(&cache->recent, &cached->link);
    web_cache_trim(cache);
    *ret_content = &cached->content;
    return 0;
}

uint32_t web_cache_files(const struct web_cache *cache)
{
    return cache->files;
}

size_t web_cache_bytes(const struct web_cache *cache)
{
    return cache->bytes;
}
