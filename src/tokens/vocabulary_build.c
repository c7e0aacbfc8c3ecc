/* vocabulary_build.c - makes a vocabulary's block from the bytes of its tokens. */
#include "tokens/vocabulary_private.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A pair that merges, while not all of them are known. */
struct known_pair {
    uint64_t key; /* NO_PAIR: a free place */
    uint32_t rank;
};

#define NO_PAIR UINT64_MAX

/* What is known of the tokens while the block is made. */
struct build {
    struct vocabulary v;                  /* of what is there so far */
    const struct vocabulary_parts *parts; /* borrowed */
    const struct str *tokens;             /* of `parts` */
    uint32_t n_tokens;
    uint64_t *packed;         /* into the block */
    uint32_t *pairs;          /* into the block */
    uint16_t *pair_moves;     /* into the block */
    struct known_pair *known; /* owned: those so far, by hash, at most every second place taken */
    uint32_t known_bits;
    /* The tree, owned. */
    uint64_t *nodes;
    uint8_t *is_base;          /* by number: some node's base */
    uint32_t n_places;         /* allocated */
    uint32_t n_nodes;          /* one more than the highest place in use */
    uint32_t hint;             /* no place below is free */
    const struct str **sorted; /* owned: the tokens in the order of their bytes */
};

static enum status refuse(struct problem *why, uint32_t rank, const char *what) {
    return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"), "token %lu %s", (unsigned long)rank,
                       what);
}

/* --- pairs --- */

static struct known_pair *known_place(const struct build *b, uint64_t key) {
    uint32_t mask = (1u << b->known_bits) - 1;
    uint32_t i = (uint32_t)(pair_hash(key) >> (64 - b->known_bits));
    while (b->known[i].key != NO_PAIR && b->known[i].key != key)
        i = (i + 1) & mask;
    return &b->known[i];
}

static void add_pair(struct build *b, uint32_t left, uint32_t right, uint32_t rank) {
    uint64_t key = pair_key(left, right);
    struct known_pair *place = known_place(b, key);
    assert(place->key == NO_PAIR);
    *place = (struct known_pair){key, rank};
}

/* Takes the slots of the pairs pairs[0..n) when their group is moved so and all are free; else none. */
static bool take_slots(struct build *b, const struct known_pair *pairs, uint32_t n, uint16_t move) {
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = pair_hash(pairs[i].key);
        uint32_t *slot = &b->pairs[pair_slot(hash, move, b->v.pair_mask)];
        if (*slot == PAIR_FREE) {
            *slot = pair_print(hash) << TOKEN_BITS | pairs[i].rank;
            continue;
        }
        while (i-- > 0)
            b->pairs[pair_slot(pair_hash(pairs[i].key), move, b->v.pair_mask)] = PAIR_FREE;
        return false;
    }
    return true;
}

/* Lays out the pairs for pair_merges_below: the groups with most pairs first, while there is most room. */
static enum status place_pairs(struct build *b, struct problem *why) {
    uint32_t n_groups = (b->v.pair_mask >> 2) + 1, n_known = 1u << b->known_bits;
    uint32_t largest = 0, n = 0;
    uint32_t *ends = xcalloc(n_groups + 1, sizeof *ends); /* of each group's pairs */
    struct known_pair *pairs = xmalloc(b->n_tokens * sizeof *pairs);
    for (uint32_t i = 0; i < n_known; i++) {
        if (b->known[i].key != NO_PAIR)
            ends[pair_group(pair_hash(b->known[i].key), b->v.pair_mask)]++;
    }
    for (uint32_t g = 0; g < n_groups; g++) {
        largest = ends[g] > largest ? ends[g] : largest;
        n += ends[g];
        ends[g] = n;
    }
    /* From the back, so that `ends` then holds where each group begins. */
    ends[n_groups] = n;
    for (uint32_t i = 0; i < n_known; i++) {
        if (b->known[i].key != NO_PAIR)
            pairs[--ends[pair_group(pair_hash(b->known[i].key), b->v.pair_mask)]] = b->known[i];
    }
    bool is_placed = true;
    for (uint32_t size = largest; size > 0 && is_placed; size--) {
        for (uint32_t g = 0; g < n_groups && is_placed; g++) {
            uint32_t move = 0;
            if (ends[g + 1] - ends[g] != size)
                continue;
            while (move <= UINT16_MAX && !take_slots(b, pairs + ends[g], size, (uint16_t)move))
                move++;
            b->pair_moves[g] = (uint16_t)move;
            is_placed = move <= UINT16_MAX;
        }
    }
    free(ends);
    free(pairs);
    /* A fifth of the slots stays free, so that nobody has seen this yet. */
    return is_placed ? ST_OK
                     : problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                                   "its merges cannot be laid out");
}

