#include "base/arena.h"

#include "base/buf.h"

#include <stdlib.h>

enum { BLOCK = 4096, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    _Alignas(ALIGN) char bytes[];
};

void arena_init(struct arena *a, void *first, size_t first_size, size_t ceiling) {
    *a = (struct arena){.first = first, .first_size = first_size, .ceiling = ceiling};
    arena_reset(a);
}

void arena_reset(struct arena *a) {
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->blocks = NULL;
    a->used = 0;
    a->at = a->first;
    a->end = a->first ? a->first + a->first_size : NULL;
}

void arena_destroy(struct arena *a) {
    arena_reset(a);
    *a = (struct arena){0};
}

/* Bytes to skip so that p is aligned. */
static size_t padding(const char *p) {
    return (size_t)(-(uintptr_t)p % ALIGN);
}

void *arena_alloc(struct arena *a, size_t n) {
    if (n > a->ceiling - a->used)
        return NULL;
    size_t pad = a->at ? padding(a->at) : 0;
    if (!a->at || (size_t)(a->end - a->at) < pad + n) {
        size_t size = size_max(n, BLOCK - sizeof(struct arena_block));
        struct arena_block *b = xmalloc(sizeof *b + size);
        b->next = a->blocks;
        a->blocks = b;
        a->at = b->bytes;
        a->end = b->bytes + size;
        pad = 0;
    }
    char *p = a->at + pad;
    a->at = p + n;
    a->used += n;
    return p;
}

struct str arena_str(struct arena *a, struct str s) {
    char *p = arena_alloc(a, s.n + 1);
    if (!p)
        return (struct str){"", 0};
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}
