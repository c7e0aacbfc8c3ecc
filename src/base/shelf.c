#include "base/shelf.h"

#include <stdlib.h>

/* Under the address sanitizer nothing is kept, so that it sees who looks at what was given back. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS false
#endif
#endif
#ifndef KEEPS
#define KEEPS true
#endif

/* Written into the memory that waits. */
struct shelf_piece {
    struct shelf_piece *next;
    size_t cap;
};

void shelf_destroy(struct shelf *s) {
    while (s->first) {
        struct shelf_piece *p = s->first;
        s->first = p->next;
        free(p);
    }
    s->n = 0;
}

void shelf_take(struct shelf *s, struct buf *b) {
    assert(!b->p);
    if (!s || !s->first || b->ceiling < SHELF_PIECE) {
        (void)buf_reserve(b, size_min(SHELF_PIECE, b->ceiling));
        return;
    }
    struct shelf_piece *p = s->first;
    s->first = p->next;
    s->n--;
    b->cap = p->cap;
    b->p = (char *)p;
}

void shelf_give(struct shelf *s, struct buf *b) {
    struct shelf_piece *p = (void *)b->p;
    size_t cap = b->cap;
    if (!KEEPS || !s || s->n == SHELF_PIECES || cap < SHELF_PIECE || cap > SHELF_PIECE_MAX) {
        free(p);
    } else {
        *p = (struct shelf_piece){s->first, cap};
        s->first = p;
        s->n++;
    }
    buf_init(b, b->ceiling);
}
