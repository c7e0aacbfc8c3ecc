#include "tokens/vocabulary_set.h"

#include <stdlib.h>

/* True when it was the last reference: all that the others did is done, and seen. */
static bool is_last(_Atomic(int64_t) *n_refs) {
    return atomic_fetch_sub_explicit(n_refs, 1, memory_order_acq_rel) == 1;
}

enum status shared_vocabulary_new(struct buf *block, struct shared_vocabulary **out,
                                  struct problem *why) {
    struct vocabulary v;
    TRY(vocabulary_open(&v, block->p, block->len, why));
    struct shared_vocabulary *s = xcalloc(1, sizeof *s);
    s->v = v;
    s->block = *block;
    *block = (struct buf){0};
    atomic_init(&s->n_refs, 1);
    *out = s;
    return ST_OK;
}

struct shared_vocabulary *shared_vocabulary_ref(struct shared_vocabulary *s) {
    if (s)
        atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

void shared_vocabulary_unref(struct shared_vocabulary *s) {
    if (!s || !is_last(&s->n_refs))
        return;
    buf_destroy(&s->block);
    free(s);
}

struct vocabulary_set *vocabulary_set_new(void) {
    struct vocabulary_set *s = xcalloc(1, sizeof *s);
    atomic_init(&s->n_refs, 1);
    return s;
}

struct vocabulary_set *vocabulary_set_ref(struct vocabulary_set *s) {
    if (s)
        atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

void vocabulary_set_unref(struct vocabulary_set *s) {
    if (!s || !is_last(&s->n_refs))
        return;
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].name);
        shared_vocabulary_unref(s->items[i].vocabulary);
    }
    free(s->items);
    free(s);
}

void vocabulary_set_put(struct vocabulary_set *s, struct str name, struct shared_vocabulary *v) {
    assert(!vocabulary_set_find(s, name));
    s->items = xrealloc(s->items, (s->n + 1) * sizeof *s->items);
    s->items[s->n++] = (struct vocabulary_named){str_dup(name), v};
}

struct shared_vocabulary *vocabulary_set_find(const struct vocabulary_set *s, struct str name) {
    for (size_t i = 0; s && i < s->n; i++) {
        if (str_eq(str_of(s->items[i].name), name))
            return s->items[i].vocabulary;
    }
    return NULL;
}
