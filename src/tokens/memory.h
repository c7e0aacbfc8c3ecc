/* memory.h - what is remembered of texts and prompts that were counted: shared by all threads, bounded. */
#ifndef TOKENS_MEMORY_H
#define TOKENS_MEMORY_H

#include "tokens/prefix.h"

/*
 * Two tables of fixed size. The first knows how many tokens a text has, wherever it stands, by its
 * hash. The second knows places: a place is a text together with all that stands before it in its
 * prompt, and of it the chain of marks (prefix.h) as it goes on behind the text, with the marks that
 * the text completed. So what a conversation repeats with each turn costs a hash and a look-up.
 *
 * Hashes are XXH3's of 128 bits, under a secret of the process; of a text's, 64 bits and those that
 * say where to look are compared, and its length; of a place's, 64 and those. What stood longest in
 * the few entries that a hash may have gives way.
 *
 * Threads: any may ask and tell, and none waits. What is written is checked when it is read, so half
 * of one entry and half of another is no entry; of two that write the same one, one may give up.
 */
struct text_memory;

struct text_hash {
    uint64_t low, high;
};

/* 16 bytes a text, 128 a place; of memory that is not touched before it is used. Both numbers are
 * rounded up to powers of two. `secret` are random bytes. */
struct text_memory *text_memory_new(size_t n_texts, size_t n_places,
                                    const unsigned char secret[16]);
void text_memory_free(struct text_memory *m); /* accepts NULL */

/* `kind` tells apart what is the same text and yet not the same thing, such as encodings. */
struct text_hash text_memory_hash(const struct text_memory *m, struct str text, uint64_t kind);

/* The place of a text (by its hash) behind another place. */
struct text_hash text_memory_step(const struct text_memory *m, struct text_hash before,
                                  struct text_hash text);

/* The number of tokens, or -1 when it is not known. */
int64_t text_memory_tokens(struct text_memory *m, struct text_hash h, size_t length);

/* Texts of 4 GB or tokens of as many are not kept. */
void text_memory_keep_tokens(struct text_memory *m, struct text_hash h, size_t length,
                             int64_t tokens);

/*
 * Moves `chain`, which stands before the text of this place, behind it, and appends the marks. False
 * when the place is not known; then nothing has changed. Fails silently into marks' ceiling, which is
 * the caller's to look at.
 */
bool text_memory_place(struct text_memory *m, struct text_hash place, struct prefix_chain *chain,
                       struct buf *marks);

/* The chain behind the text, and the n marks that the text completed. */
void text_memory_keep_place(struct text_memory *m, struct text_hash place,
                            const struct prefix_chain *chain, const uint64_t *marks, size_t n);

#endif
