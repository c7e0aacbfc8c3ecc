/* vocabulary.h - a byte-pair vocabulary: which tokens there are, and how they came to be by merging. */
#ifndef TOKENS_VOCABULARY_H
#define TOKENS_VOCABULARY_H

#include "base/buf.h"

/*
 * Byte-pair encoding begins with the bytes of a piece of text and joins, again and again, the
 * adjacent pair whose joint token has the lowest rank, until no pair is a token. A vocabulary holds
 * all that merging needs, in one block of memory without pointers: made while building and linked
 * into the binary as read-only data, so that its pages are shared by all processes that run it and
 * only touched ones count; or made at run time from somebody's own list of tokens.
 *
 * Tokens are numbered by rank here. For OpenAI's vocabularies that is also the token's id.
 */

/* How text is cut into pieces before anything is merged (pieces.h). */
enum token_pattern {
    PATTERN_CL100K, /* gpt-4, gpt-3.5-turbo, text-embedding-3 */
    PATTERN_O200K,  /* gpt-4o, gpt-4.1, gpt-5, o1 and newer */
};

enum {
    /* Ranks are packed into 18 bits, of which the highest means "none". */
    VOCABULARY_MAX_TOKENS = (1 << 18) - 1,
    VOCABULARY_MAX_TOKEN_BYTES = 255,
};

/* A view of such a block; the fields are the room's own. Passed by value or copied at will; nothing is
 * ever written, so any number of threads may use one. */
struct vocabulary {
    const struct vocabulary_head *head;
    const uint64_t *tokens;     /* by rank: left and right half, next shorter prefix, length */
    const uint64_t *nodes;      /* the tree of all tokens, byte by byte */
    const uint32_t *roots;      /* its node behind each two bytes; 0 for none */
    const uint32_t *pairs;      /* hash table: two tokens to the one that they merge into */
    const uint64_t *pair_field; /* bits: hashes of pairs that merge */
    const uint64_t *seams;      /* bits: between which characters merging may happen */
    const uint32_t *byte_rank;  /* of each byte's own token */
    const uint16_t *runs;       /* [byte][length]: tokens of a run of one ASCII byte */
    const uint16_t *run_steps;  /* [byte]: how many more 128 more bytes take */
};

/* The two that are linked in; made while building from the published ranks, whose SHA-256 was
 * compared then. Only a program that calls these carries the data. */
struct vocabulary vocabulary_o200k(void);
struct vocabulary vocabulary_cl100k(void);

/*
 * A view of the block of `n` bytes at `block`, aligned for 64 bits and kept by the caller.
 * ST_BAD_REQUEST when it is not what vocabulary_build of this very version made on this kind of
 * machine: the head is compared, the rest is believed.
 */
enum status vocabulary_open(struct vocabulary *v, const void *block, size_t n,
                            struct problem *why) MUST_USE;

/*
 * Makes a block, into `out` (which is emptied; its ceiling should be 32 MB), from the bytes of each
 * token in the order of ranks; the first 256 or more must hold all single bytes. ST_BAD_REQUEST with
 * the rank in `why` when there are too many or too long tokens, one occurs twice, a byte is missing,
 * or merging never makes the token: then no text would ever encode to it.
 */
enum status vocabulary_build(struct buf *out, enum token_pattern pattern, const struct str *tokens,
                             size_t n_tokens, struct problem *why) MUST_USE;

size_t vocabulary_size(const struct vocabulary *v);
enum token_pattern vocabulary_pattern(const struct vocabulary *v);

/* How many bytes the token of this rank has. */
size_t vocabulary_token_length(const struct vocabulary *v, uint32_t rank);

#endif
