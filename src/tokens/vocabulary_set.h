/* vocabulary_set.h - vocabularies by name, shared by all threads that count with them. */
#ifndef TOKENS_VOCABULARY_SET_H
#define TOKENS_VOCABULARY_SET_H

#include <stdatomic.h>

#include "tokens/vocabulary.h"

/* A vocabulary that was made at run time, with its block. References may be taken and given back by
 * any thread; the last one frees. Both accept NULL. */
struct shared_vocabulary {
    struct vocabulary v;
    struct buf block; /* owned */
    _Atomic(int64_t) n_refs;
};

/* Takes the block over, which is left empty; one reference. The status is vocabulary_open's. */
enum status shared_vocabulary_new(struct buf *block, struct shared_vocabulary **out,
                                  struct problem *why) MUST_USE;
struct shared_vocabulary *shared_vocabulary_ref(struct shared_vocabulary *s);
void shared_vocabulary_unref(struct shared_vocabulary *s);

/* Filled by one thread, then read by any: nothing changes after vocabulary_set_put was last called. */
struct vocabulary_set {
    struct vocabulary_named {
        char *name;                           /* owned */
        struct shared_vocabulary *vocabulary; /* one reference */
    } * items;                                /* owned */
    size_t n;
    _Atomic(int64_t) n_refs;
};

struct vocabulary_set *vocabulary_set_new(void); /* one reference */
struct vocabulary_set *vocabulary_set_ref(struct vocabulary_set *s);
void vocabulary_set_unref(struct vocabulary_set *s);

/* Takes the reference over. No two have one name. */
void vocabulary_set_put(struct vocabulary_set *s, struct str name, struct shared_vocabulary *v);

/* NULL when the set has none of that name, or is NULL. As long as the set. */
struct shared_vocabulary *vocabulary_set_find(const struct vocabulary_set *s, struct str name);

#endif
