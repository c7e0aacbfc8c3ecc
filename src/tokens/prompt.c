#include "tokens/prompt.h"

#include "tokens/count.h"
#include "tokens/estimate.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

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
    SET_BITS = 11,  /* log2 of the sets */
    WAYS = 4,       /* texts in a set, the one found last first */
};

/* A text that was counted. A length of 0: free. */
struct whole {
    uint64_t hash_high;
    uint32_t length, tokens;
};

struct encoding_counter {
    struct token_cache *cache; /* owned */
    struct whole wholes[1 << SET_BITS][WAYS];
};

struct prompt_counters {
    struct vocabulary vocabularies[ENCODING_COUNT];
    struct encoding_counter *counters[ENCODING_COUNT]; /* owned, NULL until used */
    struct prompt_lookups lookups;
    unsigned char secret[XXH3_SECRET_DEFAULT_SIZE];
};

struct prompt_counters *prompt_counters_new(const struct vocabulary *o200k,
                                            const struct vocabulary *cl100k,
                                            const unsigned char secret[16]) {
    struct prompt_counters *c = xcalloc(1, sizeof *c);
    c->vocabularies[ENCODING_O200K] = *o200k;
    c->vocabularies[ENCODING_CL100K] = *cl100k;
    XXH3_generateSecret(c->secret, sizeof c->secret, secret, 16);
    return c;
}

void prompt_counters_free(struct prompt_counters *c) {
    if (!c)
        return;
    for (int e = 0; e < ENCODING_COUNT; e++) {
        if (c->counters[e])
            token_cache_free(c->counters[e]->cache);
        free(c->counters[e]);
    }
    free(c);
}

struct prompt_lookups prompt_counters_lookups(const struct prompt_counters *c) {
    return c->lookups;
}

static struct encoding_counter *counter_of(struct prompt_counters *c, enum prompt_encoding e) {
    if (!c->counters[e]) {
        c->counters[e] = xcalloc(1, sizeof *c->counters[e]);
        c->counters[e]->cache = token_cache_new(&c->vocabularies[e]);
    }
    return c->counters[e];
}

/* The text's place in the set of its hash: found (then first of the set), or NULL. */
static const struct whole *find_whole(struct whole *set, uint64_t hash_high, size_t length) {
    for (int i = 0; i < WAYS; i++) {
        if (set[i].hash_high == hash_high && set[i].length == length) {
            struct whole found = set[i];
            memmove(set + 1, set, (size_t)i * sizeof *set);
            set[0] = found;
            return set;
        }
    }
    return NULL;
}

/* --- a prompt --- */

void prompt_begin(struct prompt_tally *t, struct prompt_counters *counters,
                  const struct prompt_rules *rules) {
    *t = (struct prompt_tally){.counters = counters,
                               .rules = rules,
                               .fresh_left = PROMPT_FRESH_MAX,
                               .is_exact = counters && rules->encoding != ENCODING_UNKNOWN};
}

/* What a part that is not counted has, nearly: the estimate, corrected by how it did so far. */
static int64_t guess(const struct prompt_tally *t, struct str text) {
    int64_t estimate = tokens_estimate(text), scaled;
    if (t->fresh_guess == 0 || __builtin_mul_overflow(estimate, t->fresh_tokens, &scaled))
        return estimate;
    return scaled / t->fresh_guess;
}

/* Counts what may be counted, and estimates the rest. True when all was counted. */
static bool count_fresh(struct prompt_tally *t, struct token_cache *cache, struct str text,
                        int64_t *tokens) {
    size_t at = 0;
    *tokens = 0;
    if (t->fresh_left > 0) {
        *tokens = token_count_some(cache, text, (size_t)t->fresh_left, &at);
        t->fresh_left -= (int64_t)at;
    }
    /* Only a prompt that may be cut off needs to know how good the estimate is. */
    if (at == text.n && t->fresh_left > PROMPT_FRESH_MAX / 2)
        return true;
    t->fresh_tokens += *tokens;
    t->fresh_guess += tokens_estimate((struct str){text.p, at});
    if (at == text.n)
        return true;
    *tokens += guess(t, str_skip(text, at));
    return false;
}

void prompt_add(struct prompt_tally *t, struct str text) {
    int64_t tokens;
    if (!t->counters || t->rules->encoding == ENCODING_UNKNOWN) {
        t->tokens += tokens_estimate(text);
        return;
    }
    struct encoding_counter *e = counter_of(t->counters, t->rules->encoding);
    if (text.n < WHOLE_MIN || text.n > UINT32_MAX) {
        t->is_exact = count_fresh(t, e->cache, text, &tokens) && t->is_exact;
        t->tokens += tokens;
        return;
    }
    XXH128_hash_t h =
        XXH3_128bits_withSecret(text.p, text.n, t->counters->secret, sizeof t->counters->secret);
    struct whole *set = e->wholes[h.low64 >> (64 - SET_BITS)];
    const struct whole *known = find_whole(set, h.high64, text.n);
    t->counters->lookups.asked++;
    if (known) {
        t->counters->lookups.found++;
        t->tokens += known->tokens;
        return;
    }
    if (count_fresh(t, e->cache, text, &tokens)) {
        memmove(set + 1, set, (WAYS - 1) * sizeof *set);
        set[0] = (struct whole){h.high64, (uint32_t)text.n, (uint32_t)tokens};
    } else {
        t->is_exact = false;
    }
    t->tokens += tokens;
}