/*
 * Merges the bytes of token `rank` by the tokens of lower rank, which are in the table: what is left
 * are the two that it is made of. The number of parts that remain, of which the first two are in
 * `parts`.
 */
static size_t split(const struct build *b, struct str bytes, uint32_t *parts) {
    size_t n = bytes.n;
    for (size_t i = 0; i < n; i++)
        parts[i] = b->v.byte_rank[(unsigned char)bytes.p[i]];
    while (n > 1) {
        uint32_t best = TOKEN_NONE;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const struct known_pair *joint = known_place(b, pair_key(parts[i], parts[i + 1]));
            if (joint->key != NO_PAIR && joint->rank < best) {
                best = joint->rank;
                at = i;
            }
        }
        if (best == TOKEN_NONE)
            break;
        parts[at] = best;
        n--;
        memmove(parts + at + 1, parts + at + 2, (n - at - 1) * sizeof *parts);
    }
    return n;
}

static enum status add_bytes(struct build *b, uint32_t *byte_rank, struct problem *why) {
    for (int i = 0; i < 256; i++)
        byte_rank[i] = TOKEN_NONE;
    for (uint32_t rank = 0; rank < b->n_tokens; rank++) {
        if (b->tokens[rank].n == 1)
            byte_rank[(unsigned char)b->tokens[rank].p[0]] = rank;
    }
    for (int i = 0; i < 256; i++) {
        if (byte_rank[i] == TOKEN_NONE)
            return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                               "there is no token for the byte %d", i);
    }
    return ST_OK;
}

static enum status add_tokens(struct build *b, struct problem *why) {
    uint32_t parts[VOCABULARY_MAX_TOKEN_BYTES];
    const uint64_t *halves = b->parts->halves;
    for (uint32_t rank = 0; rank < b->n_tokens; rank++) {
        struct str bytes = b->tokens[rank];
        if (bytes.n == 0 || bytes.n > VOCABULARY_MAX_TOKEN_BYTES)
            return refuse(why, rank, "is empty or has more than 255 bytes");
        if (bytes.n == 1) {
            if (b->v.byte_rank[(unsigned char)bytes.p[0]] != rank)
                return refuse(why, rank, "occurs twice");
            b->packed[rank] = token_pack(rank, rank, TOKEN_NONE, 1);
            continue;
        }
        size_t n = 2;
        if (halves) {
            parts[0] = (uint32_t)(halves[rank] & TOKEN_NONE);
            parts[1] = (uint32_t)(halves[rank] >> TOKEN_BITS & TOKEN_NONE);
        } else {
            n = split(b, bytes, parts);
        }
        if (n != 2)
            return refuse(why, rank, n == 1 ? "occurs twice" : "cannot be made by merging");
        b->packed[rank] = token_pack(parts[0], parts[1], TOKEN_NONE, bytes.n);
        add_pair(b, parts[0], parts[1], rank);
    }
    return ST_OK;
}

/* --- the tree --- */

static int by_bytes(const void *a, const void *b) {
    const struct str *const *x = a, *const *y = b;
    return str_cmp(**x, **y);
}

/* Places up to and including `last` exist. */
static inline void make_places(struct build *b, uint32_t last) {
    if (LIKELY(last < b->n_places))
        return;
    uint32_t n = b->n_places;
    while (n <= last)
        n *= 2;
    b->nodes = xrealloc(b->nodes, n * sizeof *b->nodes);
    b->is_base = xrealloc(b->is_base, n);
    memset(b->nodes + b->n_places, 0, (n - b->n_places) * sizeof *b->nodes);
    memset(b->is_base + b->n_places, 0, n - b->n_places);
    b->n_places = n;
}

static bool fits(const struct build *b, uint32_t base, const uint8_t *labels, size_t n) {
    if (base == 0 || b->is_base[base])
        return false;
    for (size_t i = 0; i < n; i++) {
        if (b->nodes[base ^ labels[i]] != 0)
            return false;
    }
    return true;
}

