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

#endif
