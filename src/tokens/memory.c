#include "tokens/memory.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    LINE = 64,     /* of the processor's cache */
    TEXT_WAYS = 4, /* a line of texts; the one found last moves to the front */
    PLACE_WAYS = 2,
    PLACE_MARKS = 7, /* of one entry; a text with more has several */
};

typedef _Atomic(uint64_t) cell;

/* `check` is the high half of the hash, xor `value`: two halves of different entries do not agree. */
struct text_entry {
    cell check;
    cell value; /* length << 32 | tokens; 0: free */
};

/* What an entry of a place says. */
struct place_value {
    uint64_t check; /* the high half of the hash; 0: free */
    uint64_t v0, v1, v2, v3, tail;
    uint64_t counts; /* the chain's hash.n << 32 | n_waiting << 16 | marks << 8 | flags */
    uint64_t marks[PLACE_MARKS];
};
enum { FLAG_FIRST_BLOCK = 1, FLAG_HAS_MORE = 2 };

/* An odd version: it is being written. Whoever reads takes the version before and after. */
struct place_entry {
    cell version;
    cell words[sizeof(struct place_value) / sizeof(uint64_t)];
    uint64_t unused; /* two lines each */
};
static_assert(sizeof(struct place_entry) == 2 * LINE, "a place is two lines of the cache");

struct text_memory {
    struct text_entry *texts;
    struct place_entry *places;
    uint64_t text_sets, place_sets; /* less 1 */
    void *memory[2];                /* owned; where the tables lie in it at whole lines */
    unsigned char secret[XXH3_SECRET_DEFAULT_SIZE];
};

