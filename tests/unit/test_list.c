#include <criterion/criterion.h>

#include "common/list.h"

struct item {
    int number;
    struct list link;
};

/* The numbers of the list as one decimal figure: 1, 2, 3 is 123. */
static int figure_of(struct list *head)
{
    int figure = 0;
    LIST_EACH (link, head) {
        figure = figure * 10 + CONTAINER_OF(link, struct item, link)->number;
        cr_assert_eq(link->next->prev, link);
        cr_assert_eq(link->prev->next, link);
    }
    return figure;
}

static void make(struct item items[4], struct list *head)
{
    list_init(head);
    for (int i = 0; i < 4; i++) {
        items[i].number = i + 1;
        list_init(&items[i].link);
    }
}

Test(list, an_empty_list_has_no_first_and_is_not_walked)
{
    struct list head;
    list_init(&head);

    cr_assert(list_is_empty(&head));
    cr_assert_null(list_first(&head));
    cr_assert_eq(figure_of(&head), 0);
}

Test(list, append_goes_to_the_end_and_prepend_to_the_front)
{
    struct item items[4];
    struct list head;
    make(items, &head);

    list_append(&head, &items[0].link);
    list_append(&head, &items[1].link);
    list_prepend(&head, &items[2].link);
    cr_assert_eq(figure_of(&head), 312);
    cr_assert_eq(list_first(&head), &items[2].link);
}

Test(list, a_member_leaves_in_one_step_and_leaving_twice_is_harmless)
{
    struct item items[4];
    struct list head;
    make(items, &head);
    for (int i = 0; i < 3; i++) {
        list_append(&head, &items[i].link);
    }

    list_remove(&items[1].link);
    cr_assert_eq(figure_of(&head), 13);
    cr_assert_not(list_is_linked(&items[1].link));
    list_remove(&items[1].link);
    cr_assert_eq(figure_of(&head), 13);
    list_append(&head, &items[1].link);
    cr_assert_eq(figure_of(&head), 132);
}

Test(list, the_current_member_may_leave_while_the_list_is_walked)
{
    struct item items[4];
    struct list head;
    make(items, &head);
    for (int i = 0; i < 4; i++) {
        list_append(&head, &items[i].link);
    }

    int seen = 0;
    LIST_EACH (link, &head) {
        list_remove(link);
        seen++;
    }
    cr_assert_eq(seen, 4);
    cr_assert(list_is_empty(&head));
}

Test(list, splicing_moves_all_members_in_order)
{
    struct item items[4];
    struct list to, from;
    make(items, &to);
    list_init(&from);

    list_splice(&to, &from);
    cr_assert(list_is_empty(&to));

    list_append(&from, &items[2].link);
    list_append(&from, &items[3].link);
    list_splice(&to, &from);
    cr_assert_eq(figure_of(&to), 34);
    cr_assert(list_is_empty(&from));

    list_append(&from, &items[0].link);
    list_append(&from, &items[1].link);
    list_splice(&to, &from);
    cr_assert_eq(figure_of(&to), 3412);
    cr_assert(list_is_empty(&from));
}