/* A base under which all the labels fall on free places. */
static uint32_t find_base(struct build *b, const uint8_t *labels, size_t n) {
    /* Places that many nodes failed to use are given up: 8 % more memory than with a patience of
     * 1,000, and a twentieth of the time. */
    enum { PATIENCE = 32 };
    unsigned tries = 0;
    for (uint32_t at = b->hint;; at++) {
        /* Whatever the labels, what is looked at differs from this place in the last byte. */
        make_places(b, at | 255);
        if (b->nodes[at] != 0) {
            b->hint += at == b->hint;
            continue;
        }
        if (fits(b, at ^ labels[0], labels, n))
            return at ^ labels[0];
        if (++tries == PATIENCE) {
            b->hint = at;
            tries = 0;
        }
    }
}

/* Places the children of `node`, to which the first `depth` bytes of sorted[lo..hi) lead; the
 * longest token on the way there is `prefix`. No deeper than tokens are long. */
// NOLINTNEXTLINE(misc-no-recursion)
static void add_children(struct build *b, uint32_t node, size_t lo, size_t hi, size_t depth,
                         uint32_t prefix) {
    if (lo < hi && b->sorted[lo]->n == depth) {
        uint32_t rank = (uint32_t)(b->sorted[lo] - b->tokens);
        uint64_t t = b->packed[rank];
        b->packed[rank] = token_pack(token_left(t), token_right(t), prefix, token_length(t));
        b->nodes[node] |= (uint64_t)TOKEN_NONE << 24;
        b->nodes[node] &= ~((uint64_t)(TOKEN_NONE ^ rank) << 24);
        prefix = rank;
        lo++;
    }
    if (lo == hi)
        return;
    uint8_t labels[256] = {0};
    size_t starts[257], n = 0;
    for (size_t i = lo; i < hi; i++) {
        uint8_t label = (uint8_t)b->sorted[i]->p[depth];
        if (n == 0 || labels[n - 1] != label) {
            labels[n] = label;
            starts[n++] = i;
        }
    }
    starts[n] = hi;
    uint32_t base = find_base(b, labels, n);
    b->is_base[base] = 1;
    b->nodes[node] |= base;
    for (size_t i = 0; i < n; i++) {
        uint32_t place = base ^ labels[i];
        b->nodes[place] = node_pack(0, TOKEN_NONE, labels[i]);
        b->n_nodes = place >= b->n_nodes ? place + 1 : b->n_nodes;
    }
    for (size_t i = 0; i < n; i++)
        add_children(b, base ^ labels[i], starts[i], starts[i + 1], depth + 1, prefix);
}

static void make_tree(struct build *b) {
    b->sorted = xmalloc(b->n_tokens * sizeof *b->sorted);
    for (uint32_t i = 0; i < b->n_tokens; i++)
        b->sorted[i] = &b->tokens[i];
    qsort(b->sorted, b->n_tokens, sizeof *b->sorted, by_bytes);
    b->n_places = 1 << 12;
    b->nodes = xcalloc(b->n_places, sizeof *b->nodes);
    b->is_base = xcalloc(b->n_places, 1);
    b->n_nodes = b->hint = 1;
    b->nodes[0] = (uint64_t)TOKEN_NONE << 24; /* taken, and nobody's child */
    add_children(b, 0, 0, b->n_tokens, 0, TOKEN_NONE);
    /* A walk may look at any place that differs from a base in the last byte. */
    b->n_nodes = (b->n_nodes | 255) + 1;
    make_places(b, b->n_nodes - 1);
}

static void add_roots(const struct build *b, uint32_t *roots) {
    uint32_t base = node_base(b->nodes[0]);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t below = node_base(b->nodes[base ^ i]); /* single bytes are tokens: a child each */
        for (uint32_t k = 0; k < 256; k++)
            roots[i << 8 | k] = node_is_child(b->nodes[below ^ k], k) ? below ^ k : 0;
    }
}

static void add_edges(const struct build *b, uint32_t *edges) {
    for (uint32_t i = 0; i < N_ROOTS; i++) {
        uint64_t key = pair_key(b->v.byte_rank[i >> 8], b->v.byte_rank[i & 255]);
        const struct known_pair *pair = known_place(b, key);
        edges[i] = pair->key == key ? pair->rank : TOKEN_NONE;
    }
}

/* --- what a cache of words begins with --- */

