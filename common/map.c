#include "common/map.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "common/mem.h"
#include "common/siphash.h"

#define FIRST_CAPACITY 16

struct map_slot {
    const void *key;
    void *value; /* NULL: the slot is empty */
    uint32_t key_len;
    uint32_t hash; /* kept, so that growing and deleting never hash again */
};

static uint8_t seed[SIPHASH_KEY_LEN];
static bool seeded;

/* Done at the first insertion: before it there is nothing to look up. */
static int make_seed(void)
{
    if (seeded) {
        return 0;
    }
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        return -errno;
    }
    seeded = true;
    return 0;
}

static uint32_t hash_of(const void *key, size_t key_len)
{
    return (uint32_t)siphash(seed, key, key_len);
}

static bool is_key(const struct map_slot *slot, uint32_t hash, const void *key, size_t key_len)
{
    return slot->hash == hash && slot->key_len == key_len && memcmp(slot->key, key, key_len) == 0;
}

/* The slot of the key, or NULL. There is always an empty slot, so the probing ends. */
static struct map_slot *find(const struct map *map, const void *key, size_t key_len)
{
    if (map->count == 0) {
        return NULL;
    }
    uint32_t mask = map->capacity - 1, hash = hash_of(key, key_len);
    for (uint32_t i = hash & mask; map->slots[i].value; i = (i + 1) & mask) {
        if (is_key(&map->slots[i], hash, key, key_len)) {
            return &map->slots[i];
        }
    }
    return NULL;
}

/* Puts an entry into the first free slot from its own on. */
static void place(struct map *map, struct map_slot entry)
{
    uint32_t mask = map->capacity - 1, i = entry.hash & mask;
    while (map->slots[i].value) {
        i = (i + 1) & mask;
    }
    map->slots[i] = entry;
}

static int grow(struct map *map)
{
    uint32_t capacity = map->capacity ? map->capacity * 2 : FIRST_CAPACITY;
    if (capacity == 0) {
        return -ENOMEM; /* 2^32 slots */
    }
    struct map larger = {.capacity = capacity, .count = map->count};
    larger.slots = mem_zalloc(capacity, sizeof(*larger.slots));
    if (!larger.slots) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value) {
            place(&larger, map->slots[i]);
        }
    }
    mem_free(map->slots);
    *map = larger;
    return 0;
}

void map_init(struct map *map)
{
    *map = (struct map){NULL, 0, 0};
}

void map_deinit(struct map *map)
{
    mem_free(map->slots);
    map_init(map);
}

void *map_get(const struct map *map, const void *key, size_t key_len)
{
    struct map_slot *slot = find(map, key, key_len);
    return slot ? slot->value : NULL;
}

int map_add(struct map *map, const void *key, size_t key_len, void *value)
{
    assert(value);
    assert(key_len <= UINT32_MAX);
    assert(!find(map, key, key_len));

    int r = make_seed();
    if (r < 0) {
        return r;
    }
    if (map->count >= map->capacity - map->capacity / 4) {
        r = grow(map);
        if (r < 0) {
            return r;
        }
    }
    place(map, (struct map_slot){key, value, (uint32_t)key_len, hash_of(key, key_len)});
    map->count++;
    return 0;
}

/* Empties the slot, and moves back what follows where the hole would cut it off from its own
 * slot: an entry at j may fill the hole at i unless its own slot lies behind i, up to j. */
static void empty_slot(struct map *map, uint32_t i)
{
    uint32_t mask = map->capacity - 1;
    for (uint32_t j = (i + 1) & mask; map->slots[j].value; j = (j + 1) & mask) {
        uint32_t from_own = (j - map->slots[j].hash) & mask;
        uint32_t from_hole = (j - i) & mask;
        if (from_own >= from_hole) {
            map->slots[i] = map->slots[j];
            i = j;
        }
    }
    map->slots[i].value = NULL;
}

void *map_remove(struct map *map, const void *key, size_t key_len)
{
    struct map_slot *slot = find(map, key, key_len);
    if (!slot) {
        return NULL;
    }
    void *value = slot->value;
    empty_slot(map, (uint32_t)(slot - map->slots));
    map->count--;
    return value;
}

void *map_next(const struct map *map, uint32_t *position)
{
    while (*position < map->capacity) {
        void *value = map->slots[(*position)++].value;
        if (value) {
            return value;
        }
    }
    return NULL;
}
