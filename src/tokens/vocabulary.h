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
 * Tokens are numbered by rank here, which is the order in which they are merged. For OpenAI's
 * vocabularies that is also the token's id; for others vocabulary_id tells it.
 */

/* How text is cut into pieces before anything is merged (pieces.h). */
enum token_pattern {
    PATTERN_CL100K,      /* gpt-4, gpt-3.5-turbo, text-embedding-3; Llama 3, Phi-4 */
    PATTERN_O200K,       /* gpt-4o, gpt-4.1, gpt-5, o1 and newer; gpt-oss, Llama 4 */
    PATTERN_QWEN2,       /* Qwen 2, 2.5 and 3 */
    PATTERN_QWEN35,      /* Qwen 3.5 */
    PATTERN_TEKKEN,      /* Mistral Nemo and newer */
    PATTERN_GPT2,        /* GPT-2, and what ByteLevel does of its own accord */
    PATTERN_GPT2_DIGITS, /* the same with each number apart: StarCoder 2, SmolLM */
    PATTERN_COUNT
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
    const uint32_t *pairs;      /* perfect hash table: two tokens to the one that they merge into */
    const uint16_t *pair_moves; /* by group of hashes: what moves it to free slots */
    uint32_t pair_mask;         /* the highest slot of `pairs` */
    const uint32_t *edges;      /* [byte][byte]: the token that two single bytes merge into */
    const uint64_t *seams;      /* bits: between which characters merging may happen */
    const uint32_t *byte_rank;  /* of each byte's own token */
    const uint16_t *runs;       /* [byte][length]: tokens of a run of one ASCII byte */
    const uint16_t *run_steps;  /* [byte]: how many more 128 more bytes take */
    const struct short_unit *seeds; /* what a cache of words begins with; NULL for small ones */
    /* What only those made by vocabulary_compile may have; NULL for the others. */
    const uint32_t *ids;            /* by rank */
    const struct spelled *wholes;   /* tokens that are whole pieces, and never merged; see below */
    const uint32_t *whole_slots;    /* hash table of them */
    const uint64_t *whole_field;    /* bits: hashes that occur among them */
    const struct spelled *added[2]; /* tokens that are found in the text before it is cut */
    const uint8_t *added_first;     /* by byte: bit k, whether one of added[k] begins so */
    const char *spellings;          /* of wholes and added ones */
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

/*
 * Vocabularies of other models, as their published files have them
 *
 * Each merge is of two tokens into a third one, the earlier in the list the sooner done. Beside what
 * is merged, such a vocabulary may have tokens that stand for a piece only when they are all of it
 * (`is_whole_first`: looked for before anything is merged), and added ones: texts that are tokens
 * wherever they stand, found from left to right, the longest at each place; those of `is_late` only in
 * what the others leave.
 */
struct vocabulary_merge {
    uint32_t left, right, joint; /* numbers of tokens */
};

struct vocabulary_added {
    struct str text; /* not empty */
    uint32_t id;
    bool is_late;
    bool takes_before, takes_behind; /* the blanks on that side belong to it */
};

struct vocabulary_source {
    enum token_pattern pattern;
    bool is_nfc; /* text is brought into Normalization Form C (nfc.h) first */
    const struct str
        *tokens;         /* their bytes, in any order, no two equal; all single bytes among them */
    const uint32_t *ids; /* of each */
    size_t n_tokens;
    const struct vocabulary_merge *merges;
    size_t n_merges;
    bool is_whole_first;
    const struct vocabulary_added *added;
    size_t n_added;
};

/* What of a source is at fault. */
struct vocabulary_fault {
    enum { FAULT_ALL, FAULT_TOKEN, FAULT_MERGE } part;
    size_t number;
};

/*
 * Makes a block, into `out` (which is emptied; its ceiling should be 64 MB). Tokens that no merge ever
 * makes count for nothing, unless whole pieces are looked for. ST_BAD_REQUEST with the reason in `why` and
 * the place in `fault` when a byte has no token, a merge occurs twice, does not give its joint, or comes
 * before one that makes a part of it; or when something is too long or too much.
 */
enum status vocabulary_compile(struct buf *out, const struct vocabulary_source *source,
                               struct vocabulary_fault *fault, struct problem *why) MUST_USE;

/* The same for equal blocks, and different for others: what was counted with one holds for another. */
uint64_t vocabulary_identity(const struct vocabulary *v);

/* The number by which models know the token of this rank. */
uint32_t vocabulary_id(const struct vocabulary *v, uint32_t rank);

size_t vocabulary_size(const struct vocabulary *v);
enum token_pattern vocabulary_pattern(const struct vocabulary *v);
bool vocabulary_is_nfc(const struct vocabulary *v); /* see vocabulary_source */

/*
 * How the models of such a vocabulary are given chats, as far as its added tokens tell: with
 * <|im_start|> as ChatML (Qwen 2 to 3.5, SmolLM, Yi), with <|start_header_id|> as Llama 3.
 */
enum chat_form { CHAT_UNKNOWN, CHAT_CHATML, CHAT_LLAMA3, CHAT_FORMS };
enum chat_form vocabulary_chat_form(const struct vocabulary *v);

/* How many bytes the token of this rank has. */
size_t vocabulary_token_length(const struct vocabulary *v, uint32_t rank);

#endif
