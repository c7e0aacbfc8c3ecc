/* siphash.h - SipHash-2-4: a keyed hash whose collisions nobody can make without the key. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* A secret of 128 bits, drawn once per process or per tenant. */
struct siphash_key {
    uint64_t k0, k1;
};

/* SipHash-2-4 with 64 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012). */
uint64_t siphash(const struct siphash_key *key, const void *data, size_t n);

/* The same of data that come piece by piece. A value: to keep it is to keep the place in the data. */
struct siphash_state {
    uint64_t v0, v1, v2, v3;
    uint64_t
        tail;   /* the bytes since the last whole word, the first lowest; their number is n % 8 */
    uint64_t n; /* bytes so far */
};

void siphash_begin(struct siphash_state *s, const struct siphash_key *key);
void siphash_add(struct siphash_state *s, const void *data, size_t n);
uint64_t siphash_end(struct siphash_state s);

#endif
