#include "tokens/prompt.h"

#include "base/arena.h"
#include "tokens/count.h"
#include "tokens/estimate.h"
#include "tokens/nfc.h"

#include <stdlib.h>

/* --- rules --- */

const struct str prompt_encoding_names[ENCODING_COUNT] = {
    [ENCODING_UNKNOWN] = STR_INIT(""),
    [ENCODING_CL100K] = STR_INIT("cl100k_base"),
    [ENCODING_O200K] = STR_INIT("o200k_base"),
};

/* clang-format off */
#define FRAMING TOKENS_PER_MESSAGE, TOKENS_PER_NAME, TOKENS_PER_REPLY
static const struct prompt_rules all_rules[] = {
    /* Longer prefixes first. */
    {STR_INIT("text-embedding-3-"),   ENCODING_CL100K, FRAMING, 10,   85,  170,    0},
    {STR_INIT("text-embedding-ada-"), ENCODING_CL100K, FRAMING, 10,   85,  170,    0},
    {STR_INIT("gpt-3.5"),             ENCODING_CL100K, FRAMING, 10,   85,  170,    0},
    {STR_INIT("gpt-35"),              ENCODING_CL100K, FRAMING, 10,   85,  170,    0},
    {STR_INIT("gpt-4o-mini"),         ENCODING_O200K,  FRAMING,  7, 2833, 5667,    0},
    {STR_INIT("gpt-4o"),              ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("gpt-4.1-mini"),        ENCODING_O200K,  FRAMING,  7,   85,    0, 1620},
    {STR_INIT("gpt-4.1-nano"),        ENCODING_O200K,  FRAMING,  7,   85,    0, 2460},
    {STR_INIT("gpt-4.1"),             ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("gpt-4.5"),             ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("gpt-4"),               ENCODING_CL100K, FRAMING, 10,   85,  170,    0},
    {STR_INIT("gpt-5"),               ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("gpt-oss"),             ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("chatgpt-4o"),          ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("o1"),                  ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("o3"),                  ENCODING_O200K,  FRAMING,  7,   85,  170,    0},
    {STR_INIT("o4-mini"),             ENCODING_O200K,  FRAMING,  7,   85,    0, 1720},
    {STR_INIT(""),                    ENCODING_UNKNOWN, FRAMING, 7,   85,  170,    0},
};
#undef FRAMING
/* clang-format on */

/* clang-format off */
static const struct prompt_rules chat_rules[CHAT_FORMS] = {
    [CHAT_CHATML] = {STR_INIT(""), ENCODING_UNKNOWN, 4, 0, 3, 7, 85, 170, 0},
    [CHAT_LLAMA3] = {STR_INIT(""), ENCODING_UNKNOWN, 4, 0, 5, 7, 85, 170, 0},
};
/* clang-format on */

const struct prompt_rules *prompt_rules_find(struct str model) {
    const struct prompt_rules *r = all_rules;
    while (!str_istarts(model, r->prefix))
        r++; /* the last has the empty prefix */
    return r;
}

static int64_t div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Sizes of images come from callers: beyond this one they change nothing. */
enum { SIDE_MAX = 1 << 20 };

int64_t prompt_image_tokens(const struct prompt_rules *rules, enum image_detail detail,
                            int64_t width, int64_t height) {
    enum { UNKNOWN_SIDE = 1024, FIT = 2048, SHORT_SIDE = 768, TILE = 512, PATCH = 32 };
    const int64_t most_patches = 1536;
    if (width <= 0 || height <= 0)
        width = height = UNKNOWN_SIDE;
    width = i64_min(width, SIDE_MAX);
    height = i64_min(height, SIDE_MAX);
    if (rules->image_patch_milli) {
        int64_t patches = i64_min(div_up(width, PATCH) * div_up(height, PATCH), most_patches);
        return div_up(patches * rules->image_patch_milli, 1000);
    }
    if (detail == IMAGE_LOW)
        return rules->image_base;
    /* Into a square first, then until the shorter side is short enough; never larger. */
    int64_t longer = i64_max(width, height), shorter = i64_min(width, height);
    if (longer > FIT) {
        shorter = i64_max(1, shorter * FIT / longer);
        longer = FIT;
    }
    if (shorter > SHORT_SIDE) {
        longer = longer * SHORT_SIDE / shorter;
        shorter = SHORT_SIDE;
    }
    return rules->image_base + rules->image_tile * div_up(longer, TILE) * div_up(shorter, TILE);
}

