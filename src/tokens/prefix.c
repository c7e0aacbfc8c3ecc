#include "tokens/prefix.h"

#include <stdlib.h>

/* No entry: indexes stay below it. */
#define NONE UINT32_MAX

struct prefix_entry {
    uint64_t mark;
    int64_t seen_ns;
    uint32_t newer, older; /* the list of all */
    uint32_t next;         /* in the bucket */
    uint32_t backends;     /* bits */
};

/* --- marks --- */

static void put_le(unsigned char *out, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)(value >> 8 * i);
}

void prefix_chain_init(struct prefix_chain *c, const struct siphash_key *key) {
    c->key = *key;
    c->n_waiting = 0;
    c->n_wanted = PREFIX_FIRST;
    put_le(c->block, 0, sizeof(uint64_t));
}

enum status prefix_chain_add(struct prefix_chain *c, const uint32_t *ids, size_t n,
                             struct buf *marks) {
    for (size_t i = 0; i < n; i++) {
        put_le(c->block + sizeof(uint64_t) + c->n_waiting * sizeof *ids, ids[i], sizeof *ids);
        if (++c->n_waiting < c->n_wanted)
            continue;
        uint64_t mark =
            siphash(&c->key, c->block, sizeof(uint64_t) + c->n_wanted * sizeof(uint32_t));
        put_le(c->block, mark, sizeof mark);
        c->n_waiting = 0;
        c->n_wanted = PREFIX_STEP;
        buf_put(marks, &mark, sizeof mark);
    }
    return buf_status(marks);
}

/* --- the table --- */

void prefix_init(struct prefix_table *t, uint32_t capacity, int64_t ttl_ns) {
    assert(capacity > 0 && capacity < UINT32_C(1) << 30);
    uint32_t n_buckets = 1;
    while (n_buckets < capacity)
        n_buckets *= 2;
    *t = (struct prefix_table){.capacity = capacity,
                               .bucket_mask = n_buckets - 1,
                               .newest = NONE,
                               .oldest = NONE,
                               .ttl_ns = ttl_ns};
    t->entries = xcalloc(capacity, sizeof *t->entries);
    t->buckets = xmalloc(n_buckets * sizeof *t->buckets);
    memset(t->buckets, 0xff, n_buckets * sizeof *t->buckets);
}

void prefix_destroy(struct prefix_table *t) {
    free(t->entries);
    free(t->buckets);
    *t = (struct prefix_table){0};
}

/* Marks are hashes under a secret: their own bits spread well. */
static uint32_t *bucket_of(const struct prefix_table *t, uint64_t mark) {
    return &t->buckets[mark & t->bucket_mask];
}

static uint32_t find(const struct prefix_table *t, uint64_t mark) {
    uint32_t i = *bucket_of(t, mark);
    while (i != NONE && t->entries[i].mark != mark)
        i = t->entries[i].next;
    return i;
}

/* Takes the entry out of the list of all. */
static void unlist(struct prefix_table *t, uint32_t i) {
    struct prefix_entry *e = &t->entries[i];
    *(e->newer == NONE ? &t->newest : &t->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &t->oldest : &t->entries[e->older].newer) = e->newer;
}

static void list_as_newest(struct prefix_table *t, uint32_t i) {
    struct prefix_entry *e = &t->entries[i];
    e->newer = NONE;
    e->older = t->newest;
    *(t->newest == NONE ? &t->oldest : &t->entries[t->newest].newer) = i;
    t->newest = i;
}

/* A place for a new entry: a fresh one, or that of the entry seen longest ago. */
static uint32_t take_place(struct prefix_table *t) {
    if (t->n_used < t->capacity)
        return t->n_used++;
    uint32_t i = t->oldest, *at = bucket_of(t, t->entries[i].mark);
    while (*at != i)
        at = &t->entries[*at].next;
    *at = t->entries[i].next;
    unlist(t, i);
    return i;
}

static bool is_alive(const struct prefix_table *t, uint32_t i, int64_t now_ns) {
    return i != NONE && now_ns - t->entries[i].seen_ns < t->ttl_ns;
}

static int64_t tokens_of(size_t n_marks) {
    return n_marks ? PREFIX_FIRST + PREFIX_STEP * (int64_t)(n_marks - 1) : 0;
}

int64_t prefix_predict(const struct prefix_table *t, const uint64_t *marks, size_t n,
                       int64_t now_ns) {
    size_t hit = 0;
    while (hit < n && is_alive(t, find(t, marks[hit]), now_ns))
        hit++;
    return tokens_of(hit);
}

void prefix_affinity(const struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                     int64_t affinity[PREFIX_BACKENDS]) {
    uint32_t have = (1u << PREFIX_BACKENDS) - 1;
    memset(affinity, 0, PREFIX_BACKENDS * sizeof *affinity);
    for (size_t hit = 0; hit < n && have; hit++) {
        uint32_t i = find(t, marks[hit]);
        have &= is_alive(t, i, now_ns) ? t->entries[i].backends : 0;
        for (uint32_t left = have; left; left &= left - 1)
            affinity[__builtin_ctz(left)] = tokens_of(hit + 1);
    }
}

void prefix_commit(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                   int backend) {
    uint32_t bit = backend >= 0 && backend < PREFIX_BACKENDS ? 1u << backend : 0;
    for (size_t k = n; k-- > 0;) {
        uint32_t i = find(t, marks[k]);
        if (i != NONE) {
            unlist(t, i);
        } else {
            i = take_place(t);
            uint32_t *bucket = bucket_of(t, marks[k]);
            t->entries[i] = (struct prefix_entry){.mark = marks[k], .next = *bucket};
            *bucket = i;
        }
        t->entries[i].seen_ns = now_ns;
        t->entries[i].backends |= bit;
        list_as_newest(t, i);
    }
}
