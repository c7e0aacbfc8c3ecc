/* vocabulary_private.h - the layout of a vocabulary's block, and the look-ups in it. */
#ifndef TOKENS_VOCABULARY_PRIVATE_H
#define TOKENS_VOCABULARY_PRIVATE_H

#include "tokens/vocabulary.h"

/* No token: the highest value of 18 bits. */
enum { TOKEN_NONE = VOCABULARY_MAX_TOKENS };

enum {
    TOKEN_BITS = 18,
    RUN_BYTES = 128, /* runs are counted for ASCII */
    RUN_LENGTHS = 384,
    RUN_PERIOD = 128,
    N_ROOTS = 1 << 16,
    SEAM_BITS = 19, /* log2 of the bits of `seams`: 64 KB, of which o200k sets 1 in 16 */
};

struct vocabulary_head {
    char magic[8];
    uint32_t byte_order; /* 0x01020304 as this machine writes it */
    uint32_t pattern;
    uint32_t n_tokens;
    uint32_t n_nodes;
    uint32_t pair_bits; /* log2 of the slots of `pairs` */
    uint32_t size;      /* of the whole block */
    /* Where each part begins, in bytes. */
    uint32_t tokens, nodes, roots, pairs, pair_moves, edges, seams, byte_rank, runs, run_steps;
    /* 0 for what there is none of. */
    uint32_t seeds, ids, wholes, whole_slots, whole_field, added[2], added_first, spellings;
    uint32_t n_wholes, whole_bits, n_added[2]; /* log2 of the slots; how many */
    uint16_t chat_form, is_nfc;                /* no hole before the next: all bytes are hashed */
    uint64_t identity;                         /* hash of all else */
};

#define VOCABULARY_MAGIC "WEIRVOC5"

/* A token by its text. Those added stand in the order of their bytes. */
struct spelled {
    uint32_t at, n; /* in `spellings` */
    uint32_t id;
    uint32_t flags;
};
enum { SPELLED_TAKES_BEFORE = 1, SPELLED_TAKES_BEHIND = 2 };

/* What vocabulary_build.c makes a block of. Ranks are the order of `tokens`. */
struct vocabulary_parts {
    enum token_pattern pattern;
    bool is_nfc;
    const struct str *tokens;
    size_t n_tokens;
    const uint64_t
        *halves;         /* pair_key of each that has more than one byte; NULL: to be found out */
    const uint32_t *ids; /* NULL: the ranks */
    const struct str *wholes;
    const uint32_t *whole_ids;
    size_t n_wholes;
    const struct vocabulary_added *added; /* in the order of their bytes */
    size_t n_added;
};

enum status vocabulary_assemble(struct buf *out, const struct vocabulary_parts *parts,
                                struct problem *why) MUST_USE;

/*
 * A token, packed: bits 0-17 its left half, 18-35 its right half (a single byte is both its own),
 * 36-53 the longest other token that it begins with (TOKEN_NONE for a single byte), 54-61 its length.
 */
static inline uint64_t token_pack(uint32_t left, uint32_t right, uint32_t prefix, size_t length) {
    return left | (uint64_t)right << TOKEN_BITS | (uint64_t)prefix << 2 * TOKEN_BITS |
           (uint64_t)length << 3 * TOKEN_BITS;
}
static inline uint64_t pair_key(uint32_t left, uint32_t right) {
    return left | (uint64_t)right << TOKEN_BITS;
}
#define PAIR_MASK ((UINT64_C(1) << 2 * TOKEN_BITS) - 1)

static inline uint32_t token_left(uint64_t token) {
    return token & TOKEN_NONE;
}
static inline uint32_t token_right(uint64_t token) {
    return token >> TOKEN_BITS & TOKEN_NONE;
}
static inline uint32_t token_prefix(uint64_t token) {
    return token >> 2 * TOKEN_BITS & TOKEN_NONE;
}
static inline size_t token_length(uint64_t token) {
    return token >> 3 * TOKEN_BITS & 0xff;
}

