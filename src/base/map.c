#include "base/map.h"

#include "base/buf.h"

#include <stdlib.h>

void map_init(struct map *m, const struct siphash_key *secret) {
    *m = (struct map){.key = *secret};
}

void map_destroy(struct map *m) {
    free(m->slots);
    *m = (struct map){0};
}

/* The slot that holds the key, or the free one where it belongs. */
static struct map_slot *find(const struct map *m, struct str key, uint64_t hash) {
    for (size_t i = hash & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->key.p || (s->hash == hash && str_eq(s->key, key)))
            return s;
    }
}

static void grow(struct map *m) {
    struct map_slot *old = m->slots;
    size_t n_old = m->n_slots;
    m->n_slots = n_old ? n_old * 2 : 16;
    m->slots = xcalloc(m->n_slots, sizeof *m->slots);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key.p)
            *find(m, old[i].key, old[i].hash) = old[i];
    }
    free(old);
}

void map_put(struct map *m, struct str key, void *value) {
    assert(key.p);
    if (m->count * 2 >= m->n_slots)
        grow(m);
    uint64_t hash = siphash(&m->key, key.p, key.n);
    struct map_slot *s = find(m, key, hash);
    if (!s->key.p) {
        *s = (struct map_slot){.key = key, .hash = hash};
        m->count++;
    }
    s->value = value;
}

void *map_get(const struct map *m, struct str key) {
    if (m->count == 0)
        return NULL;
    const struct map_slot *s = find(m, key, siphash(&m->key, key.p, key.n));
    return s->key.p ? s->value : NULL;
}

void *map_remove(struct map *m, struct str key) {
    if (m->count == 0)
        return NULL;
    struct map_slot *hole = find(m, key, siphash(&m->key, key.p, key.n));
    if (!hole->key.p)
        return NULL;
    void *value = hole->value;
    /* Close the gap, so that no later key of the same run becomes unreachable. */
    size_t mask = m->n_slots - 1;
    size_t gap = (size_t)(hole - m->slots);
    for (size_t i = (gap + 1) & mask; m->slots[i].key.p; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap] = (struct map_slot){0};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value) {
    while (*at < m->n_slots) {
        const struct map_slot *s = &m->slots[(*at)++];
        if (s->key.p) {
            *key = s->key;
            *value = s->value;
            return true;
        }
    }
    return false;
}
