/* A hash table from byte strings to pointers.
 *
 * Receives   keys that lie in the values themselves, or live as long
 * Hands on   the value of a key
 * Owns       its slots; borrows keys and values
 *
 * Open addressing, linear probing, at most 3/4 full, deletion by moving back what follows. The
 * hash (SipHash) is seeded at random once per process, since task ids and addresses come from
 * outside.
 */
#ifndef PROGRESSD_COMMON_MAP_H
#define PROGRESSD_COMMON_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

struct map_slot;

struct map {
    struct map_slot *slots; /* NULL until the first insertion */
    uint32_t capacity;      /* a power of two, or 0 */
    uint32_t count;
};

/* An empty map. Allocates nothing. */
void map_init(struct map *map);

/* Frees the slots; the values are the caller's business. The map is empty afterwards. */
void map_deinit(struct map *map);

/* The value of the key, or NULL. */
void *map_get(const struct map *map, const void *key, size_t key_len);

/* Adds a key that is not in the map yet (asserted), with a value that is not NULL. The key must
 * stay where it is while it is in the map. 0, or with the map unchanged -ENOMEM, or at the
 * process' first key getrandom(2)'s -errno. */
int map_add(struct map *map, const void *key, size_t key_len, void *value) MUST_CHECK;

/* Takes a key out and returns its value, or NULL if there was none. */
void *map_remove(struct map *map, const void *key, size_t key_len);

/* Walks all entries in no order: `*position` starts at 0; NULL at the end. The map must not be
 * changed between the first call and the last. */
void *map_next(const struct map *map, uint32_t *position);

#endif
