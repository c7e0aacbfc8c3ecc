#include "tokens/prefix.h"

#include <stdlib.h>

/* No entry. Indexes count from 1, so that memory that was never written says so. */
#define NONE UINT32_C(0)

/*
 * The mark of an entry that is being changed is 0. Whoever reads one takes the mark first and again at
 * last; between them it stands for what he read.
 */
struct prefix_entry {
    _Atomic(uint64_t) mark;
    _Atomic(int64_t) seen_ns;
    _Atomic(uint32_t) next;     /* in the bucket */
    _Atomic(uint32_t) backends; /* bits */
    uint32_t newer, older;      /* the list of all; the changer's alone */
};

/* A commit that waits for him who is changing the table. */
struct prefix_job {
    struct prefix_job *next;
    int64_t now_ns;
    int backend;
    size_t n;
    uint64_t marks[];
};

/* --- marks --- */

void prefix_chain_init(struct prefix_chain *c, const struct siphash_key *key) {
    static const uint64_t no_mark = 0;
    c->key = *key;
    c->n_waiting = 0;
    c->n_wanted = PREFIX_FIRST;
    siphash_begin(&c->hash, key);
    siphash_add(&c->hash, &no_mark, sizeof no_mark);
}

enum status prefix_chain_add(struct prefix_chain *c, struct str data, uint32_t tokens,
                             struct buf *marks) {
    assert(tokens <= prefix_chain_wants(c));
    siphash_add(&c->hash, data.p, data.n);
    c->n_waiting += tokens;
    if (c->n_waiting < c->n_wanted)
        return ST_OK;
    uint64_t mark = siphash_end(c->hash);
    siphash_begin(&c->hash, &c->key);
    siphash_add(&c->hash, &mark, sizeof mark);
    c->n_waiting = 0;
    c->n_wanted = PREFIX_STEP;
    buf_put(marks, &mark, sizeof mark);
    return buf_status(marks);
}

/* --- the table --- */

void prefix_init(struct prefix_table *t, uint32_t capacity) {
    assert(capacity > 0 && capacity < UINT32_C(1) << 30);
    uint32_t n_buckets = 1;
    while (n_buckets < capacity)
        n_buckets *= 2;
    *t = (struct prefix_table){.capacity = capacity, .bucket_mask = n_buckets - 1};
    atomic_flag_clear(&t->is_changing);
    t->entries = xcalloc(capacity + UINT32_C(1), sizeof *t->entries);
    t->buckets = xcalloc(n_buckets, sizeof *t->buckets);
}

void prefix_destroy(struct prefix_table *t) {
    free(t->entries);
    free(t->buckets);
    for (struct prefix_job *j = atomic_load(&t->jobs), *next; j; j = next) {
        next = j->next;
        free(j);
    }
    *t = (struct prefix_table){0};
}

/* Marks are hashes under a secret: their own bits spread well. */
static _Atomic(uint32_t) *bucket_of(struct prefix_table *t, uint64_t mark) {
    return &t->buckets[mark & t->bucket_mask];
}

static uint32_t find(struct prefix_table *t, uint64_t mark) {
    /* An entry that is moved to another bucket takes its reader there; he does not go on for ever. */
    enum { STEPS_MAX = 100 };
    uint32_t i = atomic_load_explicit(bucket_of(t, mark), memory_order_acquire);
    for (int n = 0; n < STEPS_MAX && i != NONE; n++) {
        if (atomic_load_explicit(&t->entries[i].mark, memory_order_acquire) == mark)
            return i;
        i = atomic_load_explicit(&t->entries[i].next, memory_order_acquire);
    }
    return NONE;
}

/* In what look_up finds: somebody saw the mark in time. The bits below say which backends. */
#define IS_ALIVE (UINT32_C(1) << 31)

