#include "model/snapshot_private.h"

#include <stdlib.h>

struct str lower_str(struct str s, char *out) {
    for (size_t i = 0; i < s.n; i++)
        out[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
    return (struct str){out, s.n};
}

/* --- what is counted --- */

/* True when it was the last reference. Release, so that our reads are done before the free; acquire,
 * so that those of the others are. */
static bool is_last(_Atomic(int64_t) *n_refs) {
    return atomic_fetch_sub_explicit(n_refs, 1, memory_order_acq_rel) == 1;
}

struct ground *ground_new(const struct siphash_key *hash) {
    struct ground *g = xcalloc(1, sizeof *g);
    atomic_init(&g->n_refs, 1);
    g->hash = *hash;
    arena_init(&g->memory, NULL, 0, SIZE_MAX);
    map_init(&g->by_key, hash);
    map_init(&g->servings, hash);
    catalog_init(&g->catalog, &g->memory, hash);
    return g;
}

struct ground *ground_ref(struct ground *g) {
    atomic_fetch_add_explicit(&g->n_refs, 1, memory_order_relaxed);
    return g;
}

void ground_unref(struct ground *g) {
    if (!is_last(&g->n_refs))
        return;
    catalog_destroy(&g->catalog);
    map_destroy(&g->by_key);
    map_destroy(&g->servings);
    arena_destroy(&g->memory);
    free(g);
}

struct account_block *account_block_new(void) {
    struct account_block *b = xcalloc(1, sizeof *b);
    atomic_init(&b->n_refs, 1);
    arena_init(&b->memory, NULL, 0, SIZE_MAX);
    return b;
}

/* Those outside see accounts as what nobody changes; the count is ours. */
static struct account_block *block_of(const struct account *a) {
    return CONTAINER_OF((struct account *)(uintptr_t)a, struct account_block, account);
}

const struct account *account_ref(const struct account *a) {
    atomic_fetch_add_explicit(&block_of(a)->n_refs, 1, memory_order_relaxed);
    return a;
}

void account_unref(const struct account *a) {
    if (!a || !is_last(&block_of(a)->n_refs))
        return;
    struct account_block *b = block_of(a);
    arena_destroy(&b->memory);
    free(b);
}

static void snapshot_free(struct snapshot *s) {
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->blocks[i])
            account_unref(&s->blocks[i]->account);
    }
    free(s->blocks);
    free(s->index.entries);
    warnings_destroy(&s->warnings);
    ground_unref(s->ground);
    free(s);
}

struct snapshot *snapshot_ref(struct snapshot *s) {
    if (s)
        atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s) {
    if (s && is_last(&s->n_refs))
        snapshot_free(s);
}

/* --- what there is --- */

bool snapshot_is_patch_of(const struct snapshot *s, const struct snapshot *before) {
    return s->ground == before->ground;
}

const struct warnings *snapshot_warnings(const struct snapshot *s) {
    return &s->warnings;
}

const struct catalog *snapshot_catalog(const struct snapshot *s) {
    return &s->ground->catalog;
}

const struct location *snapshot_locations(const struct snapshot *s, size_t *n) {
    *n = s->ground->n_locations;
    return s->ground->locations;
}

const struct pool *snapshot_pools(const struct snapshot *s, size_t *n) {
    *n = s->ground->n_pools;
    return s->ground->pools;
}

const struct backend *snapshot_backends(const struct snapshot *s, size_t *n) {
    *n = s->ground->n_backends;
    return s->ground->backends;
}

size_t snapshot_n_slots(const struct snapshot *s) {
    return s->n_slots;
}

const struct account *snapshot_account_at(const struct snapshot *s, size_t slot) {
    assert(slot < s->n_slots);
    return s->blocks[slot] ? &s->blocks[slot]->account : NULL;
}

bool snapshot_next_account(const struct snapshot *s, size_t *at, const struct account **out) {
    while (*at < s->n_slots) {
        const struct account_block *b = s->blocks[(*at)++];
        if (b) {
            *out = &b->account;
            return true;
        }
    }
    return false;
}

size_t snapshot_n_accounts(const struct snapshot *s) {
    return s->n_accounts;
}

size_t snapshot_n_deployments(const struct snapshot *s) {
    return s->n_deployments;
}

/* --- lookups --- */

const struct account *snapshot_account_by_key(const struct snapshot *s, struct str key) {
    return snapshot_find(s, ACCOUNT_KEY1, key);
}

const struct account *snapshot_account_by_host(const struct snapshot *s, struct str host) {
    char label[RESOURCE_NAME_MAX];
    size_t n = 0;
    while (n < host.n && host.p[n] != '.')
        n++;
    if (n == 0 || n > sizeof label)
        return NULL;
    return snapshot_find(s, ACCOUNT_SUBDOMAIN, lower_str((struct str){host.p, n}, label));
}

const struct deployment *account_deployment(const struct account *account, struct str name) {
    char wanted[RESOURCE_NAME_MAX], text[RESOURCE_NAME_MAX];
    if (name.n > sizeof wanted)
        return NULL;
    name = lower_str(name, wanted);
    size_t low = 0, high = account->n_deployments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct deployment *d = &account->deployments[middle];
        int order = str_cmp(lower_str(d->name, text), name);
        if (order == 0)
            return d;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
