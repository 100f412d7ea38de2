#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/map.h"
#include "common/mem.h"

struct item {
    char key[16];
    bool in_map;
};

#define ITEMS 2000

static struct item items[ITEMS];

static void name_items(void)
{
    for (int i = 0; i < ITEMS; i++) {
        snprintf(items[i].key, sizeof(items[i].key), "task-%d", i);
        items[i].in_map = false;
    }
}

static int add(struct map *map, struct item *item)
{
    int r = map_add(map, item->key, strlen(item->key), item);
    item->in_map = item->in_map || r == 0;
    return r;
}

static void take_out(struct map *map, struct item *item)
{
    cr_assert_eq(map_remove(map, item->key, strlen(item->key)), item->in_map ? item : NULL);
    item->in_map = false;
}

/* Everything that should be in the map is found, by key and by walking, and nothing else is. */
static void assert_holds_what_was_added(const struct map *map)
{
    uint32_t expected = 0;
    for (int i = 0; i < ITEMS; i++) {
        void *found = map_get(map, items[i].key, strlen(items[i].key));
        cr_assert_eq(found, items[i].in_map ? &items[i] : NULL, "%s", items[i].key);
        expected += items[i].in_map;
    }
    cr_assert_eq(map->count, expected);

    uint32_t position = 0, walked = 0;
    for (struct item *item; (item = map_next(map, &position));) {
        cr_assert(item->in_map);
        walked++;
    }
    cr_assert_eq(walked, expected);
}

Test(map, an_empty_map_has_no_memory_and_finds_nothing)
{
    struct map map;
    uint32_t position = 0;
    map_init(&map);

    cr_assert_null(map.slots);
    cr_assert_null(map_get(&map, "x", 1));
    cr_assert_null(map_remove(&map, "x", 1));
    cr_assert_null(map_next(&map, &position));
    map_deinit(&map);
}

Test(map, all_entries_are_found_while_it_grows)
{
    struct map map;
    map_init(&map);
    name_items();

    for (int i = 0; i < ITEMS; i++) {
        cr_assert_eq(add(&map, &items[i]), 0);
        cr_assert_leq(map.count, map.capacity - map.capacity / 4, "more than 3/4 full");
        if (i < 50) {
            assert_holds_what_was_added(&map);
        }
    }
    assert_holds_what_was_added(&map);
    map_deinit(&map);
    cr_assert_eq(map.count, 0);
}

Test(map, removal_never_hides_another_entry)
{
    struct map map;
    map_init(&map);
    name_items();
    srand(7);

    /* Few enough slots that runs of neighbours form, and wrap around the end. */
    for (int step = 0; step < 20000; step++) {
        struct item *item = &items[rand() % 24];
        if (item->in_map) {
            take_out(&map, item);
        } else {
            cr_assert_eq(add(&map, item), 0);
        }
        for (int i = 0; i < 24; i++) {
            void *found = map_get(&map, items[i].key, strlen(items[i].key));
            cr_assert_eq(found, items[i].in_map ? &items[i] : NULL, "step %d", step);
        }
    }
    assert_holds_what_was_added(&map);
    map_deinit(&map);
}

Test(map, it_can_be_emptied_and_filled_again)
{
    struct map map;
    map_init(&map);
    name_items();

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ITEMS; i++) {
            cr_assert_eq(add(&map, &items[i]), 0);
        }
        for (int i = 0; i < ITEMS; i++) {
            take_out(&map, &items[i]);
        }
        assert_holds_what_was_added(&map);
    }
    map_deinit(&map);
}

Test(map, keys_are_bytes_not_strings)
{
    struct map map;
    int a, b, c, d;
    map_init(&map);

    cr_assert_eq(map_add(&map, "k\0a", 3, &a), 0);
    cr_assert_eq(map_add(&map, "k\0b", 3, &b), 0);
    cr_assert_eq(map_add(&map, "k", 1, &c), 0);
    cr_assert_eq(map_add(&map, "", 0, &d), 0);
    cr_assert_eq(map_get(&map, "k\0a", 3), &a);
    cr_assert_eq(map_get(&map, "k\0b", 3), &b);
    cr_assert_eq(map_get(&map, "k", 1), &c);
    cr_assert_eq(map_get(&map, "", 0), &d);
    cr_assert_null(map_get(&map, "k\0", 2));
    map_deinit(&map);
}

Test(map, running_out_of_memory_leaves_the_map_as_it_was)
{
    struct map map;
    map_init(&map);
    name_items();

    mem_fail_nth(1);
    cr_assert_eq(add(&map, &items[0]), -ENOMEM);
    assert_holds_what_was_added(&map);

    unsigned failures = 0;
    for (int i = 0; i < ITEMS; i++) {
        mem_fail_nth(1); /* every growth fails once, then passes */
        if (add(&map, &items[i]) == -ENOMEM) {
            failures++;
            assert_holds_what_was_added(&map);
            cr_assert_eq(add(&map, &items[i]), 0);
        }
        mem_fail_nth(0);
    }
    cr_assert_gt(failures, 5);
    assert_holds_what_was_added(&map);
    map_deinit(&map);
}
