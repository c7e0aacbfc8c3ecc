/* count.h - how many tokens a text has, exactly. */
#ifndef TOKENS_COUNT_H
#define TOKENS_COUNT_H

#include "tokens/vocabulary.h"

/*
 * Counts as OpenAI's tokenizer does for its vocabularies, with text as ordinary text: names of special
 * tokens in it are text, too. For those of other models as Hugging Face's `tokenizers` does without
 * what it puts around a text: names of added tokens are these tokens. The text is valid UTF-8, as the JSON reader hands it out; other text
 * goes through utf8_repair first, or is counted somehow. Its bytes need not be followed by anything.
 *
 * A cache remembers pieces of text and how many tokens they have, compared in full, so it never
 * changes a count. It is bounded by its size, 2.3 MB, which are filled when it is made (1.5 ms) for
 * vocabularies that bring what it begins with. It belongs to one thread and serves one vocabulary,
 * whose block must outlive it. What happens to be in it says something of earlier texts, but
 * only in how long counting takes.
 */
struct token_cache;

struct token_cache *token_cache_new(const struct vocabulary *v);
void token_cache_free(struct token_cache *c); /* accepts NULL */

const struct vocabulary *token_cache_vocabulary(const struct token_cache *c);

/* The same vocabulary (vocabulary_identity), whose block is at another place from now on. */
void token_cache_move(struct token_cache *c, const struct vocabulary *v);

/*
 * Whether the text is counted as it stands: of a vocabulary that wants Normalization Form C (nfc.h) it is in that
 * form for certain. If not, token_normalize appends what is to be counted instead, NFC_GROWTH times the text's
 * length at most: all but added tokens in that form, which are looked for first.
 */
bool token_is_normal(const struct token_cache *c, struct str text);
enum status token_normalize(const struct token_cache *c, struct str text, struct buf *out) MUST_USE;

/*
 * The number of tokens. About 10 ns a word when the cache knows the text's words, linear in the
 * text's length whatever it is; the worst found took 0.5 us a byte.
 */
int64_t token_count(struct token_cache *c, struct str text);

/*
 * Counting in steps, for texts that would keep an event loop too long: counts a part of the text, as it stands
 * (see token_is_normal), of about `budget` bytes and at least one piece, from byte *at on, and moves *at behind it.
 * At the end *at is the text's length. A word of more than TOKEN_PIECE_SURE bytes that goes beyond the budget is
 * left: then *at stays before it, and only a larger budget goes on. Words can be divided nowhere.
 */
enum { TOKEN_PIECE_SURE = 8 << 10 };
int64_t token_count_some(struct token_cache *c, struct str text, size_t budget, size_t *at);

/*
 * The same, and where tokens end: `missing` tokens from where it began, and each `step` further ones.
 * It appends those places to `cuts`, as uint32_t bytes from the text's beginning, and leaves in
 * `missing` how many tokens of the text that comes next lack to the cut after. The text is shorter
 * than 4 GB. Within long runs of one byte the places are only about right, though always the same.
 */
struct token_cutter {
    int64_t missing, step; /* tokens, at least 1 */
    struct buf cuts;       /* owned by the caller; what does not fit is not there */
};
int64_t token_count_cutting(struct token_cache *c, struct str text, size_t budget, size_t *at,
                            struct token_cutter *cutter);

/* Appends the ids to `out` as uint32_t. ST_TOO_LARGE past its ceiling: 4 bytes for each of the text
 * always suffice, NFC_GROWTH times as many for vocabularies that want that form. */
enum status token_ids(struct token_cache *c, struct str text, struct buf *out) MUST_USE;

#endif