/* Each set takes the tokens of the lowest ranks: those are the words that most texts have. */
static void add_seeds(const struct build *b, struct short_unit *seeds) {
    for (uint32_t rank = 0; rank < b->n_tokens; rank++) {
        struct str bytes = b->tokens[rank];
        if (bytes.n > SHORT_MAX)
            continue;
        struct short_unit unit = short_unit_of(bytes.p, (uint32_t)bytes.n, bytes.n);
        struct short_unit *set = &seeds[(size_t)short_unit_set(unit) * WAYS];
        unit.high |= UINT64_C(1) << SHORT_TOKENS_SHIFT;
        for (int i = 0; i < WAYS; i++) {
            if (set[i].high == 0) {
                set[i] = unit;
                break;
            }
        }
    }
}

/* --- seams --- */

static void add_seam(uint64_t *seams, const unsigned char window[4]) {
    uint32_t w;
    memcpy(&w, window, sizeof w);
    uint32_t bit = seam_bit(w);
    seams[bit >> 6] |= UINT64_C(1) << (bit & 63);
}

/*
 * Sets the bits of all windows in which a token crosses a seam. Where the token has only one byte on
 * a side, each byte that may stand beyond it is taken: before the last byte of a character of two
 * bytes or more there is its first one or another of its middle, 80 to DF, and behind a first byte
 * there is one of 80 to BF.
 */
static void add_seams(const struct str *tokens, size_t n_tokens, uint64_t *seams) {
    for (size_t rank = 0; rank < n_tokens; rank++) {
        const unsigned char *p = (const unsigned char *)tokens[rank].p;
        size_t n = tokens[rank].n;
        for (size_t at = 1; at < n; at++) {
            if (p[at - 1] < 0x80 || p[at] < 0xc0)
                continue;
            int before = at >= 2 ? p[at - 2] : 0x80, last_before = at >= 2 ? before : 0xdf;
            int behind = at + 1 < n ? p[at + 1] : 0x80, last_behind = at + 1 < n ? behind : 0xbf;
            for (int x = before; x <= last_before; x++) {
                for (int y = behind; y <= last_behind; y++) {
                    unsigned char window[4] = {(unsigned char)x, p[at - 1], p[at],
                                               (unsigned char)y};
                    add_seam(seams, window);
                }
            }
        }
    }
}

/* --- runs --- */

static bool lasts(const struct build *b, unsigned byte, uint32_t left, uint32_t right) {
    return pair_lasts(&b->v, left, right, b->v.edges[byte << 8 | byte]);
}

/*
 * How many tokens a run of one byte has. Its last token is the only one that may stand behind the
 * last token of the run shorter by that much, so the last tokens of the next run depend on those of
 * the 128 shorter ones alone (no token that is used here is longer). When 128 of them in a row are
 * those of 128 before, the sequence repeats itself for ever. A byte for which that is not so by
 * length 384 gets no step (0), and its runs are merged like any text.
 */
static void add_runs(const struct build *b, uint16_t *counts, uint16_t *steps) {
    for (unsigned byte = 0; byte < RUN_BYTES; byte++, counts += RUN_LENGTHS) {
        uint32_t tokens[RUN_PERIOD],
            last[RUN_LENGTHS] = {0}; /* of this byte alone, short to long */
        size_t n_tokens = 0;
        bool repeats = true;
        for (uint32_t node = 0;;) {
            node = node_base(b->nodes[node]) ^ byte;
            if (!node_is_child(b->nodes[node], byte))
                break;
            uint32_t token = node_token(b->nodes[node]);
            if (token == TOKEN_NONE)
                continue;
            repeats = repeats && token_length(b->packed[token]) <= RUN_PERIOD;
            if (repeats)
                tokens[n_tokens++] = token;
        }
        for (size_t n = 1; n < RUN_LENGTHS && repeats; n++) {
            for (size_t i = n_tokens; i-- > 0;) {
                size_t k = token_length(b->packed[tokens[i]]);
                if (k == n || (k < n && lasts(b, byte, last[n - k], tokens[i]))) {
                    last[n] = tokens[i];
                    counts[n] = (uint16_t)(counts[n - k] + 1);
                    break;
                }
            }
        }
        for (size_t n = RUN_LENGTHS - RUN_PERIOD; n < RUN_LENGTHS; n++)
            repeats = repeats && last[n] == last[n - RUN_PERIOD];
        steps[byte] = 0;
        if (repeats)
            steps[byte] =
                (uint16_t)(counts[RUN_LENGTHS - 1] - counts[RUN_LENGTHS - 1 - RUN_PERIOD]);
    }
}

/* --- tokens by their text --- */

static void put_spelled(struct spelled *s, char *spellings, uint32_t *at, struct str text,
                        uint32_t id, uint32_t flags) {
    *s = (struct spelled){*at, (uint32_t)text.n, id, flags};
    memcpy(spellings + *at, text.p, text.n);
    *at += (uint32_t)text.n;
}

