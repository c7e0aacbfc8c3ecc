/* slow_bpe.h - byte-pair encoding as its definition says, on small vocabularies: the judge of the fast one. */
#ifndef SUPPORT_SLOW_BPE_H
#define SUPPORT_SLOW_BPE_H

#include "base/str.h"

enum { SLOW_MAX_TOKENS = 512, SLOW_MAX_BYTES = 48, SLOW_MAX_TEXT = 4096 };

/* Tokens in the order of ranks: all single bytes, then joints of two earlier ones. */
struct slow_bpe {
    struct str tokens[SLOW_MAX_TOKENS];
    char bytes[SLOW_MAX_TOKENS][SLOW_MAX_BYTES];
    size_t n;
};

static inline void slow_init(struct slow_bpe *s) {
    s->n = 256;
    for (int i = 0; i < 256; i++) {
        s->bytes[i][0] = (char)i;
        s->tokens[i] = (struct str){s->bytes[i], 1};
    }
}

static inline size_t slow_find(const struct slow_bpe *s, struct str text) {
    size_t i = 0;
    while (i < s->n && !str_eq(s->tokens[i], text))
        i++;
    return i;
}

/* The ends of the tokens of `text`, of at most SLOW_MAX_TEXT bytes; how many there are. */
static inline size_t slow_encode(const struct slow_bpe *s, struct str text, size_t *ends) {
    size_t n = text.n;
    for (size_t i = 0; i < n; i++)
        ends[i] = i + 1;
    for (;;) {
        size_t best = s->n, at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t start = i ? ends[i - 1] : 0;
            size_t rank = slow_find(s, (struct str){text.p + start, ends[i + 1] - start});
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == s->n)
            return n;
        n--;
        memmove(ends + at, ends + at + 1, (n - at) * sizeof *ends);
    }
}

/*
 * Adds the joint of two earlier tokens, unless it is there, is too long, or would never be made: its
 * bytes must merge into two tokens without it. True when it was added.
 */
static inline bool slow_add(struct slow_bpe *s, size_t left, size_t right) {
    struct str a = s->tokens[left], b = s->tokens[right], joint = {s->bytes[s->n], a.n + b.n};
    size_t ends[SLOW_MAX_BYTES];
    if (s->n == SLOW_MAX_TOKENS || joint.n > SLOW_MAX_BYTES)
        return false;
    memcpy(s->bytes[s->n], a.p, a.n);
    memcpy(s->bytes[s->n] + a.n, b.p, b.n);
    if (slow_find(s, joint) < s->n || slow_encode(s, joint, ends) != 2)
        return false;
    s->tokens[s->n++] = joint;
    return true;
}

#endif
