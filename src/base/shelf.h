/* shelf.h - memory of buffers that are done, kept for the next ones: one thread's, all of one size. */
#ifndef BASE_SHELF_H
#define BASE_SHELF_H

#include "base/buf.h"

/*
 * What one call needs and gives back before the next (heads of messages, mostly) comes from here, so
 * that a connection at rest holds nothing of it and a call does not go to the heap for it: with many
 * calls in hand the heap's own cache, seven pieces a size (glibc 2.36, "tcache_count"), is soon used up.
 *
 * Where a shelf is a pointer, NULL means none: memory then comes from the heap and goes back there.
 */
enum {
    SHELF_PIECE = 1024,     /* bytes; most heads fit */
    SHELF_PIECE_MAX = 4096, /* what has grown beyond is not kept */
    SHELF_PIECES = 256,     /* the most that are kept */
};

struct shelf_piece;

/* A zeroed one is empty. */
struct shelf {
    struct shelf_piece *first; /* owned */
    int n;
};

void shelf_destroy(struct shelf *s);

/* Gives `b`, which has no memory, SHELF_PIECE bytes or more; fewer only where its ceiling is lower. */
void shelf_take(struct shelf *s, struct buf *b);

/* Takes the memory of `b`, if it has some; `b` is empty then, with its ceiling as before. */
void shelf_give(struct shelf *s, struct buf *b);

#endif
