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

/* The highest set bit; there is one. */
static inline uint32_t high_bit(uint64_t bits) {
    return 63 - (uint32_t)__builtin_clzll(bits);
}

/* The last set bit before i; there is one. */
static size_t bit_before(const uint64_t *bits, size_t i) {
    size_t word = i >> 6;
    uint64_t here = bits[word] & ((UINT64_C(1) << (i & 63)) - 1);
    while (here == 0)
        here = bits[--word];
    return word * 64 + high_bit(here);
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

/* --- windows --- */

/*
 * A few dozen bytes, merged as the definition says: the lowest rank first. Where a window was cut out
 * of a longer piece, its outer tokens may be wrong; those further in hardly ever are.
 *
 * Bytes are numbered from 1. Number 0 and the one behind the last hold TOKEN_NONE, which merges with
 * nothing, so that every byte has neighbours. What a token has stands where its first byte is.
 */
enum {
    WINDOW = 31, /* bytes */
    STRIDE = 25, /* from one window to the next: they share 6 */
    /* Windows that are merged at once, a step of each in turn: a step mostly waits for the memory. */
    LANES = 4,
    PAUSE = 16, /* bytes without windows where one did not fit */
    PLACE_BITS = 5,
    NO_KEY = TOKEN_NONE << PLACE_BITS, /* and all above */
};

struct window {
    /* What a token and the next merge into, rank << PLACE_BITS | number: the least comes first. */
    int32_t keys[WINDOW + 1] __attribute__((aligned(16)));
    uint32_t tokens[WINDOW + 2];
    uint64_t starts; /* bits: where tokens begin; those at both ends are set */
};

/* Side by side, for any processor with vectors. */
typedef int32_t quad __attribute__((vector_size(16)));

static inline quad quad_min(quad a, quad b) {
    quad is_less = a < b;
    return (a & is_less) | (b & ~is_less);
}

static inline int32_t least_key(const struct window *w) {
    const quad *keys = (const void *)w->keys;
    quad a = quad_min(quad_min(keys[0], keys[1]), quad_min(keys[2], keys[3]));
    quad b = quad_min(quad_min(keys[4], keys[5]), quad_min(keys[6], keys[7]));
    a = quad_min(a, b);
    a = quad_min(a, (quad){a[2], a[3], a[0], a[1]});
    a = quad_min(a, (quad){a[1], a[0], a[3], a[2]});
    return a[0];
}

static void window_init(struct window *w, const struct vocabulary *v, const unsigned char *p,
                        size_t n) {
    size_t i = 1;
    w->starts = (UINT64_C(2) << (n + 1)) - 1;
    w->tokens[0] = w->tokens[n + 1] = TOKEN_NONE;
    w->tokens[n] = v->byte_rank[p[n - 1]];
    w->keys[0] = NO_KEY;
    for (; i < n; i++) {
        w->tokens[i] = v->byte_rank[p[i - 1]];
        w->keys[i] = (int32_t)(edge_rank(v, p[i - 1], p[i]) << PLACE_BITS | (uint32_t)i);
    }
    for (; i <= WINDOW; i++)
        w->keys[i] = NO_KEY;
}

/* Perhaps wrong: 14 bits of a hash are compared, and the rest once the key is the least. */
static inline int32_t window_key(const struct vocabulary *v, uint32_t left, uint32_t right,
                                 uint32_t at) {
    uint64_t hash = pair_hash(pair_key(left, right));
    uint16_t move = v->pair_moves[pair_group(hash, v->pair_mask)];
    uint32_t slot = v->pairs[pair_slot(hash, move, v->pair_mask)];
    int32_t key = (int32_t)((slot & TOKEN_NONE) << PLACE_BITS | at);
    return slot >> TOKEN_BITS == pair_print(hash) ? key : NO_KEY;
}

/* Merges once. False when nothing is left to be merged. */
static inline bool window_step(struct window *w, const struct vocabulary *v) {
    int32_t key = least_key(w);
    if (key >= NO_KEY)
        return false;
    uint32_t at = (uint32_t)key & ((1u << PLACE_BITS) - 1), joint = (uint32_t)key >> PLACE_BITS;
    uint64_t above = w->starts & ~((UINT64_C(2) << at) - 1);
    uint64_t below = w->starts & ((UINT64_C(1) << at) - 1);
    uint32_t gone = (uint32_t)__builtin_ctzll(above);
    if (UNLIKELY((v->tokens[joint] & PAIR_MASK) != pair_key(w->tokens[at], w->tokens[gone]))) {
        w->keys[at] = NO_KEY;
        return true;
    }
    uint32_t next = (uint32_t)__builtin_ctzll(above & (above - 1));
    uint32_t before = high_bit(below);
    w->starts ^= UINT64_C(1) << gone;
    w->tokens[at] = joint;
    w->keys[gone] = NO_KEY;
    w->keys[at] = window_key(v, joint, w->tokens[next], at);
    w->keys[before] = window_key(v, w->tokens[before], joint, before);
    return true;
}

/* --- laying --- */

/* Where the laying of tokens stands. */
struct laying {
    size_t at;     /* the byte behind the last token */
    size_t count;  /* of tokens */
    uint32_t last; /* the token that ends at `at`; TOKEN_NONE when `at` is 0 */
};

/* Whether merging would leave the token beside the last one. */
static inline bool may_follow(const struct vocabulary *v, const unsigned char *p,
                              const struct laying *l, uint32_t token) {
    return l->last == TOKEN_NONE ||
           pair_lasts(v, l->last, token, edge_rank(v, p[l->at - 1], p[l->at]));
}

/* The bits of the first n bytes of a window, and of number 0. */
static inline uint64_t first_bytes(size_t n) {
    return (UINT64_C(2) << n) - 1;
}

/* The tokens from l->at to byte `end`, of a window that begins at byte `begin`. */
static void lay_window(struct merge *m, struct laying *l, const struct window *w, size_t begin,
                       size_t end) {
    /* Bit k: a token ends k bytes behind l->at. */
    uint64_t ends = w->starts >> (l->at - begin + 1) & (first_bytes(end - l->at) - 1);
    size_t word = l->at >> 6, shift = l->at & 63;
    m->ends[word] |= ends << shift;
    if (end >> 6 > word)
        m->ends[word + 1] |= ends >> (64 - shift);
    l->count += (size_t)__builtin_popcountll(ends);
    l->last = w->tokens[high_bit(w->starts & first_bytes(end - begin))];
    l->at = end;
}

/*
 * Lays tokens of the next windows. They overlap, and meet where both have the beginning of a token
 * that may follow the one before it; behind the last that does, what may still be wrong is left out.
 * False when not even the first token will do; then nothing has changed.
 */
static bool lay_windows(struct merge *m, const struct vocabulary *v, const unsigned char *p,
                        size_t n, struct laying *l) {
    struct window windows[LANES] UNINITIALIZED;
    size_t begin = l->at, left = n - begin, n_windows = 1;
    while (n_windows < LANES && (n_windows - 1) * STRIDE + WINDOW < left)
        n_windows++;
    for (size_t i = 0; i < n_windows; i++)
        window_init(&windows[i], v, p + begin + i * STRIDE, size_min(WINDOW, left - i * STRIDE));
    for (bool is_open = true; is_open;) {
        is_open = false;
        for (size_t i = 0; i < n_windows; i++)
            is_open |= window_step(&windows[i], v);
    }
    if (!may_follow(v, p, l, windows[0].tokens[1]))
        return false;
    for (const struct window *w = windows;; w++, begin += STRIDE) {
        if (begin + WINDOW >= n) {
            lay_window(m, l, w, begin, n);
            return true;
        }
        uint64_t starts = w->starts & first_bytes(WINDOW);
        uint64_t common = 0;
        if (w + 1 < windows + n_windows)
            common = starts & (w[1].starts << STRIDE) & ~first_bytes(STRIDE);
        size_t end = begin + high_bit(common ? common : starts & first_bytes(STRIDE)) - 1;
        if (end <= l->at)
            return w > windows;
        lay_window(m, l, w, begin, end);
        if (!common || !may_follow(v, p, l, w[1].tokens[end - begin - STRIDE + 1]))
            return true;
    }
}

/*
 * Lays one token: the longest that will do. Where none will, the tokens before were wrong: they are
 * taken back, one after another, until one will.
 */
static void lay_token(struct merge *m, const struct vocabulary *v, const unsigned char *p, size_t n,
                      struct laying *l) {
    for (struct start next = longest(v, p + l->at, n - l->at);;) {
        size_t end = l->at + next.n;
        if (!bit_at(m->dead, end) && may_follow(v, p, l, next.token)) {
            flip_bit(m->ends, end);
            *l = (struct laying){end, l->count + 1, next.token};
            return;
        }
        next.token = token_prefix(v->tokens[next.token]);
        if (next.token != TOKEN_NONE) {
            next.n = (uint32_t)token_length(v->tokens[next.token]);
            continue;
        }
        assert(l->at > 0);
        flip_bit(m->dead, l->at);
        flip_bit(m->ends, l->at);
        l->at -= token_length(v->tokens[l->last]);
        l->count--;
        l->last = TOKEN_NONE;
        if (l->at > 0) {
            size_t begin = bit_before(m->ends, l->at);
            l->last = longest(v, p + begin, l->at - begin).token;
        }
        next = longest(v, p + l->at, n - l->at);
    }
}

size_t merge_count(struct merge *m, const struct vocabulary *v, struct str piece) {
    const unsigned char *p = (const unsigned char *)piece.p;
    size_t n = piece.n, windows_from = 0;
    if (n == 0)
        return 0;
    if (longest(v, p, n).n == n)
        return 1;
    make_room(m, n);
    flip_bit(m->ends, 0);
    struct laying l = {0, 0, TOKEN_NONE};
    while (l.at < n) {
        /* Windows lie behind all that was tried, so that no place in them is dead, and no text is in
         * many of them. */
        if (l.at >= windows_from && !lay_windows(m, v, p, n, &l))
            windows_from = l.at + PAUSE;
        if (l.at < windows_from)
            lay_token(m, v, p, n, &l);
        windows_from = size_max(windows_from, l.at);
    }
    return l.count;
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
