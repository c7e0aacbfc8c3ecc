/* merge.h - byte-pair encoding of one piece of text, in time linear in its length. */
#ifndef TOKENS_MERGE_H
#define TOKENS_MERGE_H

#include "tokens/vocabulary.h"

/*
 * Where the tokens of a piece end. Instead of merging upwards from the bytes, tokens are laid from
 * the left: the longest that the text goes on with, if merging would keep it beside the one before
 * (vocabulary_private.h, pair_lasts), else the next shorter one; where none will do, the token before
 * is taken back, and its end never tried again. So each place in the text is given up at most once.
 * The result is the same, since exactly one way of laying tokens passes that test at every seam. The
 * idea is that of the Rust crate `bpe` (GitHub, 2024).
 *
 * Memory is two bits a byte, whatever the text. Belongs to one thread.
 */
struct merge {
    uint64_t *ends; /* owned: bit i: a token ends before byte i; bit 0 is set */
    uint64_t *dead; /* behind them, in the same memory: no token may end here */
    size_t n_words; /* of each that are allocated */
};

/* A zeroed struct is ready. */
void merge_destroy(struct merge *m);

/* How many tokens the piece has. */
size_t merge_count(struct merge *m, const struct vocabulary *v, struct str piece);

/* Walks over tokens of the piece that merge_count was given last, and that has more than one: moves
 * *at, at first 0, over so many of them. */
void merge_walk(const struct merge *m, struct str piece, size_t tokens, size_t *at);

/* As merge_count, and appends their ranks to `out` as uint32_t. ST_TOO_LARGE past its ceiling. */
enum status merge_ids(struct merge *m, const struct vocabulary *v, struct str piece,
                      struct buf *out) MUST_USE;

#endif
