/* random.h - repeatable draws for property tests; each test starts from its own fixed seed. */
#ifndef SUPPORT_RANDOM_H
#define SUPPORT_RANDOM_H

#include "base/base.h"

/* SplitMix64; the state is the seed. */
struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r) {
    uint64_t z = r->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* 0 to n - 1; n > 0. Not quite even, which no test here minds. */
static inline int64_t random_below(struct random *r, int64_t n) {
    return (int64_t)(random_next(r) % (uint64_t)n);
}

/* lo to hi. */
static inline int64_t random_between(struct random *r, int64_t lo, int64_t hi) {
    return lo + random_below(r, hi - lo + 1);
}

/* True once in n. */
static inline bool random_once_in(struct random *r, int64_t n) {
    return random_below(r, n) == 0;
}

#endif