/*
 * A node of the tree, packed: bits 0-23 its base, 24-41 the token that ends here or TOKEN_NONE, 48-56
 * the byte that leads to it plus 256 (0: a free place). The child by byte c stands at base ^ c. No two
 * nodes have the same base, so the byte alone tells whose child a place holds. Node 0 is the root; no
 * base is 0, so that a node without children needs no mark of its own.
 */
static inline uint64_t node_pack(uint32_t base, uint32_t token, uint32_t label) {
    return base | (uint64_t)token << 24 | (uint64_t)(256 + label) << 48;
}
static inline uint32_t node_base(uint64_t node) {
    return node & 0xffffff;
}
static inline uint32_t node_token(uint64_t node) {
    return node >> 24 & TOKEN_NONE;
}
static inline bool node_is_child(uint64_t node, uint32_t label) {
    return node >> 48 == 256 + label;
}

/*
 * A slot of the pairs: 14 bits of the hash above the rank, or PAIR_FREE. Which slot a pair has was found
 * out when the block was made: its hash names a group, and each group has the number by which its hashes
 * must be multiplied so that no two pairs of all groups meet. So asking takes two places of the memory
 * and no search, whatever the answer. (Hash, displace and compress: Belazzougui, Botelho and Dietzfelbinger,
 * 2009.)
 */
#define PAIR_FREE UINT32_MAX

/* No two pairs have the same one. */
static inline uint64_t pair_hash(uint64_t key) {
    uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}
/* A group for every four slots; `mask` is the highest slot. */
static inline uint32_t pair_group(uint64_t hash, uint32_t mask) {
    return (uint32_t)(hash >> 46) & mask >> 2;
}
static inline uint32_t pair_slot(uint64_t hash, uint16_t move, uint32_t mask) {
    return (uint32_t)((hash * (2u * move + 1)) >> 40) & mask;
}

static inline uint32_t pair_print(uint64_t hash) {
    return (uint32_t)hash & 0x3fff;
}

/* Whether two adjacent tokens merge into one of a rank below `limit`, which is TOKEN_NONE at most. */
static inline bool pair_merges_below(const struct vocabulary *v, uint32_t left, uint32_t right,
                                     uint32_t limit) {
    uint64_t key = pair_key(left, right), hash = pair_hash(key);
    uint16_t move = v->pair_moves[pair_group(hash, v->pair_mask)];
    uint32_t slot = v->pairs[pair_slot(hash, move, v->pair_mask)], rank = slot & TOKEN_NONE;
    return rank < limit && slot >> TOKEN_BITS == pair_print(hash) &&
           (v->tokens[rank] & PAIR_MASK) == key;
}

/*
 * Whether two tokens may stand side by side in an encoding: whether merging their bytes gives just
 * these two. Takes the merges at the seam back, the latest (highest rank) first, and asks each time
 * whether the two parts that then met would have merged before the one taken back: then the seam
 * would not have lasted. Of equal ranks the left one is merged first, so the right half's own merge
 * only comes before when it is strictly lower.
 *
 * At last only the two bytes beside the seam are left; `edge` is the rank of what they merge into.
 */
static inline bool pair_lasts(const struct vocabulary *v, uint32_t left, uint32_t right,
                              uint32_t edge) {
    uint32_t limit = TOKEN_NONE; /* merges of rank below this one would have come first */
    if (pair_merges_below(v, left, right, limit))
        return false;
    for (;;) {
        uint32_t inner_left = token_right(v->tokens[left]);
        uint32_t inner_right = token_left(v->tokens[right]);
        bool is_left_whole = inner_left == left, is_right_whole = inner_right == right;
        if (is_left_whole & is_right_whole)
            return edge >= limit;
        /* Which it is, no processor can guess: so nothing here is a jump. */
        bool is_left_later = is_right_whole | (!is_left_whole & (left > right));
        limit = is_left_later ? left : right + 1;
        left = is_left_later ? inner_left : left;
        right = is_left_later ? right : inner_right;
        if (pair_merges_below(v, left, right, limit))
            return false;
    }
}

