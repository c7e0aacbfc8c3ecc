#include "tokens/count.h"

#include "tokens/merge.h"
#include "tokens/pieces.h"
#include "tokens/vocabulary_private.h"

#include <stdlib.h>

/*
 * Text is cut into units: pieces, and long pieces of other scripts again at those seams that no
 * merging crosses. So a Chinese sentence, which is one piece, becomes words that occur again.
 *
 * A unit of up to 15 bytes is one 16-byte number: its bytes, and in the last one its length and, in
 * the cache, the number of its tokens. Units with the same hash share a set,
 * from which a new one pushes that which was in it longest; the one found last stands first. Longer
 * units have lines of their own, one for each hash, and the later takes it.
 *
 * Units are worked off in batches: the first pass finds them and asks the memory for their places in
 * the cache, the second looks there. One by one, each would wait for the memory.
 */
enum {
    SHORT_BITS = 15, /* log2 of the sets of short units: 2 MB */
    WAYS = 4,        /* units in a set, which is one line of the processor's cache */
    SHORT_MAX = 15,
    LONG_BITS = 12, /* of the places for longer ones: 256 KB */
    LONG_MAX = 62,
    BATCH = 32,
    LINE = 64,
};

struct short_unit {
    uint64_t low, high; /* the bytes; above them, length << 4 | tokens. A length of 0: free */
};

struct long_unit {
    uint8_t length;
    uint8_t tokens;
    char bytes[LONG_MAX];
};

struct token_cache {
    struct short_unit short_units[WAYS << SHORT_BITS];
    struct long_unit long_units[1 << LONG_BITS];
    struct vocabulary v;
    struct merge merge;
    void *memory; /* owned; this struct lies in it at the next line of the processor's cache */
};

struct unit {
    const char *p;
    uint32_t n;
    uint32_t place; /* in the cache of its size */
    uint64_t low, high;
};

