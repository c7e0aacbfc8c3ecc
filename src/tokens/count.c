#include "tokens/count.h"

#include "tokens/merge.h"
#include "tokens/nfc.h"
#include "tokens/pieces.h"
#include "tokens/vocabulary_private.h"

#include <stdlib.h>

/*
 * Text is cut into units: pieces, and long pieces of other scripts again at those seams that no
 * merging crosses. So a Chinese sentence, which is one piece, becomes words that occur again.
 *
 * A unit of up to 15 bytes is one 16-byte number (vocabulary_private.h, short_unit). From its set in the
 * cache a new one pushes that which was in it longest; the one found last stands first. Longer
 * units have lines of their own, one for each hash, and the later takes it.
 *
 * Half of the words that a cache sees for the first time are tokens. So it does not begin empty, but
 * with as many tokens as it can take, the lowest ranks before others: a copy of what was laid out when
 * the vocabulary was made.
 *
 * Units are worked off in batches: the first pass finds them and asks the memory for their places in
 * the cache, the second looks there. One by one, each would wait for the memory.
 */
enum {
    LONG_BITS = 12, /* log2 of the places for longer ones: 256 KB */
    LONG_MAX = 62,
    BATCH = 32,
    LINE = 64,
};

struct long_unit {
    uint8_t length;
    uint8_t tokens;
    char bytes[LONG_MAX];
};

/*
 * Where the next added token of each kind was last found in a text. Steps through one text (see
 * token_count_some) would otherwise look through its rest again each time; whoever begins at 0 begins
 * anew.
 */
struct look {
    const char *p; /* borrowed, and only compared */
    size_t n, from;
    struct match {
        size_t begin, end; /* with the blanks that belong to it */
        uint32_t id;
    } match[2];
};

struct token_cache {
    struct short_unit short_units[SHORT_UNITS];
    struct long_unit long_units[1 << LONG_BITS];
    struct vocabulary v;
    uint64_t identity; /* of v */
    struct merge merge;
    struct look look;
    void *memory; /* owned; this struct lies in it at the next line of the processor's cache */
};

/* The place of a unit that would be a token if it were a whole piece: it is none of the cache's. */
#define ONLY_MERGE UINT32_MAX

struct unit {
    const char *p;
    uint32_t n;
    uint32_t place; /* in the cache of its size, or ONLY_MERGE */
    struct short_unit key;
};

