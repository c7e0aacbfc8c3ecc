/* agenda.c - the heap; each moment lies beside its pointer, so that sifting stays in one array. */
#include "sim/agenda.h"

#include "base/buf.h"

#include <stdlib.h>

struct agenda_slot {
    int64_t at_ns;
    struct agenda_entry *entry;
};

static void place(struct agenda *a, size_t i, struct agenda_slot slot) {
    a->slots[i] = slot;
    slot.entry->place = i;
}

static void sift_up(struct agenda *a, size_t i, struct agenda_slot slot) {
    for (; i > 1 && slot.at_ns < a->slots[i / 2].at_ns; i /= 2)
        place(a, i, a->slots[i / 2]);
    place(a, i, slot);
}

static void sift_down(struct agenda *a, size_t i, struct agenda_slot slot) {
    for (;;) {
        size_t child = 2 * i;
        if (child > a->count)
            break;
        if (child < a->count && a->slots[child + 1].at_ns < a->slots[child].at_ns)
            child++;
        if (slot.at_ns <= a->slots[child].at_ns)
            break;
        place(a, i, a->slots[child]);
        i = child;
    }
    place(a, i, slot);
}

void agenda_destroy(struct agenda *a) {
    free(a->slots);
    *a = (struct agenda){0};
}

void agenda_set(struct agenda *a, struct agenda_entry *e, int64_t at_ns) {
    struct agenda_slot slot = {at_ns, e};
    bool is_later = e->place && at_ns > e->at_ns;
    e->at_ns = at_ns;
    if (!e->place) {
        if (a->count + 1 >= a->cap) {
            a->cap = a->cap ? 2 * a->cap : 64;
            a->slots = xrealloc(a->slots, a->cap * sizeof *a->slots);
        }
        e->place = ++a->count;
    }
    if (is_later)
        sift_down(a, e->place, slot);
    else
        sift_up(a, e->place, slot);
}

void agenda_remove(struct agenda *a, struct agenda_entry *e) {
    if (!e->place)
        return;
    size_t hole = e->place;
    struct agenda_slot last = a->slots[a->count--];
    e->place = 0;
    if (last.entry == e)
        return;
    if (hole > 1 && last.at_ns < a->slots[hole / 2].at_ns)
        sift_up(a, hole, last);
    else
        sift_down(a, hole, last);
}

struct agenda_entry *agenda_first(const struct agenda *a) {
    return a->count ? a->slots[1].entry : NULL;
}
