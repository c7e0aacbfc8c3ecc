/* snapshot_private.h - the inside of a snapshot, for the files that build, read and print it. */
#ifndef MODEL_SNAPSHOT_PRIVATE_H
#define MODEL_SNAPSHOT_PRIVATE_H

#include <stdatomic.h>

#include "model/snapshot.h"

/* One API key in the table of keys; a free slot has no account. */
struct key_slot {
    uint64_t hash;
    struct str key;
    const struct account *account;
};

struct snapshot {
    _Atomic(int64_t) n_refs;
    struct arena memory; /* owned; holds all that the structs point to */
    struct catalog catalog;
    struct warnings warnings;
    struct siphash_key hash;

    struct location *locations;
    struct pool *pools;
    struct backend *backends;
    struct account *accounts;
    struct deployment *deployments;
    size_t n_locations, n_pools, n_backends, n_accounts, n_deployments;

    struct key_slot *keys; /* open addressing, at most half full */
    size_t n_key_slots;    /* a power of two */
    struct map by_subdomain;
    struct map by_deployment; /* account index and lower-case name, see deployment_key */
};

enum { DEPLOYMENT_KEY_MAX = 8 + RESOURCE_NAME_MAX };

/* The key of by_deployment into `out`, DEPLOYMENT_KEY_MAX bytes; name.n <= RESOURCE_NAME_MAX. */
struct str deployment_key(const struct account *account, struct str name, char *out);

/* s in lower case into out, which holds s.n bytes. */
struct str lower_str(struct str s, char *out);

/* False when the key is there already. The table has room for two keys an account. */
bool snapshot_put_key(struct snapshot *s, struct str key, const struct account *account);

#endif
