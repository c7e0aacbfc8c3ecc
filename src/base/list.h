/* list.h - the intrusive doubly linked list: being in a state means being in that state's list. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/base.h"

/* A head, or a link inside an element. A zeroed link is in no list. */
struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *head) {
    head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head) {
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link) {
    return link->next != NULL;
}

static inline void list_append(struct list *head, struct list *link) {
    assert(!list_is_linked(link));
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Does nothing when the link is in no list. */
static inline void list_remove(struct list *link) {
    if (!list_is_linked(link))
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* The only loop macro of the house. The current element may be removed while the walk goes on. */
#define LIST_EACH(head, it)                                                                        \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