struct token_cache *token_cache_new(const struct vocabulary *v) {
    /* Its pages come zeroed, and each when it is first used: nobody waits for all of them. */
    char *memory = xcalloc(1, sizeof(struct token_cache) + LINE - 1);
    struct token_cache *c = (void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
    c->memory = memory;
    c->v = *v;
    return c;
}

void token_cache_free(struct token_cache *c) {
    if (!c)
        return;
    merge_destroy(&c->merge);
    free(c->memory);
}

const struct vocabulary *token_cache_vocabulary(const struct token_cache *c) {
    return &c->v;
}

/* --- units --- */

static inline uint64_t load64(const char *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* The first `n` bytes of memory in a number of which byte 0 is the lowest; as this machine has them. */
static inline uint64_t low_bytes(uint64_t x, unsigned n) {
    return n >= 8 ? x : x & ((UINT64_C(1) << 8 * n) - 1);
}

static inline void key_short(struct unit *u, const char *end) {
    if (LIKELY(end - u->p >= 16)) {
        u->low = low_bytes(load64(u->p), u->n);
        u->high = u->n > 8 ? low_bytes(load64(u->p + 8), u->n - 8) : 0;
    } else {
        char bytes[16] = {0};
        memcpy(bytes, u->p, u->n);
        u->low = load64(bytes);
        u->high = load64(bytes + 8);
    }
    u->high |= (uint64_t)u->n << 60;
    uint64_t h = (u->low ^ (u->high >> 31)) * UINT64_C(0x9e3779b97f4a7c15) +
                 u->high * UINT64_C(0xc2b2ae3d27d4eb4f);
    u->place = (uint32_t)(h >> (64 - SHORT_BITS));
}

static inline void key_long(struct unit *u) {
    uint64_t h = u->n;
    for (uint32_t i = 0; i + 8 <= u->n; i += 8) {
        h = (h ^ load64(u->p + i)) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    h = (h ^ load64(u->p + u->n - 8)) * UINT64_C(0xc2b2ae3d27d4eb4f);
    u->place = (uint32_t)(h >> (64 - LONG_BITS));
}

/* Where the unit ends that begins at p, in a piece that ends at `end`. */
static inline const char *unit_end(const struct vocabulary *v, const char *p, const char *end) {
    if (end - p <= SHORT_MAX)
        return end;
    for (const char *at = p + 2; end - at >= 2; at++) {
        if ((unsigned char)at[0] >= 0xc0 && (unsigned char)at[-1] >= 0x80 &&
            !seam_may_merge(v, (const unsigned char *)at))
            return at;
    }
    return end;
}

/* --- counting --- */

/* A run of one ASCII byte is looked up. Rules and borders are long, and their tokens are long chains
 * of one another, so merging them is slow. */
static bool is_run(const struct vocabulary *v, const char *p, size_t n) {
    unsigned char b = (unsigned char)p[0];
    return b < RUN_BYTES && p[n - 1] == p[0] && v->run_steps[b] != 0 &&
           memcmp(p, p + 1, n - 1) == 0;
}

static int64_t count_run(const struct vocabulary *v, unsigned char byte, size_t n) {
    size_t more = 0;
    if (n >= RUN_LENGTHS) {
        more = (n - (RUN_LENGTHS - RUN_PERIOD)) / RUN_PERIOD;
        n -= more * RUN_PERIOD;
    }
    return v->runs[byte * RUN_LENGTHS + n] + (int64_t)more * v->run_steps[byte];
}

static __attribute__((noinline)) int64_t count_anew(struct token_cache *c, const char *p,
                                                    size_t n) {
    if (n > SHORT_MAX && is_run(&c->v, p, n))
        return count_run(&c->v, (unsigned char)p[0], n);
    return (int64_t)merge_count(&c->merge, &c->v, (struct str){p, n});
}

/* Equal but for the four bits of the number of tokens. */
static inline bool is_unit(const struct short_unit *s, const struct unit *u) {
    return ((s->low ^ u->low) | ((s->high ^ u->high) & ~(UINT64_C(15) << 56))) == 0;
}

static inline int64_t tokens_of(const struct short_unit *s) {
    return (int64_t)(s->high >> 56 & 15);
}

static __attribute__((noinline)) int64_t find_short(struct token_cache *c, const struct unit *u) {
    struct short_unit *s = &c->short_units[u->place * WAYS], found;
    for (int i = 1; i < WAYS; i++) {
        if (is_unit(&s[i], u)) {
            found = s[i];
            s[i] = s[0];
            s[0] = found;
            return tokens_of(&found);
        }
    }
    int64_t tokens = count_anew(c, u->p, u->n);
    memmove(s + 1, s, (WAYS - 1) * sizeof *s);
    s[0] = (struct short_unit){u->low, u->high | (uint64_t)tokens << 56};
    return tokens;
}

static inline int64_t count_short(struct token_cache *c, const struct unit *u) {
    const struct short_unit *s = &c->short_units[u->place * WAYS];
    return LIKELY(is_unit(s, u)) ? tokens_of(s) : find_short(c, u);
}

static inline int64_t count_long(struct token_cache *c, const struct unit *u) {
    struct long_unit *l = &c->long_units[u->place];
    if (l->length == u->n && memcmp(l->bytes, u->p, u->n) == 0)
        return l->tokens;
    int64_t tokens = count_anew(c, u->p, u->n);
    l->length = (uint8_t)u->n;
    l->tokens = (uint8_t)tokens;
    memcpy(l->bytes, u->p, u->n);
    return tokens;
}

static inline __attribute__((always_inline)) int64_t
count_pattern(struct token_cache *c, const char *p, const char *stop, const char *end,
              const char *(*next_piece)(const char *p, const char *end), const char **at) {
    struct unit units[BATCH] UNINITIALIZED;
    const char *piece_end = p;
    int64_t tokens = 0;
    while (p < stop || p < piece_end) {
        unsigned n = 0;
        do {
            struct unit *u = &units[n++];
            if (p == piece_end)
                piece_end = next_piece(p, end);
            const char *next = unit_end(&c->v, p, piece_end);
            if (UNLIKELY(next - p > TOKEN_PIECE_SURE && next > stop) &&
                !is_run(&c->v, p, (size_t)(next - p))) {
                n--;
                stop = piece_end = p; /* ends both loops */
                break;
            }
            u->p = p;
            u->n = (uint32_t)(next - p);
            p = next;
            if (LIKELY(u->n <= SHORT_MAX)) {
                key_short(u, end);
                __builtin_prefetch(&c->short_units[u->place * WAYS]);
            } else if (u->n <= LONG_MAX) {
                key_long(u);
                __builtin_prefetch(&c->long_units[u->place]);
            }
        } while (n < BATCH && (p < stop || p < piece_end));
        for (unsigned i = 0; i < n; i++) {
            struct unit *u = &units[i];
            if (LIKELY(u->n <= SHORT_MAX))
                tokens += count_short(c, u);
            else if (u->n <= LONG_MAX)
                tokens += count_long(c, u);
            else
                tokens += count_anew(c, u->p, u->n);
        }
    }
    *at = p;
    return tokens;
}

int64_t token_count_some(struct token_cache *c, struct str text, size_t budget, size_t *at) {
    const char *p = text.p + *at, *end = text.p + text.n;
    const char *stop = p + size_min(budget, text.n - *at), *reached = p;
    int64_t tokens;
    if (vocabulary_pattern(&c->v) == PATTERN_O200K)
        tokens = count_pattern(c, p, stop, end, pieces_end_o200k, &reached);
    else
        tokens = count_pattern(c, p, stop, end, pieces_end_cl100k, &reached);
    *at = (size_t)(reached - text.p);
    return tokens;
}

int64_t token_count(struct token_cache *c, struct str text) {
    size_t at = 0;
    return text.n ? token_count_some(c, text, text.n, &at) : 0;
}

enum status token_ids(struct token_cache *c, struct str text, struct buf *out) {
    if (text.n == 0)
        return ST_OK;
    const char *p = text.p, *end = text.p + text.n;
    while (p < end) {
        const char *next = pieces_end(vocabulary_pattern(&c->v), p, end);
        TRY(merge_ids(&c->merge, &c->v, (struct str){p, (size_t)(next - p)}, out));
        p = next;
    }
    return ST_OK;
}
