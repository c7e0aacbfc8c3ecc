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
 * Text is valid UTF-8 (utf8.h). Other bytes are safe, and cut somewhere.
 */
const char *pieces_end_cl100k(const char *p, const char *end);
const char *pieces_end_o200k(const char *p, const char *end);

static inline const char *pieces_end(enum token_pattern pattern, const char *p, const char *end) {
    return pattern == PATTERN_O200K ? pieces_end_o200k(p, end) : pieces_end_cl100k(p, end);
}

#endif
