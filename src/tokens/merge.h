/* merge.h - byte-pair encoding of one piece of text, in time linear in its length. */
#ifndef TOKENS_MERGE_H
#define TOKENS_MERGE_H

#include "tokens/vocabulary.h"

/*
 * Where the tokens of a piece end. Exactly one row of tokens passes the test at every seam that merging
 * would leave the two beside each other (vocabulary_private.h, pair_lasts): that is the encoding, and
 * however a row was found, to pass is to be right. So windows of the piece are merged by themselves,
 * as the definition says, and laid side by side from the left where they agree and pass.
 *
 * Where they do not, tokens are laid one by one: the longest that the text goes on with and that
 * passes, else the next shorter one; where none will do, the token before is taken back, and its end
 * never tried again. So each place in the text is given up at most once. The idea of this part is
 * that of the Rust crate `bpe` (GitHub, 2024).
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