static void add_wholes(const struct build *b, const struct vocabulary_head *h, char *block,
                       uint32_t *at) {
    struct spelled *wholes = (void *)(block + h->wholes);
    uint32_t *slots = (void *)(block + h->whole_slots);
    uint64_t *field = (void *)(block + h->whole_field);
    uint32_t mask = (1u << h->whole_bits) - 1;
    for (uint32_t k = 0; k < h->n_wholes; k++) {
        struct str text = b->parts->wholes[k];
        put_spelled(&wholes[k], block + h->spellings, at, text, b->parts->whole_ids[k], 0);
        uint64_t hash = whole_hash(text.p, text.n);
        uint32_t i = (uint32_t)hash & mask, bit = (uint32_t)(hash >> (64 - WHOLE_FIELD_BITS));
        while (slots[i])
            i = (i + 1) & mask;
        slots[i] = k + 1;
        field[bit >> 6] |= UINT64_C(1) << (bit & 63);
    }
}

static void add_added(const struct build *b, const struct vocabulary_head *h, char *block,
                      uint32_t *at) {
    uint8_t *first = (void *)(block + h->added_first);
    uint32_t n[2] = {0};
    for (size_t i = 0; i < b->parts->n_added; i++) {
        const struct vocabulary_added *a = &b->parts->added[i];
        struct spelled *of_kind = (void *)(block + h->added[a->is_late]);
        put_spelled(&of_kind[n[a->is_late]++], block + h->spellings, at, a->text, a->id,
                    (a->takes_before ? SPELLED_TAKES_BEFORE : 0u) |
                        (a->takes_behind ? SPELLED_TAKES_BEHIND : 0u));
        first[(unsigned char)a->text.p[0]] |= (uint8_t)(1u << a->is_late);
    }
}

static enum chat_form chat_form(const struct vocabulary_parts *parts) {
    for (size_t i = 0; i < parts->n_added; i++) {
        if (str_eq(parts->added[i].text, STR("<|im_start|>")))
            return CHAT_CHATML;
        if (str_eq(parts->added[i].text, STR("<|start_header_id|>")))
            return CHAT_LLAMA3;
    }
    return CHAT_UNKNOWN;
}

/* --- the block --- */

static uint32_t reserve(uint32_t *size, size_t bytes) {
    uint32_t at = *size;
    *size = (uint32_t)((at + bytes + 63) & ~(size_t)63);
    return at;
}

static uint32_t bits_for(uint32_t least, size_t n) {
    uint32_t bits = least;
    while (((size_t)1 << bits) < n + n / 4)
        bits++;
    return bits;
}

/* Where everything that only some vocabularies have will stand. */
static void reserve_spelled(const struct vocabulary_parts *parts, struct vocabulary_head *h) {
    size_t bytes = 0;
    for (size_t i = 0; i < parts->n_wholes; i++)
        bytes += parts->wholes[i].n;
    for (size_t i = 0; i < parts->n_added; i++) {
        bytes += parts->added[i].text.n;
        h->n_added[parts->added[i].is_late]++;
    }
    if (parts->ids)
        h->ids = reserve(&h->size, parts->n_tokens * sizeof *parts->ids);
    if (parts->n_wholes) {
        h->n_wholes = (uint32_t)parts->n_wholes;
        h->whole_bits = bits_for(4, 2 * parts->n_wholes);
        h->wholes = reserve(&h->size, parts->n_wholes * sizeof(struct spelled));
        h->whole_slots = reserve(&h->size, sizeof(uint32_t) << h->whole_bits);
        h->whole_field = reserve(&h->size, (size_t)1 << (WHOLE_FIELD_BITS - 3));
    }
    if (parts->n_added) {
        for (int k = 0; k < 2; k++)
            h->added[k] = reserve(&h->size, h->n_added[k] * sizeof(struct spelled));
        h->added_first = reserve(&h->size, 256);
    }
    h->spellings = reserve(&h->size, bytes);
}

