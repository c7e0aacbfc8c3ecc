/* snapshot_index.c - finds accounts by what outsiders say: keys and host names; and by their ids. */
#include "model/snapshot_private.h"

#include <stdlib.h>

enum { ENTRIES_MIN = 64 };

static struct str text_of(const struct account *a, enum account_text text) {
    switch (text) {
    case ACCOUNT_KEY1:
        return a->keys[0];
    case ACCOUNT_KEY2:
        return a->keys[1];
    case ACCOUNT_SUBDOMAIN:
        return a->subdomain;
    case ACCOUNT_ID:
        return a->key;
    case ACCOUNT_TEXTS:
        break;
    }
    return STR("");
}

/* Both keys of an account are asked for as one: a caller does not say which it is. */
static bool is_asked(enum account_text asked, uint16_t text) {
    bool is_key = asked == ACCOUNT_KEY1 || asked == ACCOUNT_KEY2;
    return is_key ? text == ACCOUNT_KEY1 || text == ACCOUNT_KEY2 : text == (uint16_t)asked;
}

const struct account *snapshot_find(const struct snapshot *s, enum account_text text,
                                    struct str value) {
    const struct account_index *x = &s->index;
    if (x->n_entries == 0 || value.n == 0)
        return NULL;
    uint64_t hash = siphash(&s->ground->hash, value.p, value.n);
    for (size_t i = hash & (x->n_entries - 1); x->entries[i].is_used;
         i = (i + 1) & (x->n_entries - 1)) {
        const struct index_entry *e = &x->entries[i];
        if (e->hash != hash || !is_asked(text, e->text))
            continue;
        /* Only a full match of the keyed hash looks at the text's bytes, so timing tells nothing
         * about keys that nearly match. */
        const struct account *a = &s->blocks[e->slot]->account;
        if (str_eq_secret(text_of(a, (enum account_text)e->text), value))
            return a;
    }
    return NULL;
}

static void put(struct account_index *x, const struct index_entry *e) {
    size_t i = e->hash & (x->n_entries - 1);
    while (x->entries[i].is_used)
        i = (i + 1) & (x->n_entries - 1);
    x->entries[i] = *e;
    x->count++;
}

static void grow(struct account_index *x) {
    struct account_index old = *x;
    *x = (struct account_index){.n_entries = size_max(2 * old.n_entries, ENTRIES_MIN)};
    x->entries = xcalloc(x->n_entries, sizeof *x->entries);
    for (size_t i = 0; i < old.n_entries; i++) {
        if (old.entries[i].is_used)
            put(x, &old.entries[i]);
    }
    free(old.entries);
}

void snapshot_index_put(struct snapshot *s, enum account_text text, const struct account *a) {
    struct str value = text_of(a, text);
    if (value.n == 0)
        return;
    if (2 * s->index.count >= s->index.n_entries)
        grow(&s->index);
    assert(a->slot <= UINT32_MAX);
    put(&s->index, &(struct index_entry){.hash = siphash(&s->ground->hash, value.p, value.n),
                                         .slot = (uint32_t)a->slot,
                                         .text = (uint16_t)text,
                                         .is_used = true});
}

/* Closes the gap, so that no later entry of the same run becomes unreachable. */
static void take(struct account_index *x, size_t gap) {
    size_t mask = x->n_entries - 1;
    for (size_t i = (gap + 1) & mask; x->entries[i].is_used; i = (i + 1) & mask) {
        size_t home = x->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            x->entries[gap] = x->entries[i];
            gap = i;
        }
    }
    x->entries[gap] = (struct index_entry){0};
    x->count--;
}

void snapshot_index_take(struct snapshot *s, const struct account *a) {
    struct account_index *x = &s->index;
    for (int t = 0; t < ACCOUNT_TEXTS; t++) {
        struct str value = text_of(a, (enum account_text)t);
        if (value.n == 0)
            continue;
        size_t i = siphash(&s->ground->hash, value.p, value.n) & (x->n_entries - 1);
        while (x->entries[i].is_used && (x->entries[i].slot != a->slot || x->entries[i].text != t))
            i = (i + 1) & (x->n_entries - 1);
        assert(x->entries[i].is_used);
        take(x, i);
    }
}

void account_index_copy(struct account_index *to, const struct account_index *from) {
    *to = *from;
    to->entries = xcalloc(from->n_entries, sizeof *to->entries);
    if (from->n_entries)
        memcpy(to->entries, from->entries, from->n_entries * sizeof *to->entries);
}
