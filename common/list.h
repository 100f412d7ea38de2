/* A doubly linked list through its members' own links: no allocation, removal in one step.
 *
 * The list is a ring through a head of the same type. A link that is in no list points to
 * itself, so that list_remove() may be called twice and list_is_linked() can be asked.
 */
#ifndef PROGRESSD_COMMON_LIST_H
#define PROGRESSD_COMMON_LIST_H

#include <stdbool.h>

#include "common/result.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *link)
{
    link->next = link->prev = link;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != link;
}

/* Puts `link`, which must be in no list, at the end of the list of `head`. */
static inline void list_append(struct list *head, struct list *link)
{
    assert(!list_is_linked(link));
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Puts `link`, which must be in no list, at the front of the list of `head`. */
static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

/* Takes `link` out of whatever list it is in, if any. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all members of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The first member, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

/* Walks the list; the current member may be removed, others may not. */
#define LIST_EACH(link, head)                                                         \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head); \
         link = link##_next, link##_next = link->next)

#endif
