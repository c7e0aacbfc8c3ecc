/* arena.h - memory that lives as long as one call and dies in one step. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"
#include "base/str.h"

/*
 * A chain of blocks. The first block may be lent by the owner of the arena (`first`), so that a
 * small call allocates nothing. Not for big or growing things: a block is freed only as a whole.
 */
struct arena {
    struct arena_block *blocks; /* owned, newest first */
    char *at, *end;             /* free part of the newest block */
    char *first;                /* borrowed; may be NULL */
    size_t first_size;
    size_t used, ceiling; /* bytes handed out, and the most that may be */
};

/* `first` of `first_size` bytes is borrowed until arena_destroy. */
void arena_init(struct arena *a, void *first, size_t first_size, size_t ceiling);

/* Frees all; the arena may be used again at once. */
void arena_reset(struct arena *a);
void arena_destroy(struct arena *a);

/* n bytes aligned for any type, not zeroed; NULL when the ceiling would be passed. */
void *arena_alloc(struct arena *a, size_t n) MUST_USE;

/* A copy with a NUL behind it (not counted); the empty text when the ceiling would be passed. */
struct str arena_str(struct arena *a, struct str s);

#endif
