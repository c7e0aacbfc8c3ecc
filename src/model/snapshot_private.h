/* snapshot_private.h - the inside of a snapshot, for the files that build, read and print it. */
#ifndef MODEL_SNAPSHOT_PRIVATE_H
#define MODEL_SNAPSHOT_PRIVATE_H

#include <stdatomic.h>

#include "model/snapshot.h"

/* What the operator has, on which all accounts stand: compiled as one, shared by the snapshots that
 * were patched from one another. */
struct ground {
    _Atomic(int64_t) n_refs;
    struct arena memory; /* owned; holds all that the structs point to */
    struct siphash_key hash;
    struct catalog catalog;
    struct location *locations;
    struct pool *pools;
    struct backend *backends;
    size_t n_locations, n_pools, n_backends;
    struct map by_key;   /* of locations and pools: the lower-case id to the struct */
    struct map servings; /* that the first build found; of build_account.c */
};

/* One account with its deployments and all that they point to, but for the ground. */
struct account_block {
    _Atomic(int64_t) n_refs;
    struct arena memory; /* owned */
    struct account account;
};

/* By which text of an account it is found. */
enum account_text { ACCOUNT_KEY1, ACCOUNT_KEY2, ACCOUNT_SUBDOMAIN, ACCOUNT_ID, ACCOUNT_TEXTS };

/*
 * Accounts by their texts: open addressing, at most half full. It holds slots and no pointers, so
 * that an account which is compiled anew in its slot with the texts that it had changes nothing
 * here, and the copy of a table is a copy of bytes.
 */
struct account_index {
    struct index_entry *entries; /* owned */
    size_t n_entries;            /* a power of two, or 0 */
    size_t count;
};

struct index_entry {
    uint64_t hash;
    uint32_t slot;
    uint16_t text; /* enum account_text */
    bool is_used;
};

struct snapshot {
    _Atomic(int64_t) n_refs;
    struct ground *ground; /* one reference */
    struct account_block *
        *blocks; /* by slot, NULL for a free one; the array owned, a reference each */
    size_t n_slots, slots_capacity; /* the last slot is not free */
    size_t n_accounts, n_deployments;
    struct account_index index;
    struct warnings warnings;
};

struct ground *ground_new(const struct siphash_key *hash);
struct ground *ground_ref(struct ground *g);
void ground_unref(struct ground *g);

struct account_block *account_block_new(void);

/* s in lower case into out, which holds s.n bytes. */
struct str lower_str(struct str s, char *out);

/* snapshot_index.c */

/* The account that has this text, as key 1 or 2 when `text` is either of them; NULL when none has. */
const struct account *snapshot_find(const struct snapshot *s, enum account_text text,
                                    struct str value);

/* Adds a text of an account that is in its slot already; nobody else has it. "" is passed over. */
void snapshot_index_put(struct snapshot *s, enum account_text text, const struct account *a);

/* Takes out all texts of an account. */
void snapshot_index_take(struct snapshot *s, const struct account *a);

void account_index_copy(struct account_index *to, const struct account_index *from);

#endif