/* 0 when nobody saw it in time. */
static uint32_t look_up(struct prefix_table *t, uint64_t mark, int64_t now_ns, int64_t ttl_ns) {
    uint32_t i = find(t, mark);
    if (i == NONE)
        return 0;
    struct prefix_entry *e = &t->entries[i];
    int64_t seen_ns = atomic_load_explicit(&e->seen_ns, memory_order_acquire);
    uint32_t backends = atomic_load_explicit(&e->backends, memory_order_acquire);
    if (atomic_load_explicit(&e->mark, memory_order_relaxed) != mark || now_ns - seen_ns >= ttl_ns)
        return 0;
    return backends | IS_ALIVE;
}

/*
 * How many marks at the front have one of the bits `wanted`. Who has a beginning has all shorter ones,
 * and saw them no earlier, so the last one is found by halving.
 */
static size_t count_alive(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                          int64_t ttl_ns, uint32_t wanted) {
    size_t have = 0, lack = n + 1; /* the first `have` are there, the first `lack` are not */
    while (lack - have > 1) {
        size_t middle = have + (lack - have) / 2;
        if (look_up(t, marks[middle - 1], now_ns, ttl_ns) & wanted)
            have = middle;
        else
            lack = middle;
    }
    return have;
}

static int64_t tokens_of(size_t n_marks) {
    return n_marks ? PREFIX_FIRST + PREFIX_STEP * (int64_t)(n_marks - 1) : 0;
}

int64_t prefix_predict(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                       int64_t ttl_ns) {
    /* Another loop may have seen a mark after `now`. */
    return ttl_ns > 0 ? tokens_of(count_alive(t, marks, n, now_ns, ttl_ns, IS_ALIVE)) : 0;
}

void prefix_affinity(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                     int64_t ttl_ns, int64_t affinity[PREFIX_BACKENDS]) {
    memset(affinity, 0, PREFIX_BACKENDS * sizeof *affinity);
    uint32_t seen = n ? look_up(t, marks[0], now_ns, ttl_ns) & ~IS_ALIVE : 0;
    for (; seen; seen &= seen - 1)
        affinity[__builtin_ctz(seen)] =
            tokens_of(count_alive(t, marks, n, now_ns, ttl_ns, seen & -seen));
}