struct token_cache *token_cache_new(const struct vocabulary *v) {
    char *memory = xcalloc(1, sizeof(struct token_cache) + LINE - 1);
    struct token_cache *c = (void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
    c->memory = memory;
    c->v = *v;
    c->identity = vocabulary_identity(v);
    if (v->seeds)
        memcpy(c->short_units, v->seeds, sizeof c->short_units);
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

void token_cache_move(struct token_cache *c, const struct vocabulary *v) {
    /* The block at the old place may be gone. */
    assert(c->identity == vocabulary_identity(v));
    c->v = *v;
}

/* --- units --- */

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
    const char *at = p + 2;
    while (end - at >= 8 && !(load64(at) & UINT64_C(0x8080808080808080)))
        at += 8; /* long words of one byte a character have no seams */
    for (; end - at >= 2; at++) {
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
    if (UNLIKELY(c->v.wholes != NULL) && whole_find(&c->v, p, n))
        return 1;
    if (n > SHORT_MAX && is_run(&c->v, p, n))
        return count_run(&c->v, (unsigned char)p[0], n);
    return (int64_t)merge_count(&c->merge, &c->v, (struct str){p, n});
}

/* Equal but for the four bits of the number of tokens. */
static inline bool is_unit(const struct short_unit *s, const struct unit *u) {
    return ((s->low ^ u->key.low) |
            ((s->high ^ u->key.high) & ~(UINT64_C(15) << SHORT_TOKENS_SHIFT))) == 0;
}

static inline int64_t tokens_of(const struct short_unit *s) {
    return (int64_t)(s->high >> SHORT_TOKENS_SHIFT & 15);
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
    s[0] = u->key;
    s[0].high |= (uint64_t)tokens << SHORT_TOKENS_SHIFT;
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

/* Finds the cuts in a unit of so many tokens; `text` is where the text begins. */
static void cut(struct token_cache *c, const char *text, const struct unit *u, int64_t tokens,
                struct token_cutter *cutter) {
    struct str piece = {u->p, u->n};
    bool is_long_run = u->n > LONG_MAX && is_run(&c->v, u->p, u->n);
    size_t at = 0;
    int64_t done = 0;
    if (!is_long_run && tokens > 1)
        (void)merge_count(&c->merge, &c->v, piece);
    while (tokens - done >= cutter->missing) {
        done += cutter->missing;
        if (done == tokens)
            at = u->n;
        else if (is_long_run)
            at = (size_t)((double)u->n * (double)done / (double)tokens);
        else
            merge_walk(&c->merge, piece, (size_t)cutter->missing, &at);
        uint32_t place = (uint32_t)(u->p + at - text);
        buf_put(&cutter->cuts, &place, sizeof place);
        cutter->missing = cutter->step;
    }
    cutter->missing -= tokens - done;
}

/* The same in a batch, in whose units' places their tokens stand by now. */
static __attribute__((noinline)) void cut_batch(struct token_cache *c, const char *text,
                                                const struct unit *units, unsigned n,
                                                struct token_cutter *cutter) {
    for (const struct unit *u = units; u < units + n; u++) {
        if (u->place >= cutter->missing)
            cut(c, text, u, u->place, cutter);
        else
            cutter->missing -= u->place;
    }
}

/* One token that ends at the place. */
static void cut_behind(struct token_cutter *cutter, size_t end) {
    if (--cutter->missing > 0)
        return;
    uint32_t place = (uint32_t)end;
    buf_put(&cutter->cuts, &place, sizeof place);
    cutter->missing = cutter->step;
}

static inline __attribute__((always_inline)) int64_t
count_pattern(struct token_cache *c, const char *text, const char *p, const char *stop,
              const char *end, pieces_end_fn *next_piece, bool has_wholes,
              struct token_cutter *cutter, const char **at) {
    struct unit units[BATCH] UNINITIALIZED;
    /* The last piece may go beyond `stop`, and is counted to its end. */
    const char *piece = p, *piece_end = p, *goal = stop;
    int64_t tokens = 0;
    while (p < goal) {
        unsigned n = 0;
        do {
            struct unit *u = &units[n++];
            if (p == piece_end) {
                piece = p;
                piece_end = next_piece(p, end);
                goal = piece_end > stop ? piece_end : stop;
            }
            const char *next = unit_end(&c->v, p, piece_end);
            if (UNLIKELY(next - p > TOKEN_PIECE_SURE && next > stop) &&
                !is_run(&c->v, p, (size_t)(next - p))) {
                n--;
                goal = p; /* ends both loops */
                break;
            }
            u->p = p;
            u->n = (uint32_t)(next - p);
            /* The cache knows no difference between a piece and a part of one. */
            bool is_part = has_wholes && (p > piece || next < piece_end);
            p = next;
            if (is_part && UNLIKELY(whole_find(&c->v, u->p, u->n) != NULL)) {
                u->place = ONLY_MERGE;
            } else if (LIKELY(u->n <= SHORT_MAX)) {
                u->key = short_unit_of(u->p, u->n, (size_t)(end - u->p));
                u->place = short_unit_set(u->key);
                __builtin_prefetch(&c->short_units[u->place * WAYS]);
            } else if (u->n <= LONG_MAX) {
                key_long(u);
                __builtin_prefetch(&c->long_units[u->place]);
            } else if (has_wholes) {
                u->place = 0;
            }
        } while (n < BATCH && p < goal);
        int64_t sum = 0;
        for (unsigned i = 0; i < n; i++) {
            struct unit *u = &units[i];
            int64_t more;
            if (has_wholes && UNLIKELY(u->place == ONLY_MERGE))
                more = (int64_t)merge_count(&c->merge, &c->v, (struct str){u->p, u->n});
            else if (LIKELY(u->n <= SHORT_MAX))
                more = count_short(c, u);
            else if (u->n <= LONG_MAX)
                more = count_long(c, u);
            else
                more = count_anew(c, u->p, u->n);
            u->place = (uint32_t)more;
            sum += more;
        }
        tokens += sum;
        if (UNLIKELY(sum >= cutter->missing))
            cut_batch(c, text, units, n, cutter);
        else
            cutter->missing -= sum;
    }
    *at = p;
    return tokens;
}

/* Text without added tokens. The patterns of the two vocabularies that most use are compiled into it,
 * whatever the compiler thinks of their length: a call for each word costs a tenth. */
static __attribute__((flatten)) int64_t count_plain(struct token_cache *c, const char *text,
                                                    const char *p, const char *stop,
                                                    const char *end, struct token_cutter *cutter,
                                                    const char **reached) {
    enum token_pattern pattern = vocabulary_pattern(&c->v);
    if (LIKELY(pattern == PATTERN_O200K && !c->v.wholes))
        return count_pattern(c, text, p, stop, end, pieces_end_o200k, false, cutter, reached);
    if (LIKELY(pattern == PATTERN_CL100K && !c->v.wholes))
        return count_pattern(c, text, p, stop, end, pieces_end_cl100k, false, cutter, reached);
    return count_pattern(c, text, p, stop, end, pieces_end_of(pattern), true, cutter, reached);
}

static enum status plain_ids(struct token_cache *c, const char *p, const char *end,
                             struct buf *out) {
    pieces_end_fn *next_piece = pieces_end_of(vocabulary_pattern(&c->v));
    while (p < end) {
        const char *next = next_piece(p, end);
        const struct spelled *whole = whole_find(&c->v, p, (size_t)(next - p));
        size_t from = out->len;
        if (whole)
            buf_put(out, &whole->id, sizeof whole->id);
        else
            TRY(merge_ids(&c->merge, &c->v, (struct str){p, (size_t)(next - p)}, out));
        for (; c->v.ids && !whole && from < out->len; from += sizeof(uint32_t)) {
            uint32_t rank;
            memcpy(&rank, out->p + from, sizeof rank);
            memcpy(out->p + from, &c->v.ids[rank], sizeof rank);
        }
        p = next;
    }
    return buf_status(out);
}

/* --- added tokens --- */

/* The longest added token of the kind that the text begins with, or NULL. Those that begin with the
 * same bytes stand together, so each further byte leaves fewer. */
static const struct spelled *longest_added(const struct vocabulary *v, int kind, const char *p,
                                           size_t n) {
    const struct spelled *all = v->added[kind], *best = NULL;
    size_t low = 0, high = v->head->n_added[kind];
    for (size_t depth = 0; low < high; depth++) {
        /* All that are left begin with `depth` bytes of the text; shorter ones come first. */
        while (low < high && all[low].n == depth)
            best = &all[low++];
        if (depth == n)
            break;
        unsigned char byte = (unsigned char)p[depth];
        size_t a = low, b = high;
        while (a < b) {
            size_t middle = a + (b - a) / 2;
            if ((unsigned char)v->spellings[all[middle].at + depth] < byte)
                a = middle + 1;
            else
                b = middle;
        }
        low = a;
        for (b = high; a < b;) {
            size_t middle = a + (b - a) / 2;
            if ((unsigned char)v->spellings[all[middle].at + depth] <= byte)
                a = middle + 1;
            else
                b = middle;
        }
        high = a;
    }
    return best;
}

/* The first added token of the kind in text[from..end), or one that begins at `end`. */
static struct match find_added(const struct vocabulary *v, int kind, const char *text, size_t from,
                               size_t end) {
    const struct spelled *s = NULL;
    size_t at = from;
    for (; at < end; at++) {
        if (UNLIKELY(v->added_first[(unsigned char)text[at]] >> kind & 1) &&
            (s = longest_added(v, kind, text + at, end - at)))
            break;
    }
    if (!s)
        return (struct match){end, end, 0};
    struct match m = {at, at + s->n, s->id};
    if (s->flags & SPELLED_TAKES_BEFORE)
        m.begin -= pieces_blanks_before(text + from, text + at);
    if (s->flags & SPELLED_TAKES_BEHIND)
        m.end += pieces_blanks(text + m.end, text + end);
    return m;
}

/* The first added token of the text from `at` on; at the text's end when there is none. Those of the
 * second kind are looked for in what those of the first leave. */
static struct match next_added(struct token_cache *c, struct str text, size_t at) {
    struct look *l = &c->look;
    if (!c->v.added_first)
        return (struct match){text.n, text.n, 0};
    bool is_known = at > 0 && l->p == text.p && l->n == text.n && l->from <= at;
    if (!is_known || l->match[0].begin < at)
        l->match[0] = find_added(&c->v, 0, text.p, at, text.n);
    if (!is_known || l->match[1].begin < at || l->match[1].end > l->match[0].begin)
        l->match[1] = find_added(&c->v, 1, text.p, at, l->match[0].begin);
    l->p = text.p;
    l->n = text.n;
    l->from = at;
    return l->match[1].begin < l->match[0].begin ? l->match[1] : l->match[0];
}

bool token_is_normal(const struct token_cache *c, struct str text) {
    return !vocabulary_is_nfc(&c->v) || nfc_is(text);
}

/* What only becomes the text of an added token here is then taken for it (a Kelvin sign for its K), other
 * than by Hugging Face, which goes on with the parts. */
enum status token_normalize(const struct token_cache *c, struct str text, struct buf *out) {
    struct match added;
    for (size_t at = 0; at < text.n; at = added.end) {
        added = (struct match){text.n, text.n, 0};
        if (c->v.added_first)
            added = find_added(&c->v, 0, text.p, at, text.n);
        TRY(nfc_put(out, (struct str){text.p + at, added.begin - at}));
        buf_put(out, text.p + added.begin, added.end - added.begin);
    }
    return buf_status(out);
}

/* For the caller to destroy. */
static struct buf normalized(const struct token_cache *c, struct str text) {
    struct buf out;
    buf_init(&out, NFC_GROWTH * text.n);
    enum status st = token_normalize(c, text, &out);
    assert(st == ST_OK);
    return out;
}

int64_t token_count_cutting(struct token_cache *c, struct str text, size_t budget, size_t *at,
                            struct token_cutter *cutter) {
    size_t from = *at, stop = from + size_min(budget, text.n - from);
    int64_t tokens = 0;
    while (from < stop) {
        struct match added = next_added(c, text, from);
        if (added.begin > from) {
            const char *end = text.p + added.begin, *reached = text.p + from;
            size_t until = size_min(stop, added.begin);
            tokens += count_plain(c, text.p, reached, text.p + until, end, cutter, &reached);
            from = (size_t)(reached - text.p);
            if (from < until)
                break; /* a long word that is left */
        }
        if (from == added.begin && from < text.n) {
            tokens++;
            from = added.end;
            cut_behind(cutter, from);
        }
    }
    *at = from;
    return tokens;
}

int64_t token_count_some(struct token_cache *c, struct str text, size_t budget, size_t *at) {
    struct token_cutter no_cuts = {.missing = INT64_MAX, .step = 1};
    return token_count_cutting(c, text, budget, at, &no_cuts);
}

int64_t token_count(struct token_cache *c, struct str text) {
    size_t at = 0;
    if (text.n == 0)
        return 0;
    if (LIKELY(token_is_normal(c, text)))
        return token_count_some(c, text, text.n, &at);
    struct buf normal = normalized(c, text);
    int64_t tokens = token_count_some(c, buf_view(&normal), normal.len, &at);
    buf_destroy(&normal);
    return tokens;
}

static enum status normal_ids(struct token_cache *c, struct str text, struct buf *out) {
    for (size_t at = 0; at < text.n;) {
        struct match added = next_added(c, text, at);
        TRY(plain_ids(c, text.p + at, text.p + added.begin, out));
        if (added.begin < text.n)
            buf_put(out, &added.id, sizeof added.id);
        at = added.end;
    }
    return buf_status(out);
}

enum status token_ids(struct token_cache *c, struct str text, struct buf *out) {
    if (LIKELY(token_is_normal(c, text)))
        return normal_ids(c, text, out);
    struct buf normal = normalized(c, text);
    enum status st = normal_ids(c, buf_view(&normal), out);
    buf_destroy(&normal);
    return st;
}