static enum status build_all(struct build *b, struct buf *out, struct problem *why) {
    struct vocabulary_head h = {.byte_order = 0x01020304,
                                .pattern = b->parts->pattern,
                                .n_tokens = b->n_tokens,
                                .chat_form = (uint16_t)chat_form(b->parts),
                                .is_nfc = b->parts->is_nfc,
                                .pair_bits = bits_for(10, b->n_tokens)};
    memcpy(h.magic, VOCABULARY_MAGIC, sizeof h.magic);
    size_t pair_bytes = sizeof(uint32_t) << h.pair_bits, seam_bytes = (size_t)1 << (SEAM_BITS - 3);
    reserve(&h.size, sizeof h);
    h.tokens = reserve(&h.size, b->n_tokens * sizeof(uint64_t));
    h.roots = reserve(&h.size, N_ROOTS * sizeof(uint32_t));
    h.pairs = reserve(&h.size, pair_bytes);
    h.pair_moves = reserve(&h.size, sizeof(uint16_t) << h.pair_bits >> 2);
    h.edges = reserve(&h.size, N_ROOTS * sizeof(uint32_t));
    h.seams = reserve(&h.size, seam_bytes);
    h.byte_rank = reserve(&h.size, 256 * sizeof(uint32_t));
    h.runs = reserve(&h.size, RUN_BYTES * RUN_LENGTHS * sizeof(uint16_t));
    h.run_steps = reserve(&h.size, RUN_BYTES * sizeof(uint16_t));
    if (b->n_tokens >= SEEDS_FROM)
        h.seeds = reserve(&h.size, SHORT_UNITS * sizeof(struct short_unit));
    reserve_spelled(b->parts, &h);
    h.nodes = h.size; /* last, since its size is only known at the end */

    buf_clear(out);
    char *block = buf_reserve(out, h.size);
    if (!block)
        return buf_status(out);
    memset(block, 0, h.size);
    memset(block + h.pairs, 0xff, pair_bytes);
    memcpy(block, &h, sizeof h);
    TRY(vocabulary_open(&b->v, block, h.size, why));
    b->packed = (void *)(block + h.tokens);
    b->pairs = (void *)(block + h.pairs);
    b->pair_moves = (void *)(block + h.pair_moves);
    b->known_bits = h.pair_bits + 1;
    b->known = xmalloc(sizeof *b->known << b->known_bits);
    memset(b->known, 0xff, sizeof *b->known << b->known_bits);
    TRY(add_bytes(b, (void *)(block + h.byte_rank), why));
    TRY(add_tokens(b, why));
    TRY(place_pairs(b, why));
    add_edges(b, (void *)(block + h.edges));
    make_tree(b);
    add_roots(b, (void *)(block + h.roots));
    add_seams(b->tokens, b->n_tokens, (void *)(block + h.seams));
    add_seams(b->parts->wholes, b->parts->n_wholes, (void *)(block + h.seams));
    add_runs(b, (void *)(block + h.runs), (void *)(block + h.run_steps));
    if (h.seeds)
        add_seeds(b, (void *)(block + h.seeds));
    uint32_t at = 0;
    if (b->parts->ids)
        memcpy(block + h.ids, b->parts->ids, b->n_tokens * sizeof *b->parts->ids);
    if (h.n_wholes)
        add_wholes(b, &h, block, &at);
    if (b->parts->n_added)
        add_added(b, &h, block, &at);
    h.n_nodes = b->n_nodes;
    buf_commit(out, h.size);
    h.size += (uint32_t)(b->n_nodes * sizeof *b->nodes);
    memcpy(out->p, &h, sizeof h);
    buf_put(out, b->nodes, b->n_nodes * sizeof *b->nodes);
    TRY(buf_status(out));
    h.identity = XXH3_64bits(out->p, out->len);
    memcpy(out->p, &h, sizeof h);
    return ST_OK;
}

enum status vocabulary_assemble(struct buf *out, const struct vocabulary_parts *parts,
                                struct problem *why) {
    if (parts->n_tokens < 256 || parts->n_tokens > VOCABULARY_MAX_TOKENS)
        return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                           "there must be 256 to %d tokens, not %zu", VOCABULARY_MAX_TOKENS,
                           parts->n_tokens);
    struct build b = {
        .parts = parts, .tokens = parts->tokens, .n_tokens = (uint32_t)parts->n_tokens};
    enum status st = build_all(&b, out, why);
    free(b.known);
    free(b.nodes);
    free(b.is_base);
    free(b.sorted);
    return st;
}

enum status vocabulary_build(struct buf *out, enum token_pattern pattern, const struct str *tokens,
                             size_t n_tokens, struct problem *why) {
    return vocabulary_assemble(
        out, &(struct vocabulary_parts){.pattern = pattern, .tokens = tokens, .n_tokens = n_tokens},
        why);
}
