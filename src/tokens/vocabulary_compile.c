/* vocabulary_compile.c - makes a vocabulary's block from a list of merges, as other models publish theirs. */
#include "tokens/vocabulary_private.h"

#include <stdlib.h>

/*
 * Of all merges that make a token at most one is ever done. For when the two parts that it joins stand
 * side by side, the bytes of both have merged as if they stood alone: nothing went across their outer
 * ends. So the last step of merging the token's bytes alone is its one merge, and where that ends in
 * several parts, the token never comes to be. What remains is one merge for each such token, and the
 * order of those merges is the rank of the tokens.
 */
struct compile {
    const struct vocabulary_source *source; /* borrowed */
    struct vocabulary_fault *fault;         /* borrowed */
    /* Hash table from two tokens to the number of their merge, plus 1; owned. */
    uint32_t *slots;
    uint32_t slot_bits;
    uint32_t byte_token[256];
    uint32_t *merge_of; /* owned; by token: the merge that makes it, or NO_MERGE */
    uint32_t *rank_of;  /* owned; by token */
    /* In the order of ranks, owned. */
    struct str *ranked;
    uint64_t *halves;
    uint32_t *ids;
    size_t n_ranked;
    /* Those that are only whole pieces, owned. */
    struct str *wholes;
    uint32_t *whole_ids;
    size_t n_wholes;
    struct vocabulary_added *added; /* owned; sorted */
};

#define NO_MERGE UINT32_MAX

static enum status refuse(struct compile *c, struct problem *why, size_t merge, const char *what) {
    c->fault->part = FAULT_MERGE;
    c->fault->number = merge;
    return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"), "merge %zu %s", merge, what);
}

/* --- the merges by their parts --- */

static uint32_t slot_of(const struct compile *c, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 32 | right;
    return (uint32_t)(pair_hash(key) >> (64 - c->slot_bits));
}

static uint32_t find_merge(const struct compile *c, uint32_t left, uint32_t right) {
    uint32_t mask = (1u << c->slot_bits) - 1, number;
    for (uint32_t i = slot_of(c, left, right); (number = c->slots[i]) != 0; i = (i + 1) & mask) {
        const struct vocabulary_merge *m = &c->source->merges[number - 1];
        if (m->left == left && m->right == right)
            return number - 1;
    }
    return NO_MERGE;
}

static bool gives_joint(const struct vocabulary_source *s, const struct vocabulary_merge *m) {
    struct str left = s->tokens[m->left], right = s->tokens[m->right], joint = s->tokens[m->joint];
    return joint.n == left.n + right.n && memcmp(joint.p, left.p, left.n) == 0 &&
           memcmp(joint.p + left.n, right.p, right.n) == 0;
}

static enum status add_merges(struct compile *c, struct problem *why) {
    const struct vocabulary_source *s = c->source;
    c->slot_bits = 10;
    while (((size_t)1 << c->slot_bits) < s->n_merges + s->n_merges / 2)
        c->slot_bits++;
    c->slots = xcalloc((size_t)1 << c->slot_bits, sizeof *c->slots);
    uint32_t mask = (1u << c->slot_bits) - 1;
    for (size_t i = 0; i < s->n_merges; i++) {
        const struct vocabulary_merge *m = &s->merges[i];
        if (m->left >= s->n_tokens || m->right >= s->n_tokens || m->joint >= s->n_tokens ||
            s->tokens[m->left].n == 0 || s->tokens[m->right].n == 0 || !gives_joint(s, m))
            return refuse(c, why, i, "does not make a token of its two");
        if (find_merge(c, m->left, m->right) != NO_MERGE)
            return refuse(c, why, i, "occurs twice");
        uint32_t at = slot_of(c, m->left, m->right);
        while (c->slots[at])
            at = (at + 1) & mask;
        c->slots[at] = (uint32_t)i + 1;
    }
    return ST_OK;
}

/* --- what each token is made of --- */

static enum status find_bytes(struct compile *c, struct problem *why) {
    const struct vocabulary_source *s = c->source;
    memset(c->byte_token, 0xff, sizeof c->byte_token);
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i].n == 1)
            c->byte_token[(unsigned char)s->tokens[i].p[0]] = (uint32_t)i;
    }
    for (int i = 0; i < 256; i++) {
        if (c->byte_token[i] == UINT32_MAX)
            return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                               "there is no token for the byte %d", i);
    }
    return ST_OK;
}

/* The last merge of the bytes, which makes the token of them all; NO_MERGE when they end in several. */
static uint32_t last_merge(const struct compile *c, struct str bytes) {
    uint32_t parts[VOCABULARY_MAX_TOKEN_BYTES], merges[VOCABULARY_MAX_TOKEN_BYTES];
    size_t n = bytes.n;
    uint32_t last = NO_MERGE;
    for (size_t i = 0; i < n; i++)
        parts[i] = c->byte_token[(unsigned char)bytes.p[i]];
    for (size_t i = 0; i + 1 < n; i++)
        merges[i] = find_merge(c, parts[i], parts[i + 1]);
    while (n > 1) {
        size_t at = 0;
        for (size_t i = 1; i + 1 < n; i++)
            at = merges[i] < merges[at] ? i : at;
        last = merges[at];
        if (last == NO_MERGE)
            return NO_MERGE;
        parts[at] = c->source->merges[last].joint;
        n--;
        memmove(parts + at + 1, parts + at + 2, (n - at - 1) * sizeof *parts);
        if (at + 1 < n) {
            memmove(merges + at, merges + at + 1, (n - at - 1) * sizeof *merges);
            merges[at] = find_merge(c, parts[at], parts[at + 1]);
        }
        if (at > 0)
            merges[at - 1] = find_merge(c, parts[at - 1], parts[at]);
    }
    return last;
}

