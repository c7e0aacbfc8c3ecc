/* prefix.h - which beginnings of prompts the model servers still have worked out: a prediction. */
#ifndef TOKENS_PREFIX_H
#define TOKENS_PREFIX_H

#include "base/buf.h"
#include "base/siphash.h"

/*
 * The service caches prompts by their beginning: 1,024 tokens, then steps of 128 (admission spec 4).
 * A prompt is given as marks: mark i stands for its first 1024 + 128 i tokens, and is the keyed hash
 * of mark i - 1 and of the tokens since. The key is secret and belongs to one deployment and tenant,
 * so nobody can find out what another tenant asked, or make marks collide.
 *
 * The table remembers when each mark was last seen, up to its capacity; the one seen longest ago goes
 * first. It belongs to one thread.
 */
enum {
    PREFIX_FIRST = 1024, /* tokens */
    PREFIX_STEP = 128,
    PREFIX_BACKENDS = 16, /* whose own caches are told apart */
};

/* Marks of a prompt whose tokens come piece by piece. No memory of its own. */
struct prefix_chain {
    struct siphash_key key;
    uint32_t n_waiting, n_wanted; /* tokens of the block at hand, and of a whole one */
    /* The mark before, then the block: what is hashed. Little-endian, as the spec has it. */
    unsigned char block[sizeof(uint64_t) + PREFIX_FIRST * sizeof(uint32_t)];
};

void prefix_chain_init(struct prefix_chain *c, const struct siphash_key *key);

/* Appends each mark that these tokens complete to `marks`, as uint64_t. ST_TOO_LARGE past its
 * ceiling. */
enum status prefix_chain_add(struct prefix_chain *c, const uint32_t *ids, size_t n,
                             struct buf *marks) MUST_USE;

struct prefix_table {
    struct prefix_entry *entries; /* owned */
    uint32_t *buckets;            /* owned */
    uint32_t capacity, n_used, bucket_mask;
    uint32_t newest, oldest; /* of the list of all entries in use */
    int64_t ttl_ns;
};

/* 36 to 40 bytes an entry, all at once. Marks are believed for `ttl_ns` after they were last seen. */
void prefix_init(struct prefix_table *t, uint32_t capacity, int64_t ttl_ns);
void prefix_destroy(struct prefix_table *t); /* accepts a zeroed struct */

/* How many tokens at the front of the prompt are cached: 0 or PREFIX_FIRST + k * PREFIX_STEP. */
int64_t prefix_predict(const struct prefix_table *t, const uint64_t *marks, size_t n,
                       int64_t now_ns);

/* The same for each backend by itself, into affinity[0..PREFIX_BACKENDS). */
void prefix_affinity(const struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                     int64_t affinity[PREFIX_BACKENDS]);

/*
 * The prompt was worked out, by the backend of this number (negative, or PREFIX_BACKENDS and above:
 * none that is told apart). To be called at the end of prefill, not at admission: equal prompts that
 * run at once do not find each other. Beginnings are touched last, so that ends go first.
 */
void prefix_commit(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                   int backend);

#endif
