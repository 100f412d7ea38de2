/* What the files of the web page contain: read once, shared by all who are sent it.
 *
 * Receives   open files
 * Hands on   their bytes and their ETag
 * Owns       a reference to the bytes of each file that it remembers
 *
 * A client that is slow to take a file holds a reference, not a copy: so however many there are, a
 * worker holds each version of a file once. Files that nobody is being sent are dropped, the one
 * last asked for the longest ago first, when the cache is above its bounds.
 *
 * A file is known by device, inode, size and times. A clock of the file system is coarse: a file
 * that was changed less than a second before it was read is read again when it is asked for, since
 * the next change might not show. The ETag is a hash of the content, and so the same on every node,
 * whenever and however the file came there.
 */
#ifndef PROGRESSD_BROKER_WEB_WEB_CACHE_H
#define PROGRESSD_BROKER_WEB_WEB_CACHE_H

#include <sys/stat.h>

#include "common/bytes.h"

/* Largest file that is served. Reading one and hashing it keeps the loop for some ten milliseconds,
 * which is as much as others may be kept waiting. */
#define WEB_FILE_MAX (4U << 20)

/* How much is remembered of what nobody is being sent. */
#define WEB_CACHE_FILES 256
#define WEB_CACHE_BYTES (16U << 20)

#define WEB_ETAG_SIZE 33 /* hexadecimal, without quotes, and NUL */

struct web_content {
    struct bytes *bytes;
    char etag[WEB_ETAG_SIZE];
};

enum web_cache_outcome {
    WEB_CACHE_TOO_LARGE = 1, /* above WEB_FILE_MAX */
    WEB_CACHE_CHANGING,      /* the file was written to while it was read */
};

struct web_cache;

/* NULL when out of memory. */
struct web_cache *web_cache_new(void) MUST_CHECK;

/* Bytes that were handed out stay good. Accepts NULL. */
void web_cache_free(struct web_cache *cache);

/* The content of a regular file, open at `fd`, that fstat(2) said `status` of. 0 and *ret_content,
 * lent until the next call; a web_cache_outcome; or -errno. */
int web_cache_get(struct web_cache *cache, int fd, const struct stat *status,
                  const struct web_content **ret_content) MUST_CHECK;

/* How many files are remembered, and their bytes: for tests. */
uint32_t web_cache_files(const struct web_cache *cache);
size_t web_cache_bytes(const struct web_cache *cache);

#endif
