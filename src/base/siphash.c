#include "base/siphash.h"

#include <string.h>

static uint64_t rotl(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static inline void rounds(struct siphash_state *s, int n) {
    for (int i = 0; i < n; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 = rotl(s->v0, 32) + s->v3;
        s->v2 += s->v1;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

static inline void add_word(struct siphash_state *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

void siphash_begin(struct siphash_state *s, const struct siphash_key *key) {
    /* The four constants spell "somepseudorandomlygeneratedbytes" (the paper, section 2.2). */
    *s = (struct siphash_state){.v0 = key->k0 ^ UINT64_C(0x736f6d6570736575),
                                .v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d),
                                .v2 = key->k0 ^ UINT64_C(0x6c7967656e657261),
                                .v3 = key->k1 ^ UINT64_C(0x7465646279746573)};
}

/* The first n < 8 bytes as a number of which the first is the lowest. */
static inline uint64_t few_bytes(const unsigned char *p, size_t n) {
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

void siphash_add(struct siphash_state *out, const void *data, size_t n) {
    struct siphash_state s = *out; /* in registers while it runs */
    const unsigned char *p = data;
    unsigned have = s.n % 8;
    s.n += n;
    if (have) {
        size_t more = n < 8 - have ? n : 8 - have;
        s.tail |= few_bytes(p, more) << (8 * have);
        p += more;
        n -= more;
        if (have + more == 8) {
            add_word(&s, s.tail);
            s.tail = 0;
        }
    }
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8); /* little endian, as is every machine that we build for */
        add_word(&s, word);
    }
    if (n)
        s.tail = few_bytes(p, n);
    *out = s;
}

uint64_t siphash_end(struct siphash_state s) {
    add_word(&s, s.n << 56 | s.tail);
    s.v2 ^= 0xff;
    rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash(const struct siphash_key *key, const void *data, size_t n) {
    struct siphash_state s;
    siphash_begin(&s, key);
    siphash_add(&s, data, n);
    return siphash_end(s);
}
