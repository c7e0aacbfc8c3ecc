/* agenda.h - what is due next: a heap of moments, for thousands of streams behind one alarm. */
#ifndef SIM_AGENDA_H
#define SIM_AGENDA_H

#include "base/base.h"

/* Lives inside what waits. A zeroed one stands on no agenda. */
struct agenda_entry {
    int64_t at_ns;
    size_t place; /* in the heap, from 1; 0 when it stands on no agenda */
};

/* A binary heap, earliest first. Borrows its entries. A zeroed one is empty. */
struct agenda {
    struct agenda_slot *slots; /* owned; [0] is not used */
    size_t count, cap;
};

void agenda_destroy(struct agenda *a);

/* Puts it on the agenda, or moves it when it stands there. O(log n). */
void agenda_set(struct agenda *a, struct agenda_entry *e, int64_t at_ns);

/* Does nothing when it stands on no agenda. O(log n). */
void agenda_remove(struct agenda *a, struct agenda_entry *e);

/* The earliest entry, NULL when there is none. */
struct agenda_entry *agenda_first(const struct agenda *a);

#endif
