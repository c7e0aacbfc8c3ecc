#include "tokens/merge.h"

#include "tokens/vocabulary_private.h"

#include <stdlib.h>

/* Pieces are often a few dozen bytes, and never worth giving memory back for up to this length. */
enum { KEEP_WORDS = 1 << 10 };

void merge_destroy(struct merge *m) {
    free(m->ends);
    *m = (struct merge){0};
}

static void make_room(struct merge *m, size_t n) {
    size_t words = n / 64 + 1;
    if (words > m->n_words || (m->n_words > KEEP_WORDS && words <= KEEP_WORDS)) {
        free(m->ends);
        m->n_words = size_max(words, KEEP_WORDS);
        m->ends = xmalloc(2 * m->n_words * sizeof *m->ends);
        m->dead = m->ends + m->n_words;
    }
    memset(m->ends, 0, words * sizeof *m->ends);
    memset(m->dead, 0, words * sizeof *m->dead);
}

static inline bool bit_at(const uint64_t *bits, size_t i) {
    return bits[i >> 6] >> (i & 63) & 1;
}
static inline void flip_bit(uint64_t *bits, size_t i) {
    bits[i >> 6] ^= UINT64_C(1) << (i & 63);
}

/* The last set bit before i; there is one. */
static size_t bit_before(const uint64_t *bits, size_t i) {
    size_t word = i >> 6;
    uint64_t here = bits[word] & ((UINT64_C(1) << (i & 63)) - 1);
    while (here == 0)
        here = bits[--word];
    return word * 64 + 63 - (size_t)__builtin_clzll(here);
}

/* A token that a text begins with. */
struct start {
    uint32_t token;
    uint32_t n; /* bytes */
};

/* The longest token that the text begins with; n > 0. */
static inline struct start longest(const struct vocabulary *v, const unsigned char *p, size_t n) {
    struct start best = {v->byte_rank[p[0]], 1};
    if (n == 1)
        return best;
    uint32_t at = v->roots[p[0] << 8 | p[1]];
    if (at == 0)
        return best;
    uint64_t node = v->nodes[at];
    for (uint32_t i = 2;; i++) {
        uint32_t token = node_token(node);
        best.n = token != TOKEN_NONE ? i : best.n;
        best.token = token != TOKEN_NONE ? token : best.token;
        if (i == n)
            return best;
        node = v->nodes[node_base(node) ^ p[i]];
        if (!node_is_child(node, p[i]))
            return best;
    }
}

size_t merge_count(struct merge *m, const struct vocabulary *v, struct str piece) {
    const unsigned char *p = (const unsigned char *)piece.p;
    size_t n = piece.n, at = 0, count = 0;
    if (n == 0)
        return 0;
    struct start next = longest(v, p, n);
    if (next.n == n)
        return 1;
    make_room(m, n);
    flip_bit(m->ends, 0);
    uint32_t last = TOKEN_NONE;
    /* Whether no longer token begins where `next` does, and where `last` does. */
    bool is_longest = true, is_last_longest = true;
    for (;;) {
        size_t end = at + next.n;
        if (!bit_at(m->dead, end) &&
            (last == TOKEN_NONE ||
             pair_lasts(v, last, next.token, edge_rank(v, p[at - 1], p[at]), is_last_longest))) {
            flip_bit(m->ends, end);
            count++;
            if (end == n)
                return count;
            at = end;
            last = next.token;
            is_last_longest = is_longest;
            next = longest(v, p + at, n - at);
            is_longest = true;
            continue;
        }
        is_longest = false;
        next.token = token_prefix(v->tokens[next.token]);
        if (next.token != TOKEN_NONE) {
            next.n = (uint32_t)token_length(v->tokens[next.token]);
            continue;
        }
        /* Nothing will do here: the token before was wrong. Its next shorter prefix is tried. */
        assert(at > 0);
        flip_bit(m->dead, at);
        flip_bit(m->ends, at);
        count--;
        next = (struct start){last, (uint32_t)token_length(v->tokens[last])};
        at -= next.n;
        last = TOKEN_NONE;
        is_last_longest = false; /* perhaps */
        if (at > 0) {
            size_t start = bit_before(m->ends, at);
            last = longest(v, p + start, at - start).token;
        }
    }
}

void merge_walk(const struct merge *m, struct str piece, size_t tokens, size_t *at) {
    size_t i = *at;
    while (tokens-- && i < piece.n) {
        do
            i++;
        while (i < piece.n && !bit_at(m->ends, i));
    }
    *at = i;
}

enum status merge_ids(struct merge *m, const struct vocabulary *v, struct str piece,
                      struct buf *out) {
    size_t count = merge_count(m, v, piece);
    if (count == 0)
        return ST_OK;
    const unsigned char *p = (const unsigned char *)piece.p;
    char *room = buf_reserve(out, count * sizeof(uint32_t));
    if (!room)
        return ST_TOO_LARGE;
    for (size_t start = 0, i = 0; i < count; i++) {
        size_t end = start + 1;
        if (count == 1)
            end = piece.n;
        else
            while (!bit_at(m->ends, end))
                end++;
        uint32_t rank = longest(v, p + start, end - start).token;
        memcpy(room + i * sizeof rank, &rank, sizeof rank);
        start = end;
    }
    buf_commit(out, count * sizeof(uint32_t));
    return ST_OK;
}