static enum status find_last_merges(struct compile *c, struct problem *why) {
    const struct vocabulary_source *s = c->source;
    c->merge_of = xmalloc((s->n_tokens + 1) * sizeof *c->merge_of);
    for (size_t i = 0; i < s->n_tokens; i++) {
        c->merge_of[i] = NO_MERGE;
        if (s->tokens[i].n > VOCABULARY_MAX_TOKEN_BYTES) {
            c->fault->part = FAULT_TOKEN;
            c->fault->number = i;
            return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                               "token %zu has more than 255 bytes", i);
        }
        if (s->tokens[i].n > 1)
            c->merge_of[i] = last_merge(c, s->tokens[i]);
    }
    return ST_OK;
}

/* --- ranks --- */

static void add_rank(struct compile *c, uint32_t token, uint64_t halves) {
    c->rank_of[token] = (uint32_t)c->n_ranked;
    c->ranked[c->n_ranked] = c->source->tokens[token];
    c->ids[c->n_ranked] = c->source->ids[token];
    c->halves[c->n_ranked++] = halves;
}

/* Whether the token can be merged further before merge number `merge` is looked for. */
static bool is_there(const struct compile *c, uint32_t token, size_t merge) {
    return c->source->tokens[token].n == 1 ||
           (c->merge_of[token] != NO_MERGE && c->merge_of[token] < merge);
}

static enum status rank_tokens(struct compile *c, struct problem *why) {
    const struct vocabulary_source *s = c->source;
    size_t n = s->n_tokens + 1;
    c->rank_of = xmalloc(n * sizeof *c->rank_of);
    c->ranked = xmalloc(n * sizeof *c->ranked);
    c->halves = xmalloc(n * sizeof *c->halves);
    c->ids = xmalloc(n * sizeof *c->ids);
    c->wholes = xmalloc(n * sizeof *c->wholes);
    c->whole_ids = xmalloc(n * sizeof *c->whole_ids);
    for (int i = 0; i < 256; i++)
        add_rank(c, c->byte_token[i], 0);
    for (size_t i = 0; i < s->n_merges; i++) {
        const struct vocabulary_merge *m = &s->merges[i];
        if (c->merge_of[m->joint] != i)
            continue;
        /* Laying tokens from the left (merge.h) takes merges for ever later ones. */
        if (!is_there(c, m->left, i) || !is_there(c, m->right, i))
            return refuse(c, why, i, "comes before one that makes a part of it");
        add_rank(c, m->joint, pair_key(c->rank_of[m->left], c->rank_of[m->right]));
    }
    for (size_t i = 0; i < s->n_tokens && s->is_whole_first; i++) {
        if (s->tokens[i].n > 1 && c->merge_of[i] == NO_MERGE) {
            c->wholes[c->n_wholes] = s->tokens[i];
            c->whole_ids[c->n_wholes++] = s->ids[i];
        }
    }
    return ST_OK;
}

static int by_text(const void *a, const void *b) {
    const struct vocabulary_added *x = a, *y = b;
    return str_cmp(x->text, y->text);
}

static enum status compile(struct compile *c, struct buf *out, struct problem *why) {
    const struct vocabulary_source *s = c->source;
    if (s->n_tokens > VOCABULARY_MAX_TOKENS || s->n_merges > INT32_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                           "there may be %d tokens, not %zu", VOCABULARY_MAX_TOKENS, s->n_tokens);
    TRY(find_bytes(c, why));
    TRY(add_merges(c, why));
    TRY(find_last_merges(c, why));
    TRY(rank_tokens(c, why));
    c->added = xmalloc((s->n_added + 1) * sizeof *c->added);
    if (s->n_added)
        memcpy(c->added, s->added, s->n_added * sizeof *c->added);
    qsort(c->added, s->n_added, sizeof *c->added, by_text);
    struct vocabulary_parts parts = {
        .pattern = s->pattern,
        .is_nfc = s->is_nfc,
        .tokens = c->ranked,
        .n_tokens = c->n_ranked,
        .halves = c->halves,
        .ids = c->ids,
        .wholes = c->wholes,
        .whole_ids = c->whole_ids,
        .n_wholes = c->n_wholes,
        .added = c->added,
        .n_added = s->n_added,
    };
    return vocabulary_assemble(out, &parts, why);
}

enum status vocabulary_compile(struct buf *out, const struct vocabulary_source *source,
                               struct vocabulary_fault *fault, struct problem *why) {
    struct compile c = {.source = source, .fault = fault};
    fault->part = FAULT_ALL;
    fault->number = 0;
    enum status st = compile(&c, out, why);
    free(c.slots);
    free(c.merge_of);
    free(c.rank_of);
    free(c.ranked);
    free(c.halves);
    free(c.ids);
    free(c.wholes);
    free(c.whole_ids);
    free(c.added);
    return st;
}
