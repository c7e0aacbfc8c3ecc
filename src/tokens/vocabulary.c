#include "tokens/vocabulary_private.h"

static const void *part(const char *block, uint32_t at) {
    return at ? block + at : NULL;
}

enum status vocabulary_open(struct vocabulary *v, const void *block, size_t n,
                            struct problem *why) {
    const struct vocabulary_head *h = block;
    if (n < sizeof *h || memcmp(h->magic, VOCABULARY_MAGIC, sizeof h->magic) != 0 ||
        h->byte_order != 0x01020304 || h->size > n)
        return problem_set(why, ST_BAD_REQUEST, STR("vocabulary"),
                           "This is no vocabulary of this version of Weir.");
    const char *p = block;
    *v = (struct vocabulary){
        .head = h,
        .tokens = (const void *)(p + h->tokens),
        .nodes = (const void *)(p + h->nodes),
        .roots = (const void *)(p + h->roots),
        .pairs = (const void *)(p + h->pairs),
        .pair_moves = (const void *)(p + h->pair_moves),
        .pair_mask = (1u << h->pair_bits) - 1,
        .edges = (const void *)(p + h->edges),
        .seams = (const void *)(p + h->seams),
        .byte_rank = (const void *)(p + h->byte_rank),
        .runs = (const void *)(p + h->runs),
        .run_steps = (const void *)(p + h->run_steps),
        .seeds = part(p, h->seeds),
        .ids = part(p, h->ids),
        .wholes = part(p, h->wholes),
        .whole_slots = part(p, h->whole_slots),
        .whole_field = part(p, h->whole_field),
        .added = {part(p, h->added[0]), part(p, h->added[1])},
        .added_first = part(p, h->added_first),
        .spellings = part(p, h->spellings),
    };
    return ST_OK;
}

size_t vocabulary_size(const struct vocabulary *v) {
    return v->head->n_tokens;
}

uint64_t vocabulary_identity(const struct vocabulary *v) {
    return v->head->identity;
}

uint32_t vocabulary_id(const struct vocabulary *v, uint32_t rank) {
    assert(rank < v->head->n_tokens);
    return v->ids ? v->ids[rank] : rank;
}

enum token_pattern vocabulary_pattern(const struct vocabulary *v) {
    return (enum token_pattern)v->head->pattern;
}

bool vocabulary_is_nfc(const struct vocabulary *v) {
    return v->head->is_nfc != 0;
}

enum chat_form vocabulary_chat_form(const struct vocabulary *v) {
    return (enum chat_form)v->head->chat_form;
}

size_t vocabulary_token_length(const struct vocabulary *v, uint32_t rank) {
    assert(rank < v->head->n_tokens);
    return token_length(v->tokens[rank]);
}