/* --- counters --- */

enum {
    WHOLE_MIN = 64, /* shorter texts are counted as fast as hashed */
    PARTS_MAX = 1 << 16,
    CUTS_MAX = 1 << 20,
    TEXTS_MAX = 16 << 20, /* bytes of normalized texts that marks are made of */
    BYTES_PER_UNIT = 4,   /* where there is no vocabulary (admission spec 4.1) */
    KIND_FRAME = 1, /* in the memory's hashes; texts have the identity of their vocabulary there */
    KIND_OPAQUE = 2,
};

struct encoding_counter {
    uint64_t identity;         /* of the vocabulary */
    struct token_cache *cache; /* owned */
};

/* What marks are made of. */
struct part {
    enum { PART_TEXT, PART_OPAQUE } kind;
    bool has_hash, has_cuts;
    struct str text;       /* of PART_TEXT; borrowed */
    struct text_hash hash; /* of PART_OPAQUE it is all there is */
    int64_t tokens;
    uint32_t first_cut, n_cuts; /* in `cuts`, when it has them: where marks end in the text */
    int64_t cut_from;           /* tokens that then lacked to the next mark before the text */
};

struct prompt_counters {
    struct vocabulary vocabularies[ENCODING_COUNT];
    uint64_t identities[ENCODING_COUNT];
    struct text_memory *memory;                                /* borrowed */
    struct encoding_counter counters[PROMPT_VOCABULARIES_MAX]; /* the one used last stands last */
    int n_counters;
    struct prompt_lookups lookups;
    /* Of the prompt at hand. */
    struct buf parts;   /* of struct part */
    struct arena texts; /* those that had to be normalized, as they are counted */
    struct token_cutter cutter;
};

struct prompt_counters *prompt_counters_new(const struct vocabulary *o200k,
                                            const struct vocabulary *cl100k,
                                            struct text_memory *memory) {
    struct prompt_counters *c = xcalloc(1, sizeof *c);
    c->vocabularies[ENCODING_O200K] = *o200k;
    c->vocabularies[ENCODING_CL100K] = *cl100k;
    c->identities[ENCODING_O200K] = vocabulary_identity(o200k);
    c->identities[ENCODING_CL100K] = vocabulary_identity(cl100k);
    c->memory = memory;
    buf_init(&c->parts, PARTS_MAX * sizeof(struct part));
    buf_init(&c->cutter.cuts, CUTS_MAX * sizeof(uint32_t));
    arena_init(&c->texts, NULL, 0, TEXTS_MAX);
    c->cutter.step = PREFIX_STEP;
    return c;
}

void prompt_end(struct prompt_counters *c) {
    arena_reset(&c->texts);
}

void prompt_counters_free(struct prompt_counters *c) {
    if (!c)
        return;
    for (int i = 0; i < c->n_counters; i++)
        token_cache_free(c->counters[i].cache);
    buf_destroy(&c->parts);
    buf_destroy(&c->cutter.cuts);
    arena_destroy(&c->texts);
    free(c);
}

struct prompt_lookups prompt_counters_lookups(const struct prompt_counters *c) {
    return c->lookups;
}

static struct encoding_counter *counter_of(struct prompt_counters *c, const struct vocabulary *v,
                                           uint64_t identity) {
    struct encoding_counter *all = c->counters;
    int i = c->n_counters - 1, last = i;
    while (i >= 0 && all[i].identity != identity)
        i--;
    struct encoding_counter found = {identity, i >= 0 ? all[i].cache : token_cache_new(v)};
    if (i < 0 && c->n_counters < PROMPT_VOCABULARIES_MAX) {
        last = c->n_counters++;
    } else {
        if (i < 0)
            token_cache_free(all[i = 0].cache);
        memmove(all + i, all + i + 1, (size_t)(last - i) * sizeof *all);
    }
    all[last] = found;
    token_cache_move(found.cache, v);
    return &all[last];
}

/* --- a prompt --- */

static void use_framing(struct prompt_rules *rules, const struct prompt_framing *f) {
    rules->per_message = f->per_message >= 0 ? f->per_message : rules->per_message;
    rules->per_name = f->per_name >= 0 ? f->per_name : rules->per_name;
    rules->per_reply = f->per_reply >= 0 ? f->per_reply : rules->per_reply;
}

