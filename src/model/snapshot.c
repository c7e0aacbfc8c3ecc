#include "model/snapshot_private.h"

#include <stdlib.h>

struct str lower_str(struct str s, char *out) {
    for (size_t i = 0; i < s.n; i++)
        out[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
    return (struct str){out, s.n};
}

struct str deployment_key(const struct account *account, struct str name, char *out) {
    assert(name.n <= RESOURCE_NAME_MAX);
    uint64_t index = account->index;
    memcpy(out, &index, 8);
    lower_str(name, out + 8);
    return (struct str){out, 8 + name.n};
}

static void snapshot_free(struct snapshot *s) {
    map_destroy(&s->by_subdomain);
    map_destroy(&s->by_deployment);
    catalog_destroy(&s->catalog);
    warnings_destroy(&s->warnings);
    arena_destroy(&s->memory);
    free(s->keys);
    free(s);
}

struct snapshot *snapshot_ref(struct snapshot *s) {
    if (s)
        atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s) {
    /* Release, so that our reads are done before the free; acquire, so that those of the others
     * are. */
    if (s && atomic_fetch_sub_explicit(&s->n_refs, 1, memory_order_acq_rel) == 1)
        snapshot_free(s);
}

const struct warnings *snapshot_warnings(const struct snapshot *s) {
    return &s->warnings;
}

const struct catalog *snapshot_catalog(const struct snapshot *s) {
    return &s->catalog;
}

const struct location *snapshot_locations(const struct snapshot *s, size_t *n) {
    *n = s->n_locations;
    return s->locations;
}

const struct pool *snapshot_pools(const struct snapshot *s, size_t *n) {
    *n = s->n_pools;
    return s->pools;
}

const struct backend *snapshot_backends(const struct snapshot *s, size_t *n) {
    *n = s->n_backends;
    return s->backends;
}

const struct account *snapshot_accounts(const struct snapshot *s, size_t *n) {
    *n = s->n_accounts;
    return s->accounts;
}

const struct deployment *snapshot_deployments(const struct snapshot *s, size_t *n) {
    *n = s->n_deployments;
    return s->deployments;
}

/* The slot of a key, or the free one where it belongs. Only a full match of the keyed hash looks at
 * the key's bytes, so timing tells nothing about keys that nearly match. */
static struct key_slot *find_key(const struct snapshot *s, struct str key) {
    uint64_t hash = siphash(&s->hash, key.p, key.n);
    for (size_t i = hash & (s->n_key_slots - 1);; i = (i + 1) & (s->n_key_slots - 1)) {
        struct key_slot *slot = &s->keys[i];
        if (!slot->account || (slot->hash == hash && str_eq_secret(slot->key, key)))
            return slot;
    }
}

bool snapshot_put_key(struct snapshot *s, struct str key, const struct account *account) {
    struct key_slot *slot = find_key(s, key);
    if (slot->account)
        return false;
    *slot = (struct key_slot){siphash(&s->hash, key.p, key.n), key, account};
    return true;
}

const struct account *snapshot_account_by_key(const struct snapshot *s, struct str key) {
    return key.n > 0 ? find_key(s, key)->account : NULL;
}

const struct account *snapshot_account_by_host(const struct snapshot *s, struct str host) {
    char label[RESOURCE_NAME_MAX];
    size_t n = 0;
    while (n < host.n && host.p[n] != '.')
        n++;
    if (n == 0 || n > sizeof label)
        return NULL;
    return map_get(&s->by_subdomain, lower_str((struct str){host.p, n}, label));
}

const struct deployment *snapshot_deployment(const struct snapshot *s,
                                             const struct account *account, struct str name) {
    char key[DEPLOYMENT_KEY_MAX];
    if (name.n == 0 || name.n > RESOURCE_NAME_MAX)
        return NULL;
    return map_get(&s->by_deployment, deployment_key(account, name, key));
}
