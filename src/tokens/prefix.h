/* prefix.h - which beginnings of prompts the model servers still have worked out: a prediction. */
#ifndef TOKENS_PREFIX_H
#define TOKENS_PREFIX_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/siphash.h"

#include <stdatomic.h>

/*
 * The service caches prompts by their beginning: 1,024 tokens, then steps of 128 (admission spec 4).
 * A prompt is given as marks: mark i stands for its first 1024 + 128 i tokens, and is the keyed hash
 * of mark i - 1 and of the tokens since. The key is secret and belongs to one deployment and tenant,
 * so nobody can find out what another tenant asked, or make marks collide.
 */
enum {
    PREFIX_FIRST = 1024, /* tokens */
    PREFIX_STEP = 128,
    PREFIX_BACKENDS = 16, /* whose own caches are told apart */
};

/* How long a beginning is believed to be still worked out (spec 4.2, 4.3): for charging, to begin with
 * and at least and at most; and for choosing a backend. */
#define PREFIX_TTL_NS (300 * NS_PER_S)
#define PREFIX_TTL_MIN_NS (60 * NS_PER_S)
#define PREFIX_TTL_MAX_NS (600 * NS_PER_S)

/*
 * Marks of a prompt that comes piece by piece. A value without memory of its own: to keep it is to
 * keep the place in the prompt.
 *
 * A token is given as any bytes that tell it from others in its place: its id, or, as two texts with
 * the same bytes have the same tokens, the bytes that it stands for.
 */
struct prefix_chain {
    struct siphash_key key;
    struct siphash_state hash;    /* of the mark before and the block at hand */
    uint32_t n_waiting, n_wanted; /* tokens of that block, and of a whole one */
};

void prefix_chain_init(struct prefix_chain *c, const struct siphash_key *key);

/* How many more tokens complete the next mark; at least 1. */
static inline uint32_t prefix_chain_wants(const struct prefix_chain *c) {
    return c->n_wanted - c->n_waiting;
}

/* The next `tokens`, at most as many as are wanted, in the bytes of `data`. The mark that they
 * complete is appended to `marks` as uint64_t. ST_TOO_LARGE past its ceiling. */
enum status prefix_chain_add(struct prefix_chain *c, struct str data, uint32_t tokens,
                             struct buf *marks) MUST_USE;

/*
 * The table remembers when each mark was last seen, and by which backends, up to its capacity; the
 * one seen longest ago goes first.
 *
 * Threads: any may ask and commit. To ask takes no lock: it walks what others may be changing, and
 * believes an entry only if it is the same afterwards. Who commits while another does leaves the
 * work to him and goes on. Never does anyone wait.
 */
struct prefix_table {
    struct prefix_entry *entries; /* owned */
    _Atomic(uint32_t) *buckets;   /* owned */
    uint32_t capacity, bucket_mask;
    atomic_flag is_changing; /* whoever sets it has what follows to himself */
    uint32_t n_used;
    uint32_t newest, oldest;           /* of the list of all entries in use */
    _Atomic(struct prefix_job *) jobs; /* left by those who came while it was set */
};

/* 36 to 40 bytes an entry, of memory that is not touched before it is used. */
void prefix_init(struct prefix_table *t, uint32_t capacity);
void prefix_destroy(struct prefix_table *t); /* accepts a zeroed struct */

/* How many tokens at the front of the prompt are cached: 0 or PREFIX_FIRST + k * PREFIX_STEP. Marks
 * are believed for `ttl_ns` after they were last seen. About 10 look-ups, however long the prompt. */
int64_t prefix_predict(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                       int64_t ttl_ns);

/* The same for each backend by itself, into affinity[0..PREFIX_BACKENDS). */
void prefix_affinity(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                     int64_t ttl_ns, int64_t affinity[PREFIX_BACKENDS]);

/*
 * The prompt was worked out, by the backend of this number (negative, or PREFIX_BACKENDS and above:
 * none that is told apart). To be called at the end of prefill, not at admission: equal prompts that
 * run at once do not find each other. Beginnings are touched last, so that ends go first.
 */
void prefix_commit(struct prefix_table *t, const uint64_t *marks, size_t n, int64_t now_ns,
                   int backend);

/*
 * How far the predictions for one deployment are believed (spec 4.3): when more than 2 % of a thousand
 * were wrong, for half as long; when fewer than 0.2 %, for a tenth longer. And not at all once
 * PREFIX_SILENT_MAX answers in a row have not said how much was cached, since then each would have to be
 * paid back. Until then, not to say it is to say that nothing was, as vLLM does (its source, 2026).
 */
enum { PREFIX_SILENT_MAX = 20 };

struct prefix_trust {
    _Atomic(int64_t) ttl_ns;
    _Atomic(int64_t) asked, wrong; /* of the thousand at hand */
    _Atomic(int64_t) silent;       /* answers in a row that did not say it */
};

void prefix_trust_init(struct prefix_trust *t);

/* What prefix_predict is to be given; 0 when predictions are not believed. */
int64_t prefix_trust_ttl_ns(const struct prefix_trust *t);

/* Of a call that said how many tokens were cached, or did not (negative). Any thread. */
void prefix_trust_learn(struct prefix_trust *t, int64_t predicted, int64_t cached);

#endif