void prompt_begin(struct prompt_tally *t, struct prompt_counters *c,
                  const struct prompt_rules *rules, const struct prompt_how *how) {
    *t = (struct prompt_tally){
        .counters = c, .rules = *rules, .budget = how->budget, .with_marks = c && how->with_marks};
    enum chat_form form = c && how->custom ? vocabulary_chat_form(how->custom) : CHAT_UNKNOWN;
    if (form != CHAT_UNKNOWN && rules->encoding == ENCODING_UNKNOWN)
        t->rules = chat_rules[form];
    if (how->framing)
        use_framing(&t->rules, how->framing);
    if (how->encoding != ENCODING_UNKNOWN)
        t->rules.encoding = how->encoding;
    if (!c)
        return;
    if (how->custom)
        t->counter = counter_of(c, how->custom, vocabulary_identity(how->custom));
    else if (t->rules.encoding != ENCODING_UNKNOWN)
        t->counter =
            counter_of(c, &c->vocabularies[t->rules.encoding], c->identities[t->rules.encoding]);
    t->is_exact = t->counter != NULL;
    t->kind = t->counter ? t->counter->identity ^ how->salt : 0;
    buf_clear(&c->parts);
    buf_clear(&c->cutter.cuts);
    arena_reset(&c->texts);
    c->cutter.missing = PREFIX_FIRST;
}

/* The cutter, behind tokens that it has not seen. */
static void skip_tokens(struct token_cutter *cutter, int64_t tokens) {
    cutter->missing -= tokens;
    if (cutter->missing <= 0)
        cutter->missing += (-cutter->missing / cutter->step + 1) * cutter->step;
}

/* Whether the text at hand is one that marks are made of. */
static bool is_marked(const struct prompt_tally *t) {
    return t->with_marks && !t->is_opaque && !t->is_stopped;
}

/* Many parts take time, too, however short they are. */
static void pay_for_part(struct prompt_tally *t) {
    if (t->budget >= PROMPT_PART_COST)
        t->budget -= PROMPT_PART_COST;
    else
        t->unknown += t->counter != NULL;
}

/* Counts what may be counted, and estimates the rest. True when all was counted. */
static bool count_fresh(struct prompt_tally *t, struct str text, struct part *part) {
    struct token_cutter *cutter = &t->counters->cutter;
    size_t at = 0;
    part->tokens = 0;
    part->cut_from = cutter->missing;
    if (text.n && t->budget > 0 && is_marked(t) && text.n <= UINT32_MAX) {
        part->first_cut = (uint32_t)(cutter->cuts.len / sizeof(uint32_t));
        part->tokens = token_count_cutting(t->counter->cache, text, t->budget, &at, cutter);
        part->n_cuts = (uint32_t)(cutter->cuts.len / sizeof(uint32_t)) - part->first_cut;
        part->has_cuts = at == text.n;
    } else if (text.n && t->budget > 0) {
        part->tokens = token_count_some(t->counter->cache, text, t->budget, &at);
    }
    t->budget -= size_min(at, t->budget);
    if (at == text.n)
        return true;
    t->unknown += (int64_t)(text.n - at);
    part->tokens += tokens_estimate(str_skip(text, at));
    return false;
}

/* Text that is looked up before it is counted. */
static void count_whole(struct prompt_tally *t, struct str text, struct part *part) {
    struct prompt_counters *c = t->counters;
    part->hash = text_memory_hash(c->memory, text, t->kind);
    part->has_hash = true;
    part->tokens = text_memory_tokens(c->memory, part->hash, text.n);
    c->lookups.texts++;
    if (part->tokens >= 0) {
        c->lookups.texts_found++;
        if (is_marked(t))
            skip_tokens(&c->cutter, part->tokens);
    } else if (count_fresh(t, text, part)) {
        text_memory_keep_tokens(c->memory, part->hash, text.n, part->tokens);
    } else {
        t->is_exact = false;
    }
}

/* Replaces the text by what is to be counted, in `normal`, where that is another one. False when it
 * would take too long: nobody knows then what comes, nor how many tokens it has. */
