/* pieces.h - cuts text into the pieces that byte-pair encoding takes one by one. */
#ifndef TOKENS_PIECES_H
#define TOKENS_PIECES_H

#include "tokens/vocabulary.h"

/*
 * The end of the piece that begins at p; p < end. What OpenAI's regular expressions match, written
 * out by hand (tiktoken 0.14.0, tiktoken_ext/openai_public.py). In the order of preference:
 *
 * cl100k_base                                   o200k_base
 *   an apostrophe with s, t, re, ve, m, ll, d
 *   letters, one other character before them      a word in one case: upper ones, then lower ones;
 *                                                 one other before it, a contraction behind
 *   up to three digits                            the same
 *   punctuation, a blank before it,               the same, and slashes among the line ends
 *   line ends behind it
 *   blanks up to and with the last line end       the same
 *   blanks, but for the last before a word        the same
 *
 * The others, from the published tokenizer.json of the models that vocabulary.h names: qwen2 is
 * cl100k with single digits, and qwen35 that with marks among the letters; tekken is o200k with single
 * digits and without contractions. gpt2 has contractions in lower case, and a blank before letters,
 * numbers or punctuation; the other blanks as above, without regard to line ends. Its numbers are as
 * long as they are, those of gpt2_digits single ones that take no blank.
 *
 * Text is valid UTF-8 (utf8.h). Other bytes are safe, and cut somewhere.
 */
typedef const char *pieces_end_fn(const char *p, const char *end);

pieces_end_fn pieces_end_cl100k, pieces_end_o200k, pieces_end_qwen2, pieces_end_qwen35,
    pieces_end_tekken, pieces_end_gpt2, pieces_end_gpt2_digits;

pieces_end_fn *pieces_end_of(enum token_pattern pattern);

static inline const char *pieces_end(enum token_pattern pattern, const char *p, const char *end) {
    return pieces_end_of(pattern)(p, end);
}

/* How many bytes of blanks the text has at its beginning, and at its end. */
size_t pieces_blanks(const char *p, const char *end);
size_t pieces_blanks_before(const char *p, const char *end);

#endif
