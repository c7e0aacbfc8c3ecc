/* ledger_private.h - the inside of the books, for the files that keep, store and search them. */
#ifndef ARM_LEDGER_PRIVATE_H
#define ARM_LEDGER_PRIVATE_H

#include "arm/ledger.h"

#include "base/map.h"

/*
 * Every text that is compared often (places, zones, models, versions) is kept once, as a word: equal
 * words are equal pointers, so that a walk over the pools compares no text.
 */
struct word {
    size_t n;
    char text[]; /* as first written */
};

struct place {
    const struct word *name;
    const struct word *zone; /* NULL: in none */
    bool is_listed;          /* the operator named it; else only a pool or a grant did */
    size_t index;            /* among all places */
};

struct served {
    const struct word *model;   /* "format.name" */
    const struct word *version; /* NULL: all */
};

/* One that only a grant names so far is worth nothing, serves nothing and is nowhere. */
struct pool_book {
    char *key; /* owned */
    const struct word *name;
    const struct place *place;
    int64_t ptus, reserved;
    bool is_draining;
    struct served *models; /* owned */
    size_t n_models;
    int64_t sum; /* scratch of ledger_check */
};

struct quota_book {
    char *key;     /* owned */
    int64_t limit; /* when set by somebody; else -1 */
    int64_t default_limit;
    int64_t used, held;
    int64_t sum, sum_held; /* scratch of ledger_check */
};

/* PTUs of one grant in one pool. */
struct part {
    struct pool_book *pool;
    int64_t ptus; /* > 0 */
};

struct grant {
    char *id; /* owned, in lower case */
    struct quota_book *quota;
    const struct place *place;
    const struct word *model, *version;
    enum sku sku;
    int64_t size, units;
    bool is_held;
    struct part *parts; /* owned; oldest first */
    size_t n_parts;
};

struct ledger {
    const struct offers *offers; /* borrowed */
    struct siphash_key key;
    struct map words;  /* lower-case text to struct word */
    struct map places; /* likewise to struct place */
    struct map pools, quotas, grants;
    struct place **by_name; /* owned; those that are listed, in order of name */
    size_t n_by_name;
    struct pool_book **all_pools; /* owned; in order of name */
    size_t n_pools;
};

/* A model as the pools know it; words that no pool has ever named are NULL and match none. */
struct wanted {
    const struct word *model, *version;
};

/* How an ask stands to the grant that there is. */
struct change {
    const struct grant *g; /* NULL: a new one */
    bool is_resize;        /* nothing but the size differs, so that all parts stay */
    bool is_same_quota;
    struct wanted wanted;
    const struct place *place; /* NULL: nobody has named the location yet */
};

/* Views that live as long as the ledger; "" for NULL. */
struct str ledger_text(const struct word *w);

/* Lookups; NULL when nobody has named it yet. */
struct place *ledger_place_find(const struct ledger *l, struct str name);
struct grant *ledger_grant_find(const struct ledger *l, struct str id);

/* The pool or quota of that name, which is made when there is none. */
struct pool_book *ledger_pool_of(struct ledger *l, struct str name);
struct quota_book *ledger_quota_of(struct ledger *l, const struct ledger_quota_key *k);
struct ledger_quota_key ledger_quota_key_of(const struct ledger_ask *ask);

struct wanted ledger_wanted_of(const struct ledger *l, const struct model *m);
bool ledger_pool_serves(const struct pool_book *p, struct wanted w);
int64_t ledger_pool_free(const struct pool_book *p);

/* Whether the pool may carry the change's model: serves it, and lies within reach. Of the change only
 * `wanted` and `place` are looked at. */
bool ledger_is_eligible(const struct change *c, enum sku sku, const struct pool_book *p);
int64_t ledger_free_ptus(const struct ledger *l, const struct change *c, enum sku sku);

/* The steps that a grant is made of. */
struct grant *ledger_grant_add(struct ledger *l, struct str id);
void ledger_grant_describe(struct ledger *l, struct grant *g, const struct ledger_ask *ask);
void ledger_quota_join(struct grant *g, struct quota_book *q, int64_t units);
void ledger_part_add(struct grant *g, struct pool_book *p, int64_t ptus);

/* PTUs in all its parts. */
int64_t ledger_covered(const struct grant *g);

#endif
