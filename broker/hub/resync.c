#include "broker/hub/resync.h"

static uint64_t resync_now_ms(const struct resync *resync)
{
    return uv_now(resync->room->border.clock.loop);
}

static struct resync_place *resync_next(struct resync *resync)
{
    struct list *first = list_first(resync->lost_next ? &resync->lost : &resync->added);

    if (!first) {
        first = list_first(resync->lost_next ? &resync->added : &resync->lost);
    }
    resync->lost_next = !resync->lost_next;
    return first ? CONTAINER_OF(first, struct resync_place, queue) : NULL;
}

void resync_go_on(struct resync *resync)
{
    struct resync_place *place;

    while (resync->room->syncing < RESYNC_WINDOW && (place = resync_next(resync)) &&
           redis_link_is_up(place->watch->link)) {
        list_remove(&place->queue);
        watch_sync(place->watch);
    }
}

void resync_lose(struct resync *resync, const struct redis_link *redis)
{
    LIST_EACH (link, &resync->all) {
        struct resync_place *place = CONTAINER_OF(link, struct resync_place, all);

        if (place->watch->link != redis) {
            continue;
        }
        watch_lose(place->watch);
        if (!list_is_linked(&place->queue)) {
            list_append(&resync->lost, &place->queue);
        }
    }
}

void resync_again(struct resync *resync, struct resync_place *place)
{
    if (place->watch->state == WATCH_AWAY && !list_is_linked(&place->queue)) {
        list_append(&resync->lost, &place->queue);
    }
}

/* Every tick compares its share of the watches, so that each one's turn comes once an interval. */
static void resync_on_timer(struct timer *timer)
{
    struct resync *resync = CONTAINER_OF(timer, struct resync, timer);
    const uint64_t now = resync_now_ms(resync);

    resync->due +=
        (double)resync->count * (double)(now - resync->compared_ms) / (double)resync->interval_ms;
    resync->compared_ms = now;
    if (resync->due > resync->count) {
        resync->due = resync->count;
    }
    for (; resync->due >= 1; resync->due -= 1) {
        struct resync_place *place =
            CONTAINER_OF(list_first(&resync->all), struct resync_place, all);

        list_remove(&place->all);
        list_append(&resync->all, &place->all);
        watch_compare(place->watch);
        resync_again(resync, place);
    }
    resync_go_on(resync);
    timer_set(resync->room->wheel, &resync->timer, now + TIMER_WHEEL_TICK_MS);
}

void resync_init(struct resync *resync, struct watch_room *room, uint32_t interval_ms)
{
    *resync = (struct resync){.room = room, .interval_ms = interval_ms};
    list_init(&resync->all);
    list_init(&resync->added);
    list_init(&resync->lost);
    timer_init(&resync->timer, resync_on_timer);
    resync->compared_ms = resync_now_ms(resync);
    timer_set(room->wheel, &resync->timer, resync->compared_ms + TIMER_WHEEL_TICK_MS);
}

void resync_deinit(struct resync *resync)
{
    timer_cancel(resync->room->wheel, &resync->timer);
}

void resync_add(struct resync *resync, struct resync_place *place, struct watch *watch)
{
    place->watch = watch;
    list_init(&place->all);
    list_init(&place->queue);
    list_append(&resync->all, &place->all);
    list_append(&resync->added, &place->queue);
    resync->count++;
}

struct resync_place *resync_first(const struct resync *resync)
{
    struct list *first = list_first(&resync->all);

    return first ? CONTAINER_OF(first, struct resync_place, all) : NULL;
}

void resync_remove(struct resync *resync, struct resync_place *place)
{
    list_remove(&place->all);
    list_remove(&place->queue);
    resync->count--;
}