static bool make_normal(struct prompt_tally *t, struct str *text, struct buf *normal) {
    struct token_cache *cache = t->counter->cache;
    if (LIKELY(token_is_normal(cache, *text)))
        return true;
    if (text->n > t->budget) {
        t->unknown += (int64_t)text->n;
        t->is_exact = false;
        prompt_stop_marks(t);
        return false;
    }
    t->budget -= text->n;
    buf_init(normal, NFC_GROWTH * text->n);
    enum status st = token_normalize(cache, *text, normal);
    assert(st == ST_OK);
    *text = buf_view(normal);
    return true;
}

/* Marks are made of the text as it was counted, so that is kept until then. */
static void keep_for_marks(struct prompt_tally *t, struct part *part, const struct buf *normal) {
    char *kept = normal->p ? arena_alloc(&t->counters->texts, part->text.n) : NULL;
    if (normal->p && !kept) {
        prompt_stop_marks(t);
        return;
    }
    if (kept)
        part->text.p = memcpy(kept, part->text.p, part->text.n);
    buf_put(&t->counters->parts, part, sizeof *part);
}

void prompt_add(struct prompt_tally *t, struct str text) {
    struct buf normal = {0};
    pay_for_part(t);
    bool is_normal = !t->counter || make_normal(t, &text, &normal);
    struct part part = {.kind = PART_TEXT, .text = text};
    if (!t->counter || !is_normal)
        part.tokens = tokens_estimate(text);
    else if (text.n >= WHOLE_MIN)
        count_whole(t, text, &part);
    else if (!count_fresh(t, text, &part))
        t->is_exact = false;
    t->tokens += part.tokens;
    if (is_marked(t) && text.n)
        keep_for_marks(t, &part, &normal);
    buf_destroy(&normal);
}

static void add_opaque(struct prompt_tally *t, int64_t tokens, struct text_hash hash) {
    /* Of another number of tokens it is another part. */
    hash.low ^= (uint64_t)tokens * UINT64_C(0x9e3779b97f4a7c15);
    struct part part = {.kind = PART_OPAQUE, .hash = hash, .tokens = tokens};
    skip_tokens(&t->counters->cutter, tokens);
    buf_put(&t->counters->parts, &part, sizeof part);
}

void prompt_add_frame(struct prompt_tally *t, int64_t tokens, struct str what) {
    t->tokens += tokens;
    if (!is_marked(t))
        return;
    pay_for_part(t);
    add_opaque(t, tokens, text_memory_hash(t->counters->memory, what, KIND_FRAME));
}

void prompt_stop_marks(struct prompt_tally *t) {
    t->is_stopped = true;
}

void prompt_begin_opaque(struct prompt_tally *t) {
    t->is_opaque = true;
    t->opaque_from = t->tokens;
}

void prompt_end_opaque(struct prompt_tally *t, int64_t tokens, struct str identity) {
    t->is_opaque = false;
    t->tokens += tokens;
    if (is_marked(t))
        add_opaque(t, t->tokens - t->opaque_from,
                   text_memory_hash(t->counters->memory, identity, KIND_OPAQUE));
}

/* --- marks --- */

/* Tokens that are no text: bytes that no text has, and what their part is. */
static enum status chain_opaque(struct prefix_chain *chain, const struct part *p,
                                struct buf *marks) {
    int64_t left = p->tokens;
    do {
        uint32_t n = (uint32_t)i64_min(left, prefix_chain_wants(chain));
        /* Where in the part they stand matters, too. */
        uint64_t words[4] = {UINT64_MAX, p->hash.low, p->hash.high, (uint64_t)left};
        TRY(prefix_chain_add(chain, (struct str){(const char *)words, sizeof words}, n, marks));
        left -= n;
    } while (left > 0);
    return ST_OK;
}

/* Should the counts not agree, since a hash was of two texts after all, there are no more marks. */
static enum status chain_cut_text(struct prefix_chain *chain, const struct part *p,
                                  const uint32_t *cuts, struct buf *marks) {
    size_t from = 0;
    int64_t left = p->tokens;
    for (uint32_t i = 0; i < p->n_cuts; i++) {
        struct str piece = {p->text.p + from, cuts[i] - from};
        uint32_t wants = prefix_chain_wants(chain);
        if (left < wants)
            return ST_TOO_LARGE;
        left -= wants;
        TRY(prefix_chain_add(chain, piece, wants, marks));
        from = cuts[i];
    }
    if (left >= prefix_chain_wants(chain))
        return ST_TOO_LARGE;
    return prefix_chain_add(chain, str_skip(p->text, from), (uint32_t)left, marks);
}