static uint64_t load(cell *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void store(cell *c, uint64_t value) {
    atomic_store_explicit(c, value, memory_order_relaxed);
}

/* Sets of so many entries, of which there are at least n; *mask is their number less 1. */
static void *new_table(size_t n, size_t ways, size_t entry, void **memory, uint64_t *mask) {
    size_t sets = 1;
    while (sets * ways < n)
        sets *= 2;
    *mask = sets - 1;
    *memory = xcalloc(1, sets * ways * entry + LINE);
    return (char *)*memory + (LINE - (uintptr_t)*memory % LINE) % LINE;
}

struct text_memory *text_memory_new(size_t n_texts, size_t n_places,
                                    const unsigned char secret[16]) {
    struct text_memory *m = xcalloc(1, sizeof *m);
    m->texts = new_table(n_texts, TEXT_WAYS, sizeof *m->texts, &m->memory[0], &m->text_sets);
    m->places = new_table(n_places, PLACE_WAYS, sizeof *m->places, &m->memory[1], &m->place_sets);
    XXH3_generateSecret(m->secret, sizeof m->secret, secret, 16);
    return m;
}

void text_memory_free(struct text_memory *m) {
    if (!m)
        return;
    free(m->memory[0]);
    free(m->memory[1]);
    free(m);
}

/* --- hashes --- */

static struct text_hash hash_of(const struct text_memory *m, const void *p, size_t n) {
    XXH128_hash_t h = XXH3_128bits_withSecret(p, n, m->secret, sizeof m->secret);
    return (struct text_hash){h.low64, h.high64};
}

struct text_hash text_memory_hash(const struct text_memory *m, struct str text, uint64_t kind) {
    struct text_hash h = hash_of(m, text.p, text.n);
    h.low ^= kind * UINT64_C(0x9e3779b97f4a7c15);
    h.high ^= kind;
    return h;
}

struct text_hash text_memory_step(const struct text_memory *m, struct text_hash before,
                                  struct text_hash text) {
    uint64_t words[4] = {before.low, before.high, text.low, text.high};
    return hash_of(m, words, sizeof words);
}

/* --- texts --- */

static struct text_entry *text_set(struct text_memory *m, struct text_hash h) {
    return &m->texts[(h.low & m->text_sets) * TEXT_WAYS];
}

int64_t text_memory_tokens(struct text_memory *m, struct text_hash h, size_t length) {
    struct text_entry *set = text_set(m, h);
    for (int i = 0; i < TEXT_WAYS; i++) {
        uint64_t value = load(&set[i].value);
        if (value >> 32 != length || (load(&set[i].check) ^ value) != h.high || value == 0)
            continue;
        if (i > 0) {
            /* Changes places with the one before it. */
            uint64_t other = load(&set[i - 1].value), check = load(&set[i - 1].check);
            store(&set[i - 1].check, h.high ^ value);
            store(&set[i - 1].value, value);
            store(&set[i].check, check);
            store(&set[i].value, other);
        }
        return (int64_t)(value & UINT32_MAX);
    }
    return -1;
}

void text_memory_keep_tokens(struct text_memory *m, struct text_hash h, size_t length,
                             int64_t tokens) {
    if (length > UINT32_MAX || tokens > UINT32_MAX)
        return;
    struct text_entry *set = text_set(m, h);
    for (int i = TEXT_WAYS - 1; i > 0; i--) {
        uint64_t value = load(&set[i - 1].value), check = load(&set[i - 1].check);
        store(&set[i].check, check);
        store(&set[i].value, value);
    }
    uint64_t value = (uint64_t)length << 32 | (uint64_t)tokens;
    store(&set[0].check, h.high ^ value);
    store(&set[0].value, value);
}

/* --- places --- */

/* The k-th entry of a place has a hash of its own. */
static struct text_hash place_part(struct text_hash place, size_t k) {
    place.low += k * UINT64_C(0x9e3779b97f4a7c15);
    place.high = (place.high ^ k) | 1; /* never that of a free one */
    return place;
}

static struct place_entry *place_set(struct text_memory *m, struct text_hash h) {
    return &m->places[(h.low & m->place_sets) * PLACE_WAYS];
}

/* False when it is somebody else's, free, or was being written. */
static bool read_entry(struct place_entry *e, uint64_t check, struct place_value *out) {
    uint64_t words[ARRAY_LEN(e->words)];
    uint64_t version = atomic_load_explicit(&e->version, memory_order_acquire);
    if (version & 1 || load(&e->words[0]) != check)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        words[i] = load(&e->words[i]);
    atomic_thread_fence(memory_order_acquire);
    if (load(&e->version) != version)
        return false;
    memcpy(out, words, sizeof *out);
    return out->check == check;
}

static void write_entry(struct place_entry *e, const struct place_value *value) {
    uint64_t words[ARRAY_LEN(e->words)], version = load(&e->version);
    if (version & 1 ||
        !atomic_compare_exchange_strong_explicit(&e->version, &version, version + 1,
                                                 memory_order_acquire, memory_order_relaxed))
        return; /* somebody is at it */
    atomic_thread_fence(memory_order_release);
    memcpy(words, value, sizeof *value);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        store(&e->words[i], words[i]);
    atomic_store_explicit(&e->version, version + 2, memory_order_release);
}

static bool find_place(struct text_memory *m, struct text_hash h, struct place_value *out) {
    struct place_entry *set = place_set(m, h);
    for (int i = 0; i < PLACE_WAYS; i++) {
        if (read_entry(&set[i], h.high, out))
            return true;
    }
    return false;
}

bool text_memory_place(struct text_memory *m, struct text_hash place, struct prefix_chain *chain,
                       struct buf *marks) {
    struct place_value v;
    size_t before = marks->len;
    for (size_t k = 0;; k++) {
        if (!find_place(m, place_part(place, k), &v)) {
            marks->len = before;
            return false;
        }
        size_t n = v.counts >> 8 & 0xff;
        buf_put(marks, v.marks, size_min(n, PLACE_MARKS) * sizeof *v.marks);
        if (!(v.counts & FLAG_HAS_MORE))
            break;
    }
    chain->hash = (struct siphash_state){v.v0, v.v1, v.v2, v.v3, v.tail, v.counts >> 32};
    chain->n_waiting = v.counts >> 16 & 0xffff;
    chain->n_wanted = v.counts & FLAG_FIRST_BLOCK ? PREFIX_FIRST : PREFIX_STEP;
    return true;
}

void text_memory_keep_place(struct text_memory *m, struct text_hash place,
                            const struct prefix_chain *chain, const uint64_t *marks, size_t n) {
    if (chain->hash.n > UINT32_MAX)
        return;
    for (size_t k = 0, at = 0; k == 0 || at < n; k++) {
        struct text_hash h = place_part(place, k);
        size_t more = size_min(n - at, PLACE_MARKS);
        struct place_value v = {
            .check = h.high,
            .v0 = chain->hash.v0,
            .v1 = chain->hash.v1,
            .v2 = chain->hash.v2,
            .v3 = chain->hash.v3,
            .tail = chain->hash.tail,
            .counts = chain->hash.n << 32 | (uint64_t)chain->n_waiting << 16 | more << 8 |
                      (chain->n_wanted == PREFIX_FIRST ? FLAG_FIRST_BLOCK : 0) |
                      (at + more < n ? FLAG_HAS_MORE : 0),
        };
        if (more)
            memcpy(v.marks, marks + at, more * sizeof *marks);
        at += more;
        /* Its own entry if it has one, else by turns of what is written here. */
        struct place_entry *set = place_set(m, h);
        size_t way = (load(&set[0].version) + load(&set[1].version)) / 2 % PLACE_WAYS;
        for (size_t i = 0; i < PLACE_WAYS; i++)
            way = load(&set[i].words[0]) == h.high ? i : way;
        write_entry(&set[way], &v);
    }
}
