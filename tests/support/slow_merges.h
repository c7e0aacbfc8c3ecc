/* slow_merges.h - merging by a list of merges as Hugging Face's library defines it: the judge of vocabulary_compile. */
#ifndef SUPPORT_SLOW_MERGES_H
#define SUPPORT_SLOW_MERGES_H

#include "tokens/vocabulary.h"

/* Random or arbitrary vocabularies: all bytes, then joints; and merges between any of them. */
enum { MERGES_MAX_TOKENS = 400, MERGES_MAX = 300, MERGES_MAX_BYTES = 40 };

struct slow_merges {
    struct str tokens[MERGES_MAX_TOKENS];
    uint32_t ids[MERGES_MAX_TOKENS];
    char bytes[MERGES_MAX_TOKENS][MERGES_MAX_BYTES];
    struct vocabulary_merge merges[MERGES_MAX];
    size_t n_tokens, n_merges;
};

static inline void merges_init(struct slow_merges *s) {
    s->n_merges = 0;
    s->n_tokens = 256;
    for (int i = 0; i < 256; i++) {
        s->bytes[i][0] = (char)i;
        s->tokens[i] = (struct str){s->bytes[i], 1};
        s->ids[i] = (uint32_t)(1000 + i);
    }
}

/* The number of the token of these bytes, which is made when it isn't there; n_tokens when there is no
 * room. */
static inline size_t merges_token(struct slow_merges *s, struct str text) {
    size_t i = 0;
    while (i < s->n_tokens && !str_eq(s->tokens[i], text))
        i++;
    if (i < s->n_tokens || i == MERGES_MAX_TOKENS || text.n > MERGES_MAX_BYTES)
        return i;
    memcpy(s->bytes[i], text.p, text.n);
    s->tokens[i] = (struct str){s->bytes[i], text.n};
    s->ids[i] = (uint32_t)(1000 + i);
    return s->n_tokens++;
}

/* Adds a merge at the end of the list, unless there is no room or it is there. */
static inline bool merges_add(struct slow_merges *s, size_t left, size_t right) {
    char joint[2 * MERGES_MAX_BYTES];
    struct str a = s->tokens[left], b = s->tokens[right];
    for (size_t i = 0; i < s->n_merges; i++) {
        if (s->merges[i].left == left && s->merges[i].right == right)
            return false;
    }
    memcpy(joint, a.p, a.n);
    memcpy(joint + a.n, b.p, b.n);
    size_t token = s->n_merges < MERGES_MAX && a.n + b.n <= MERGES_MAX_BYTES
                       ? merges_token(s, (struct str){joint, a.n + b.n})
                       : s->n_tokens;
    if (token >= s->n_tokens)
        return false;
    s->merges[s->n_merges++] =
        (struct vocabulary_merge){(uint32_t)left, (uint32_t)right, (uint32_t)token};
    return true;
}

/* The tokens that the text's bytes end in, of at most as many as `out` holds: of all pairs that stand
 * side by side the one whose merge comes first is merged, the leftmost of equals, until there is none. */
static inline size_t merges_encode(const struct slow_merges *s, struct str text, size_t *out) {
    size_t n = text.n;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text.p[i];
    for (;;) {
        size_t best = s->n_merges, at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            for (size_t k = 0; k < best; k++) {
                if (s->merges[k].left == out[i] && s->merges[k].right == out[i + 1]) {
                    best = k;
                    at = i;
                }
            }
        }
        if (best == s->n_merges)
            return n;
        out[at] = s->merges[best].joint;
        n--;
        memmove(out + at + 1, out + at + 2, (n - at - 1) * sizeof *out);
    }
}

#endif