/* Without a vocabulary, four bytes are taken for a token. */
static enum status chain_bytes(struct prefix_chain *chain, struct str text, struct buf *marks) {
    while (text.n) {
        uint32_t wants = prefix_chain_wants(chain);
        size_t n = size_min(text.n, (size_t)wants * BYTES_PER_UNIT);
        uint32_t units = (uint32_t)((n + BYTES_PER_UNIT - 1) / BYTES_PER_UNIT);
        TRY(prefix_chain_add(chain, (struct str){text.p, n}, units, marks));
        text = str_skip(text, n);
    }
    return ST_OK;
}

/* Finds the cuts of a text that was known, and not by its place. False when that would take too long. */
static bool cut_again(struct prompt_tally *t, const struct prefix_chain *chain, struct part *p) {
    struct token_cutter *cutter = &t->counters->cutter;
    size_t at = 0;
    if (p->text.n > UINT32_MAX)
        return false;
    cutter->missing = prefix_chain_wants(chain);
    p->first_cut = (uint32_t)(cutter->cuts.len / sizeof(uint32_t));
    (void)token_count_cutting(t->counter->cache, p->text, t->budget, &at, cutter);
    p->n_cuts = (uint32_t)(cutter->cuts.len / sizeof(uint32_t)) - p->first_cut;
    t->budget -= size_min(at, t->budget);
    t->unknown += (int64_t)(p->text.n - at);
    return at == p->text.n;
}

/* The text's marks by its place, else by its cuts. */
static enum status chain_text(struct prompt_tally *t, struct prefix_chain *chain, struct part *p,
                              struct text_hash place, struct buf *marks) {
    struct prompt_counters *c = t->counters;
    bool is_kept = p->text.n >= WHOLE_MIN;
    size_t before = marks->len;
    if (is_kept) {
        c->lookups.places++;
        if (text_memory_place(c->memory, place, chain, marks)) {
            c->lookups.places_found++;
            return buf_status(marks);
        }
    }
    bool fits = p->has_cuts && p->cut_from == prefix_chain_wants(chain);
    if (!fits && !cut_again(t, chain, p))
        return ST_TOO_LARGE;
    TRY(buf_status(&c->cutter.cuts));
    const uint32_t *cuts = (const uint32_t *)(const void *)c->cutter.cuts.p;
    TRY(chain_cut_text(chain, p, cuts + p->first_cut, marks));
    const char *made = marks->len > before ? marks->p + before : NULL;
    if (is_kept)
        text_memory_keep_place(c->memory, place, chain, (const uint64_t *)(const void *)made,
                               (marks->len - before) / sizeof(uint64_t));
    return ST_OK;
}

void prompt_marks(struct prompt_tally *t, const struct siphash_key *key, struct buf *out) {
    struct prompt_counters *c = t->counters;
    if (!t->with_marks || buf_status(&c->parts) != ST_OK ||
        (t->counter && t->tokens < PREFIX_FIRST))
        return;
    struct part *parts = (struct part *)(void *)c->parts.p;
    struct prefix_chain chain;
    struct text_hash place = {key->k0, key->k1};
    enum status st = ST_OK;
    prefix_chain_init(&chain, key);
    for (size_t i = 0; i < c->parts.len / sizeof *parts; i++) {
        struct part *p = &parts[i];
        bool is_text = p->kind == PART_TEXT;
        if (!t->counter)
            t->units += is_text ? (int64_t)(p->text.n / BYTES_PER_UNIT) + 1 : p->tokens;
        else if (st != ST_OK)
            break;
        if (is_text && t->counter && !p->has_hash)
            p->hash = text_memory_hash(c->memory, p->text, t->kind);
        place = text_memory_step(c->memory, place, p->hash);
        if (st != ST_OK)
            continue;
        if (!is_text)
            st = chain_opaque(&chain, p, out);
        else if (t->counter)
            st = chain_text(t, &chain, p, place, out);
        else
            st = chain_bytes(&chain, p->text, out);
    }
}

int64_t prompt_cached(const struct prompt_tally *t, int64_t cached) {
    if (t->counter || t->units == 0)
        return cached;
    return i64_min(t->tokens, (int64_t)((double)cached * (double)t->tokens / (double)t->units));
}