/* --- changes: one at a time --- */

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
        return ++t->n_used;
    uint32_t i = t->oldest;
    struct prefix_entry *e = &t->entries[i];
    _Atomic(uint32_t) *at = bucket_of(t, atomic_load_explicit(&e->mark, memory_order_relaxed));
    uint32_t other;
    while ((other = atomic_load_explicit(at, memory_order_relaxed)) != i)
        at = &t->entries[other].next;
    atomic_store_explicit(at, atomic_load_explicit(&e->next, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(&e->mark, 0, memory_order_relaxed);
    unlist(t, i);
    return i;
}

static void touch(struct prefix_table *t, uint64_t mark, int64_t now_ns, uint32_t backend) {
    uint32_t i = find(t, mark);
    bool is_new = i == NONE;
    if (is_new)
        i = take_place(t);
    else
        unlist(t, i);
    struct prefix_entry *e = &t->entries[i];
    uint32_t before = is_new ? 0 : atomic_load_explicit(&e->backends, memory_order_relaxed);
    /* Released one by one: whoever sees one of them sees that the mark had been taken away before. */
    atomic_store_explicit(&e->seen_ns, now_ns, memory_order_release);
    atomic_store_explicit(&e->backends, before | backend, memory_order_release);
    if (is_new) {
        _Atomic(uint32_t) *bucket = bucket_of(t, mark);
        uint32_t first = atomic_load_explicit(bucket, memory_order_relaxed);
        atomic_store_explicit(&e->next, first, memory_order_release);
        atomic_store_explicit(&e->mark, mark, memory_order_release);
        atomic_store_explicit(bucket, i, memory_order_release);
    }
    list_as_newest(t, i);
}

/* Marks lie anywhere in the table: their lines come from memory together instead of one by one. */
static void fetch_ahead(struct prefix_table *t, const uint64_t *marks, size_t n) {
    enum { AHEAD_MAX = 64 }; /* more would push each other out again */
    n = size_min(n, AHEAD_MAX);
    for (size_t k = 0; k < n; k++)
        __builtin_prefetch((const void *)bucket_of(t, marks[k]), 1);
    for (size_t k = 0; k < n; k++) {
        uint32_t i = atomic_load_explicit(bucket_of(t, marks[k]), memory_order_relaxed);
        __builtin_prefetch(&t->entries[i], 1);
    }
}

static void apply(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                  int backend) {
    uint32_t bit = backend >= 0 && backend < PREFIX_BACKENDS ? UINT32_C(1) << backend : 0;
    fetch_ahead(t, marks, n);
    for (size_t k = n; k-- > 0;)
        touch(t, marks[k], now_ns, bit);
}

static void leave(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                  int backend) {
    struct prefix_job *j = xmalloc(sizeof *j + n * sizeof *marks);
    j->now_ns = now_ns;
    j->backend = backend;
    j->n = n;
    memcpy(j->marks, marks, n * sizeof *marks);
    j->next = atomic_load_explicit(&t->jobs, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&t->jobs, &j->next, j, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
    }
}

void prefix_commit(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                   int backend) {
    bool is_mine = n > 0;
    while (is_mine || atomic_load(&t->jobs)) {
        if (atomic_flag_test_and_set(&t->is_changing)) {
            if (!is_mine)
                return; /* he who has it looks for jobs when he is done */
            leave(t, marks, n, now_ns, backend);
            is_mine = false;
            continue;
        }
        if (is_mine)
            apply(t, marks, n, now_ns, backend);
        is_mine = false;
        for (struct prefix_job *j = atomic_exchange(&t->jobs, NULL), *next; j; j = next) {
            next = j->next;
            apply(t, j->marks, j->n, j->now_ns, j->backend);
            free(j);
        }
        atomic_flag_clear(&t->is_changing);
    }
}

/* --- trust --- */

void prefix_trust_init(struct prefix_trust *t) {
    atomic_init(&t->ttl_ns, PREFIX_TTL_NS);
    atomic_init(&t->asked, 0);
    atomic_init(&t->wrong, 0);
    atomic_init(&t->silent, 0);
}

int64_t prefix_trust_ttl_ns(const struct prefix_trust *t) {
    return atomic_load_explicit(&t->silent, memory_order_relaxed) < PREFIX_SILENT_MAX
               ? atomic_load_explicit(&t->ttl_ns, memory_order_relaxed)
               : 0;
}

void prefix_trust_learn(struct prefix_trust *t, int64_t predicted, int64_t cached) {
    enum { ROUND = 1000, WRONG_MANY = 20, WRONG_FEW = 2 };
    if (cached < 0)
        atomic_fetch_add_explicit(&t->silent, 1, memory_order_relaxed);
    else if (atomic_load_explicit(&t->silent, memory_order_relaxed) != 0)
        atomic_store_explicit(&t->silent, 0, memory_order_relaxed);
    if (predicted == 0)
        return;
    if (cached < predicted)
        atomic_fetch_add_explicit(&t->wrong, 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->asked, 1, memory_order_relaxed) + 1 != ROUND)
        return;
    /* Only who counts the thousandth comes here; calls that end meanwhile count for the next round. */
    int64_t wrong = atomic_exchange_explicit(&t->wrong, 0, memory_order_relaxed);
    int64_t ttl_ns = atomic_load_explicit(&t->ttl_ns, memory_order_relaxed);
    if (wrong > WRONG_MANY)
        ttl_ns = i64_max(ttl_ns / 2, PREFIX_TTL_MIN_NS);
    else if (wrong < WRONG_FEW)
        ttl_ns = i64_min(ttl_ns + ttl_ns / 10, PREFIX_TTL_MAX_NS);
    atomic_store_explicit(&t->ttl_ns, ttl_ns, memory_order_relaxed);
    atomic_store_explicit(&t->asked, 0, memory_order_relaxed);
}