static inline uint32_t edge_rank(const struct vocabulary *v, unsigned char before,
                                 unsigned char behind) {
    return v->edges[(uint32_t)before << 8 | behind];
}

/*
 * The bit for a seam between two characters of two bytes or more, by the two bytes before it and the
 * two behind it. A clear bit: no token holds such a place inside, so merging never crosses it, and
 * both sides are encoded as if alone.
 */
static inline uint32_t seam_bit(uint32_t before_and_behind) {
    return (before_and_behind * UINT32_C(0x9e3779b1)) >> (32 - SEAM_BITS);
}
static inline bool seam_may_merge(const struct vocabulary *v, const unsigned char *at) {
    uint32_t window;
    memcpy(&window, at - 2, sizeof window);
    uint32_t bit = seam_bit(window);
    return v->seams[bit >> 6] >> (bit & 63) & 1;
}

/* --- what a cache of words begins with --- */

/*
 * A unit of text of up to 15 bytes as one number of 16: its bytes and, in the last one, its length and, in the
 * cache, the number of its tokens. A length of 0: free. Units with the same hash share a set.
 */
struct short_unit {
    uint64_t low, high; /* the bytes, byte 0 the lowest; above them, length << 4 | tokens */
};

enum {
    SHORT_MAX = 15,
    SHORT_BITS = 15,    /* log2 of the sets: 2 MB */
    WAYS = 4,           /* units in a set, which is one line of the processor's cache */
    SEEDS_FROM = 32768, /* vocabularies of so many tokens bring the first content of a cache */
};
#define SHORT_UNITS ((size_t)WAYS << SHORT_BITS)
#define SHORT_TOKENS_SHIFT 56
#define SHORT_LENGTH_SHIFT 60

static inline uint64_t load64(const char *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* The unit of the n bytes at p, without its tokens; `room` bytes from p on may be read. */
static inline struct short_unit short_unit_of(const char *p, uint32_t n, size_t room) {
    static const unsigned char masks[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const char *mask = (const char *)masks + 16 - n;
    char bytes[16] UNINITIALIZED;
    if (UNLIKELY(room < sizeof bytes)) {
        memset(bytes, 0, sizeof bytes);
        p = memcpy(bytes, p, n);
    }
    return (struct short_unit){load64(p) & load64(mask), (load64(p + 8) & load64(mask + 8)) |
                                                             (uint64_t)n << SHORT_LENGTH_SHIFT};
}

static inline uint32_t short_unit_set(struct short_unit u) {
    uint64_t h = (u.low ^ (u.high >> 31)) * UINT64_C(0x9e3779b97f4a7c15) +
                 u.high * UINT64_C(0xc2b2ae3d27d4eb4f);
    return (uint32_t)(h >> (64 - SHORT_BITS));
}

/* --- tokens that are whole pieces --- */

enum { WHOLE_FIELD_BITS = 16 }; /* log2 of the bits of `whole_field`: 8 KB */

static inline uint64_t whole_hash(const char *p, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return (h ^ h >> 32) * UINT64_C(0xc2b2ae3d27d4eb4f);
}

/* The token that is just these bytes, or NULL; only of those that no merging makes. */
static inline const struct spelled *whole_find(const struct vocabulary *v, const char *p,
                                               size_t n) {
    if (!v->wholes)
        return NULL;
    uint64_t hash = whole_hash(p, n);
    uint32_t bit = (uint32_t)(hash >> (64 - WHOLE_FIELD_BITS));
    if (!(v->whole_field[bit >> 6] >> (bit & 63) & 1))
        return NULL;
    uint32_t mask = (1u << v->head->whole_bits) - 1, slot;
    for (uint32_t i = (uint32_t)hash & mask; (slot = v->whole_slots[i]) != 0; i = (i + 1) & mask) {
        const struct spelled *s = &v->wholes[slot - 1];
        if (s->n == n && memcmp(v->spellings + s->at, p, n) == 0)
            return s;
    }
    return NULL;
}

#endif
