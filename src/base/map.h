/* map.h - text to pointer, with a keyed hash, for lookups of what comes from outside. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/base.h"
#include "base/siphash.h"
#include "base/str.h"

/* Open addressing with linear probing, at most half full. Owns its table, borrows keys and values.
 * Reading from several threads is fine while nobody writes. */
struct map {
    struct map_slot *slots; /* owned */
    size_t n_slots;         /* a power of two, or 0 */
    size_t count;
    struct siphash_key key;
};

struct map_slot {
    struct str key; /* borrowed; p == NULL marks a free slot */
    void *value;    /* borrowed */
    uint64_t hash;
};

/* `secret` makes collisions unguessable. */
void map_init(struct map *m, const struct siphash_key *secret);
void map_destroy(struct map *m);

/* Adds, or replaces the value of an equal key (the first key's bytes stay). Key bytes must outlive
 * the map. */
void map_put(struct map *m, struct str key, void *value);

/* NULL when absent. */
void *map_get(const struct map *m, struct str key);

/* Takes the key out; its value, or NULL when absent. */
void *map_remove(struct map *m, struct str key);

/* The iterator: *at starts at 0. False at the end. Nothing may be added or removed meanwhile. */
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);

#endif
