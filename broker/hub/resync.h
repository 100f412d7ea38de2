/* Whose turn it is to be brought in step with Redis.
 *
 * Receives   watches to keep in step; that the link is up or lost; its own timer
 * Hands on   watch_sync(), watch_lose() and watch_compare(), in turn (watch.h)
 * Owns       the lists of watches and the timer of the comparisons; borrows the watches
 *
 * A watch is subscribed and read when it is added, and again after each reconnect: RESYNC_WINDOW of
 * them at a time. New ones and those that lost the link take turns, so that neither keeps the other
 * waiting. Every `resync-interval` each watch is compared with Redis, spread evenly.
 */
#ifndef PROGRESSD_BROKER_HUB_RESYNC_H
#define PROGRESSD_BROKER_HUB_RESYNC_H

#include "broker/hub/watch.h"

/* Watches whose subscription or read is under way at the same time. */
#define RESYNC_WINDOW 256

struct resync {
    struct watch_room *room;
    uint32_t interval_ms;
    struct list all;         /* in the order in which they are to be compared */
    uint32_t count;          /* of them */
    struct list added, lost; /* AWAY, waiting for their turn */
    bool lost_next;          /* whose turn is next: `lost`, if there is one */
    struct timer timer;
    uint64_t compared_ms;
    double due; /* comparisons, with the fraction left over from the last tick */
};

/* A watch's places in the lists. Embedded beside the watch. */
struct resync_place {
    struct watch *watch;
    struct list all, queue;
};

/* `room` must outlive the resync. Sets the timer. */
void resync_init(struct resync *resync, struct watch_room *room, uint32_t interval_ms);
void resync_deinit(struct resync *resync);

/* `watch` (AWAY) waits for its turn. */
void resync_add(struct resync *resync, struct resync_place *place, struct watch *watch);
void resync_remove(struct resync *resync, struct resync_place *place);

/* Queues a watch again that is AWAY since Redis refused it. The turn of its comparison does so too.
 */
void resync_again(struct resync *resync, struct resync_place *place);

/* Any of them; NULL: there is none. */
struct resync_place *resync_first(const struct resync *resync);

/* Begins as many as the window takes: to be called after resync_add(), when the link is up, and
 * when room->syncing has fallen. */
void resync_go_on(struct resync *resync);

/* The link is lost: all that are on it have to be subscribed and read again. */
void resync_lose(struct resync *resync, const struct redis_link *link);

#endif
